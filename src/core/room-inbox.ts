// Takes events of our inbox: what devices of members say to this one inside Signal sessions, and what the server notes for us.
import { PreKeySet } from '../crypto/prekeys.ts';
import type { SignalSession } from '../crypto/session.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, idBytes, idOf } from '../protocol/ids.ts';
import { decodeNote } from '../protocol/inbox-note.ts';
import { REVOKED_GRACE_MS } from '../protocol/limits.ts';
import { unpadded } from '../protocol/padding.ts';
import { type Direct, decodeDirect, decodeEnvelopes, type Envelope, isOwn } from '../protocol/room-direct.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import { getChannelById } from '../store/channels.ts';
import {
  getFormerDevice,
  getFormerPreKeys,
  getFormerSession,
  putFormerPreKeys,
  putFormerSession,
} from '../store/former-devices.ts';
import { type DeviceRow, getDevice, getMemberById, type MemberRow, putDeviceSession } from '../store/members.ts';
import { patchServer, putPreKeys, type ServerRow } from '../store/servers.ts';
import { type Changes, type Core, commit, detach, refuse } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { aboutWhom, applyDirect, applyOwn } from './room-direct.ts';
import { takeKey } from './room-keys.ts';
import { retryPending } from './room-pending.ts';
import type { Took, Unmet } from './room-receive.ts';
import { deviceSession, ownPreKeys } from './room-sessions.ts';
import { takePart } from './room-share-parts.ts';

/** libsignal's type of a message that begins a session. */
const PREKEY_MESSAGE = 3;

/**
 * Handles events of the inbox in order; each is opened, applied and passed over in one transaction. It stops where a member is
 * to be asked for: another device of mine has told about them and nobody here knows them, or a device of theirs that nobody here
 * knows has written. `learned` are those who were asked for. Runs in the queue.
 */
export const receiveInbox = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
  learned: ReadonlySet<string>,
): Promise<Took> => {
  for (const event of events) {
    const server = connection.row;
    if (event.epoch === server.epoch && event.seq <= server.inboxSeq) continue;
    if (event.epoch === server.epoch && event.seq > server.inboxSeq + 1) {
      // It comes again, in its turn.
      if (connection.visit.isReadingInbox) continue;
      commit(core, (changes) => mayMiss(core, changes, server));
    }
    const stop = await receiveOne(core, connection, event, learned);
    if (typeof stop === 'string') return { stranger: stop };
    if (stop !== undefined) return { unmet: stop };
  }
  return {};
};

/** Keeps, and tells, that something to me may be lost. */
export const mayMiss = (core: Core, changes: Changes, { id, label }: ServerRow): void => {
  patchServer(core.db, id, { missedUntil: changes.at });
  changes.event({ kind: 'channel.gap', detail: `messages to you may be missing on ${label}` });
};

const receiveOne = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
  learned: ReadonlySet<string>,
): Promise<string | Unmet | undefined> => {
  const server = connection.row;
  const passed = (): void =>
    patchServer(core.db, server.id, { epoch: event.epoch, inboxSeq: event.seq, inboxId: idBytes(event.id) });
  const opened =
    event.kind === EVENT.direct && !event.erased ? await open(core, connection, event, learned) : undefined;
  if (opened === 'stranger') return event.member;
  if (opened === undefined) {
    commit(core, (changes) => {
      passed();
      if (event.kind === EVENT.notice && !event.erased) noted(core, changes, server, event);
    });
    return undefined;
  }
  const { member, direct } = opened;
  const keep = (): void => {
    opened.keep();
    passed();
  };
  // Who was rejected says nothing to me; what they say in a channel of both is the channel's, and opens with their key.
  if (member.blocked === 1 && direct.kind !== 'sender.key') {
    commit(core, keep);
    return undefined;
  }
  const isMe = isEqual(member.memberId, server.memberId);
  // Only a device of mine makes me ask for somebody.
  const about = isMe && isOwn(direct) ? aboutWhom(direct) : undefined;
  if (about !== undefined && !learned.has(about) && getMemberById(core.db, server.id, idBytes(about)) === undefined)
    return about;
  if (direct.kind === 'sender.key') {
    const { channel } = direct;
    // Another device of mine has joined it while this one was away.
    if (!learned.has(channel) && getChannelById(core.db, server.id, idBytes(channel)) === undefined)
      return { channel, by: event.member };
    await takeGivenKey(core, connection, { ...opened, keep }, direct);
    return undefined;
  }
  const hasCome = commit(core, (changes) => {
    keep();
    if (!isMe && direct.kind === 'history') return takePart(core, changes, member, direct);
    const scene = { core, changes, connection, member, author: member, isMine: false, event };
    // A member speaks for themself, and to themself only as one device to another.
    if (!isMe && !isOwn(direct)) applyDirect(scene, direct);
    if (isMe && isOwn(direct)) applyOwn(scene, direct);
    return false;
  });
  if (hasCome) detach(core, connection.look());
  if (isMe && direct.kind === 'joined') detach(core, connection.meet());
  return undefined;
};

