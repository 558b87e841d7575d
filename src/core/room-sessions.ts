// Signal sessions with devices of members: begun from prekeys the server hands out, kept with each device's row.
import { memberSecrets } from '../crypto/member.ts';
import { PreKeySet } from '../crypto/prekeys.ts';
import { sha256 } from '../crypto/primitives.ts';
import { type Parties, SignalSession, signalIdentity } from '../crypto/session.ts';
import { fromBase64, isEqual, jsonBytes } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, idBytes, idOf, timedId, timeOfId } from '../protocol/ids.ts';
import { DEVICES_TOLD_MAX, EVENT_BODY_BYTES_MAX, KEYLESS_MS_MAX } from '../protocol/limits.ts';
import { padded } from '../protocol/padding.ts';
import { type Direct, type Envelope, encodeEnvelopes, splitEnvelopes } from '../protocol/room-direct.ts';
import type { Placed } from '../protocol/server.ts';
import { EVENT, type Publish } from '../protocol/server-frames.ts';
import {
  type DeviceRow,
  getMember,
  listDevices,
  listDevicesInSession,
  type MemberRow,
  putDeviceSession,
} from '../store/members.ts';
import { forgetSealedFor } from '../store/room-outbox.ts';
import { countSealed, getPreKeys, type ServerRow } from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { patiently } from './room-control.ts';
import { learnMembers } from './room-people.ts';

/** Loads the session with a device; `published` is our own set, for first messages to us. */
export const deviceSession = (core: Core, server: ServerRow, device: DeviceRow, published?: PreKeySet): SignalSession =>
  new SignalSession(partiesOf(core, server, device), device.session ?? undefined, published);

const partiesOf = (core: Core, server: ServerRow, device: DeviceRow): Parties => ({
  identity: signalIdentity(memberSecrets(core.serversKey, server.serverKey).signalSecret),
  ours: idOf(server.deviceId),
  theirs: idOf(device.deviceId),
  pinned: device.signalKey,
});

/** Living devices of a member, without this one. */
export const otherDevices = (core: Core, server: ServerRow, member: MemberRow): DeviceRow[] =>
  listDevices(core.db, member.id).filter((one) => one.revoked === 0 && !isEqual(one.deviceId, server.deviceId));

/**
 * Begins a session with every device of a member that has none, by the bundles the server hands out; asks anew who the
 * devices are. A device that came just now brings its keys in a moment; one that does not, in KEYLESS_MS_MAX, keeps nobody from
 * writing to the others. Throws `server.*`, `rate.limited`, `member.keyRefused` for keys of somebody else, `member.unreachable`
 * when a device has published nothing.
 */
export const beginSessions = async (core: Core, connection: RoomConnection, memberRow: number): Promise<void> => {
  const member = getMember(core.db, memberRow);
  if (member === undefined) throw new SottoError('member.unknown');
  const { keyless, met } = connection.visit;
  const devices = () => otherDevices(core, connection.row, member);
  const without = () =>
    devices().filter((one) => !deviceSession(core, connection.row, one).hasCurrent(core.clock.now()));
  const id = idOf(member.memberId);
  const isMe = isEqual(member.memberId, connection.row.memberId);
  // Who has no device is asked for each time: they may bring one, or have erased themselves.
  if (without().length === 0 && met.has(id) && (isMe || devices().length > 0)) return;
  await learnMembers(core, connection, [id]);
  met.add(id);
  const missing = without();
  if (missing.length === 0 && (isMe || devices().length > 0)) return;
  const now = core.clock.monotonic();
  const before = keyless.get(memberRow);
  const isSame = before !== undefined && before.devices >= missing.length;
  const { since, askedAt } = isSame ? before : { since: now, askedAt: Number.NEGATIVE_INFINITY };
  const isLate = now - since >= KEYLESS_MS_MAX;
  const canWrite = (): boolean => isMe || without().length < devices().length;
  if (isLate && now - askedAt < KEYLESS_MS_MAX && canWrite()) return;
  keyless.set(memberRow, { devices: missing.length, since, askedAt: now });
  const asked = missing.slice(0, DEVICES_TOLD_MAX).map(({ deviceId }) => idOf(deviceId));
  const only = asked.length === 0 ? {} : { devices: asked };
  const { bundles } = await connection.request('prekeys.take', { member: id, ...only });
  await core.queue.call(async () => {
    // As they are now: a message that came meanwhile may have begun one.
    for (const device of without()) {
      const bundle = bundles.find((one) => one.device === idOf(device.deviceId));
      if (bundle === undefined) continue;
      const session = deviceSession(core, connection.row, device);
      await session.startPublished(fromBase64(bundle.bundle), core.clock.now()).catch((error: unknown) => {
        if (!(error instanceof SottoError)) throw error;
        throw new SottoError('member.keyRefused', { cause: error });
      });
      commit(core, () => putDeviceSession(core.db, device.id, session.serialize()));
    }
  });
  if (without().length === 0 && (isMe || devices().length > 0)) keyless.delete(memberRow);
  else if (!isLate || !canWrite())
    throw new SottoError('member.unreachable', { message: `${member.name} has published no keys yet` });
};

