// Who is there: the greeting that proves the server, and the log-in that proves a device, with registration of new members.
import {
  certifiedDevice,
  compareCertificate,
  type DeviceCertificate,
  readDeviceCertificate,
  signHello,
  verifyLogin,
} from '../crypto/member.ts';
import { sha256 } from '../crypto/primitives.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, inboxOf, type MemberId } from '../protocol/ids.ts';
import { DEVICES_MAX, SERVER_CONNECTIONS_PER_DEVICE_MAX } from '../protocol/limits.ts';
import { isMemberName } from '../protocol/room-content.ts';
import { type Answer, type RequestParams, SERVER_FEATURES, SERVER_VERSIONS } from '../protocol/server.ts';
import { CLOSE } from '../protocol/websocket.ts';
import { mayNow } from './access.ts';
import { audited } from './audit.ts';
import type { Change } from './changes.ts';
import type { Peer, ServerContext, Session } from './context.ts';
import { headObject } from './live.ts';
import { appendAuthority, notify } from './notices.ts';
import { memberObject } from './objects.ts';
import { tellOfMember } from './passing.ts';
import type { DeviceRow, MemberRow } from './rows.ts';
import { checkSecond } from './second.ts';
import { skeletonOf } from './skeleton.ts';

type Greeted = Extract<Session, { phase: 'greeted' }>;

/** Answers the greeting. Throws `version.unsupported` with the versions that work, and `server.originRefused`. */
export const greet = async (
  context: ServerContext,
  peer: Peer,
  params: RequestParams<'hello'>,
): Promise<Answer<'hello'>> => {
  const version = SERVER_VERSIONS.find((one) => params.versions.includes(one));
  if (version === undefined) throw new SottoError('version.unsupported', { details: { versions: SERVER_VERSIONS } });
  if (!context.origins.has(params.origin)) throw new SottoError('server.originRefused');
  const clientNonce = fromBase64(params.nonce);
  const serverNonce = context.random.bytes(32);
  peer.state = { phase: 'greeted', clientNonce, serverNonce, origin: params.origin };
  const row = await context.store.getServer();
  const isBound = peer.binding() !== undefined;
  const proof = signHello(context.serverSigner, { origin: params.origin, clientNonce, serverNonce, isBound });
  return {
    version,
    features: [...SERVER_FEATURES],
    server: toBase64(context.serverKey),
    node: context.node,
    epoch: row.epoch,
    name: row.name,
    nonce: toBase64(serverNonce),
    proof: toBase64(proof),
    bound: isBound,
    at: context.clock.now(),
    registration: row.registration,
  };
};

/** Proves a device; registers its member first when asked to. Throws `login.refused`, `device.revoked`, `login.second`, `server.banned`, `registration.closed`, `invite.invalid`, `name.taken`, `name.invalid`, `rate.limited`. */
export const login = async (
  context: ServerContext,
  peer: Peer,
  greeted: Greeted,
  params: RequestParams<'login'>,
): Promise<Answer<'login'>> => {
  peer.state = { phase: 'spent' };
  const { changes } = context.standings;
  const shown = fromBase64(params.certificate);
  const { device, signingKey } = certifiedDevice(shown);
  const kept = await context.store.getCertified(device, shown);
  const isRevoked = kept !== undefined && kept.revokedAt !== null;
  const isKnown = kept?.isSame === true;
  // To check a certificate anew takes 7 ms, and nothing to show one.
  if (!isKnown && !isRevoked) mayNow(context, 'register', peer.source ?? '');
  const certificate = isKnown || isRevoked ? kept : readDeviceCertificate(shown, context.serverKey);
  const proven = verifyLogin(
    signingKey,
    { ...greeted, serverId: context.serverKey, binding: peer.binding() },
    fromBase64(params.proof),
  );
  if (!proven) throw new SottoError('login.refused');
  if (isRevoked) {
    const isErased = (await context.standings.member(kept.member))?.erasedAt !== null;
    throw new SottoError(isErased ? 'login.refused' : 'device.revoked');
  }
  if ('device' in certificate)
    await context.admitting.run(certificate.member, () => takeNew(context, certificate, params));
  const member = await context.standings.member(certificate.member);
  const isAsRead = isKnown && context.standings.changes === changes;
  const now = isAsRead ? kept : await context.store.getCertified(device, shown);
  if (member === undefined || now === undefined) throw new Error('a member who was made is there');
  // What ended meanwhile has found nobody to disconnect.
  if (member.banned || member.erasedAt !== null) throw new SottoError('server.banned');
  if (now.revokedAt !== null) throw new SottoError('device.revoked');
  if (!peer.isOpen) throw new SottoError('login.refused');
  peer.state = { phase: 'in', member: member.id, device, ending: 0, endedBy: undefined };
  peer.prove();
  const peers = context.online.get(member.id) ?? new Set();
  makeRoom(peers, device);
  context.online.set(member.id, peers.add(peer));
  context.presence.came(peer, member.id);
  const inbox = await headObject(context, inboxOf(member.id));
  return {
    member: memberObject(member),
    device,
    inbox,
    oneTimeKeys: await context.store.countPrekeys(device),
    sealed: await context.store.getSealed(device),
  };
};

// The oldest of a device goes, or one member could have all that a server takes.
const makeRoom = (peers: ReadonlySet<Peer>, device: DeviceId): void => {
  const own = [...peers].filter((peer) => peer.isOpen && peer.state?.phase === 'in' && peer.state.device === device);
  if (own.length >= SERVER_CONNECTIONS_PER_DEVICE_MAX) own[0]?.close(CLOSE.policy, 'replaced');
};