// The key is kept with the step of the session that brought it.
const takeGivenKey = async (
  core: Core,
  connection: RoomConnection,
  { member, device, keep }: Opened,
  given: Extract<Direct, { kind: 'sender.key' }>,
): Promise<void> => {
  const taken = await takeKey(core, connection.row, device, given).catch((error: unknown) => {
    if (!(error instanceof ProtocolError)) throw error;
    refuse(core, error.code);
    return undefined;
  });
  commit(core, () => {
    taken?.keep();
    keep();
  });
  // It may be much: what comes meanwhile does not wait for it.
  if (taken !== undefined)
    detach(core, retryPending(core, connection, taken.channel.id, { memberRow: member.id, keyEpoch: given.epoch }));
};

// What the server notes for all devices of a member. Devices that come and go are told of where their certificates are seen.
const noted = (core: Core, changes: Changes, server: ServerRow, event: LogEvent): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  const what = noteOf(core, event);
  const done = what === 'second.set' ? 'set or changed' : what === 'second.removed' ? 'removed' : undefined;
  if (me === undefined || done === undefined) return;
  const at = new Date(event.at).toISOString();
  const detail = `was ${done} at ${at}: if it was not you, end the device that did it: sotto server devices`;
  changes.event({ kind: 'member.secondCheck', memberRow: me.id, detail });
};

const noteOf = (core: Core, event: LogEvent): string => {
  try {
    return decodeNote(event.body).what;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    refuse(core, error.code);
    return 'unknown';
  }
};

// What it said before counts.
const isAfterRevocation = ({ revoked }: DeviceRow, { at }: LogEvent): boolean =>
  revoked !== 0 && at > revoked + REVOKED_GRACE_MS;

type Opened = {
  readonly member: MemberRow;
  readonly device: DeviceRow;
  readonly direct: Direct | { readonly kind: 'unknown' };
  readonly keep: () => void;
};

const open = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
  learned: ReadonlySet<string>,
): Promise<Opened | 'stranger' | undefined> => {
  const server = connection.row;
  try {
    const { from, envelopes } = decodeEnvelopes(event.body);
    const present = envelopeFor(server.deviceId, envelopes);
    const former = present === undefined ? getFormerDevice(core.db, server.id) : undefined;
    const mine = present ?? envelopeFor(former, envelopes);
    if (mine === undefined) return undefined;
    const member = getMemberById(core.db, server.id, idBytes(event.member));
    const device = member === undefined ? undefined : getDevice(core.db, member.id, idBytes(from));
    // It may have come while we were away.
    if (device === undefined && !learned.has(event.member)) return 'stranger';
    if (member === undefined || device === undefined || isAfterRevocation(device, event))
      throw new ProtocolError('event.forged', { details: { why: 'device' } });
    const reader =
      former === undefined ? presentReader(core, server, device) : formerReader(core, server, device, former);
    // Only the first messages of a session use published keys, and only they change the set.
    const published = mine.type === PREKEY_MESSAGE ? reader.prekeys() : undefined;
    const session = deviceSession(core, reader.server, reader.device, published);
    const direct = decodeDirect(unpadded(await session.decrypt(mine)));
    return { member, device, direct, keep: () => reader.keep(session, published) };
  } catch (error) {
    if (!(error instanceof SottoError)) throw error;
    // What was read in the log before comes again, and opens once; the library remembers the last few ratchet keys only.
    if (connection.visit.isReadingInbox && error.code === 'frame.undecryptable') return undefined;
    refuse(core, error.code);
    core.log.warn('direct.refused', { code: error.code, why: String(error.details.why ?? '') });
    return undefined;
  }
};

const envelopeFor = (device: Uint8Array | undefined, envelopes: readonly Envelope[]): Envelope | undefined => {
  const id = device === undefined ? undefined : idOf<DeviceId>(device);
  return envelopes.find(({ to }) => to === id);
};

/** As which device of ours a message is read. */
type Reader = {
  readonly server: ServerRow;
  readonly device: DeviceRow;
  readonly prekeys: () => PreKeySet;
  readonly keep: (session: SignalSession, published: PreKeySet | undefined) => void;
};

const presentReader = (core: Core, server: ServerRow, device: DeviceRow): Reader => ({
  server,
  device,
  prekeys: () => ownPreKeys(core, server),
  keep: (session, published) => {
    putDeviceSession(core.db, device.id, session.serialize());
    if (published !== undefined) putPreKeys(core.db, server.id, published.serialize());
  },
});

// Nothing is ever sealed as that one.
const formerReader = (core: Core, server: ServerRow, device: DeviceRow, deviceId: Uint8Array<ArrayBuffer>): Reader => ({
  server: { ...server, deviceId },
  device: { ...device, session: getFormerSession(core.db, device.id) ?? null },
  prekeys: () => new PreKeySet(getFormerPreKeys(core.db, server.id)),
  keep: (session, published) => {
    putFormerSession(core.db, device.id, session.serialize());
    if (published !== undefined) putFormerPreKeys(core.db, server.id, published.serialize());
  },
});