/**
 * Another inbox: what began a session that was never answered may be lost with the one before, and by now its keys forgotten.
 * Such sessions begin anew, and what was sealed in them is sealed again. Inside a transaction.
 */
export const beginSessionsAnew = (core: Core, server: ServerRow): void => {
  for (const device of listDevicesInSession(core.db, server.id)) {
    const session = deviceSession(core, server, device);
    if (!session.isUnanswered(core.clock.now())) continue;
    session.archive();
    putDeviceSession(core.db, device.id, session.serialize());
    forgetSealedFor(core.db, device.memberRow);
  }
};

/**
 * Seals a direct for devices, and gives the body with what must be written in the same transaction. Sessions must be there:
 * a device without one is left out.
 */
export const sealDirect = async (
  core: Core,
  server: ServerRow,
  devices: readonly DeviceRow[],
  direct: Direct,
): Promise<{
  readonly body: Uint8Array<ArrayBuffer>;
  readonly keep: () => void;
  readonly to: readonly DeviceRow[];
}> => {
  const plaintext = padded(jsonBytes(direct));
  const now = core.clock.now();
  const envelopes: Envelope[] = [];
  const sessions: { readonly device: DeviceRow; readonly session: SignalSession }[] = [];
  for (const device of devices) {
    const session = deviceSession(core, server, device);
    if (!session.hasCurrent(now)) continue;
    const { type, ciphertext } = await session.encrypt(new Uint8Array(plaintext), now);
    envelopes.push({ to: idOf<DeviceId>(device.deviceId), type, ciphertext });
    sessions.push({ device, session });
  }
  return {
    body: encodeEnvelopes(idOf<DeviceId>(server.deviceId), envelopes),
    keep: () => {
      countSealed(core.db, server.id);
      for (const { device, session } of sessions) putDeviceSession(core.db, device.id, session.serialize());
    },
    to: sessions.map(({ device }) => device),
  };
};

/**
 * Publishes a sealed direct into the inbox of a member, in as many events as it needs; the ids of all follow from `id`, so that
 * a repeat is the same. Resolves when the server has committed all of it. An event that is above the rate is waited for: to
 * begin anew with the first would use up the rate with repeats.
 */
export const publishDirect = async (
  core: Core,
  connection: RoomConnection,
  direct: Pick<Publish, 'body' | 'ttlSeconds'> & { readonly to: string; readonly id: EventId },
): Promise<Placed> => {
  let published: Placed | undefined;
  for (const [i, body] of splitEnvelopes(direct.body, EVENT_BODY_BYTES_MAX).entries())
    published = await patiently(core, () =>
      connection.publish({
        channel: direct.to,
        id: i === 0 ? direct.id : partId(direct.id, i),
        kind: EVENT.direct,
        checkedAt: 0,
        ttlSeconds: direct.ttlSeconds,
        body,
      }),
    );
  if (published === undefined) throw new Error('a direct has a part');
  return published;
};

const partId = (id: EventId, part: number): EventId =>
  timedId<EventId>(timeOfId(id) ?? 0, sha256(idBytes(id), Uint8Array.of(part)));

/** Our own set of prekeys, as kept. */
export const ownPreKeys = (core: Core, server: ServerRow): PreKeySet => new PreKeySet(getPreKeys(core.db, server.id));