/** A connection is gone, or its device is no longer welcome. */
export const logout = (context: ServerContext, peer: Peer): void => {
  if (peer.state?.phase !== 'in') return;
  const { member } = peer.state;
  const peers = context.online.get(member);
  peers?.delete(peer);
  if (peers?.size === 0) context.online.delete(member);
  context.presence.gone(member);
};

// A device that nobody knows yet, or whose certificate is another now.
const takeNew = async (
  context: ServerContext,
  certificate: DeviceCertificate,
  params: RequestParams<'login'>,
): Promise<void> => {
  const known = await context.store.getMember(certificate.member);
  try {
    if (known === undefined) await register(context, certificate, params);
    else await admitDevice(context, known, certificate, params);
  } catch (error) {
    // An earlier log-in of this device, over a connection that may have broken, was under way still.
    const kept = await context.store.getCertified(certificate.device, fromBase64(params.certificate));
    if (expectedError(error) === undefined || kept?.isSame !== true) throw error;
  }
};

// Who was banned, erased or made a member since lets nobody in any more.
const mayInviteStill = async ({ store }: ServerContext, madeBy: MemberId | null): Promise<boolean> => {
  if (madeBy === null) return true;
  const maker = await store.getMember(madeBy);
  return maker !== undefined && maker.erasedAt === null && !maker.banned && maker.role !== 'member';
};

const register = async (
  context: ServerContext,
  certificate: DeviceCertificate,
  { register: wanted, certificate: encoded }: RequestParams<'login'>,
): Promise<void> => {
  if (wanted === undefined) throw new SottoError('login.refused');
  const { registration } = await context.store.getServer();
  const invite =
    wanted.invite === undefined ? undefined : await context.store.getInvite(sha256(Buffer.from(wanted.invite)));
  const now = context.clock.now();
  const usable =
    invite !== undefined &&
    invite.revokedAt === null &&
    invite.usesLeft > 0 &&
    invite.expiresAt > now &&
    (await mayInviteStill(context, invite.madeBy));
  // Without a good invite nobody is told anything about names.
  if (wanted.invite !== undefined && !usable) throw new SottoError('invite.invalid');
  if (registration === 'closed' && invite?.role !== 'owner')
    throw new SottoError('registration.closed', { details: { why: registration } });
  if (registration === 'invite' && !usable) throw new SottoError('registration.closed');
  if (!isMemberName(wanted.name)) throw new SottoError('name.invalid');
  const looks = skeletonOf(wanted.name);
  if ((await context.store.getMemberByName(looks)) !== undefined) throw new SottoError('name.taken');
  const changes: Change[] = [
    ...(invite === undefined ? [] : [{ kind: 'inviteUsed', invite: invite.id } as const]),
    {
      kind: 'member',
      row: {
        id: certificate.member,
        memberKey: certificate.memberKey,
        name: wanted.name,
        skeleton: looks,
        role: invite?.role ?? 'member',
        status: '',
        banned: false,
        joinedAt: now,
        erasedAt: null,
      },
    },
    { kind: 'device', row: deviceRow(certificate, fromBase64(encoded), now) },
    audited(context, {
      actor: certificate.member,
      kind: 'member.joined',
      target: certificate.member,
      ...(invite === undefined ? {} : { detail: { invite: invite.id } }),
    }),
  ];
  await appendAuthority(context, certificate.member, { what: 'member.joined' }, changes);
  context.counts.add('joins');
};

const admitDevice = async (
  context: ServerContext,
  member: MemberRow,
  certificate: DeviceCertificate,
  { certificate: encoded, second }: RequestParams<'login'>,
): Promise<void> => {
  if (member.banned || member.erasedAt !== null) throw new SottoError('server.banned');
  const devices = await context.store.listDevices(member.id);
  if (devices.some((one) => one.id === certificate.device && one.revokedAt === null)) return;
  // Their certificates were checked when they came.
  const known = devices.map(({ id: device, serial, signalKey }) => ({ device, serial, signalKey }));
  compareCertificate(known, certificate);
  // The clock of a device that came before may have been ahead: this one is told what serial it needs.
  const least = Math.max(0, ...devices.map(({ serial }) => serial)) + 1;
  if (certificate.serial < least) throw new SottoError('certificate.invalid', { details: { why: 'serial', least } });
  if (devices.filter(({ revokedAt }) => revokedAt === null).length >= DEVICES_MAX)
    throw new SottoError('request.notAllowed');
  // First: who has no second check to show uses up nothing that the member needs.
  await checkSecond(context, member.id, second);
  mayNow(context, 'account', member.id);
  const now = context.clock.now();
  await appendAuthority(context, member.id, { what: 'device.added', device: certificate.device }, [
    { kind: 'device', row: deviceRow(certificate, fromBase64(encoded), now) },
    audited(context, { actor: member.id, kind: 'device.added', target: certificate.device }),
  ]);
  await notify(context, member.id, { what: 'device.added', device: certificate.device });
  await tellOfMember(context, member.id);
};

const deviceRow = (certificate: DeviceCertificate, bytes: Uint8Array<ArrayBuffer>, now: number): DeviceRow => ({
  id: certificate.device,
  member: certificate.member,
  signingKey: certificate.signingKey,
  signalKey: certificate.signalKey,
  certificate: bytes,
  serial: certificate.serial,
  addedAt: now,
  revokedAt: null,
});
