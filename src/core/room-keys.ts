// Sender keys of members channels: ours, made anew when it must be, and given to every device before the next message.
import { devicesWithoutKey, OwnChain, rotationDue, TheirChain } from '../crypto/sender-key.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { type ErrorCode, expectedError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { INBOX_RETRY_MS, KEYLESS_MS_MAX } from '../protocol/limits.ts';
import type { Direct } from '../protocol/room-direct.ts';
import {
  type ChannelRow,
  forgetOurKey,
  getChannel,
  getChannelById,
  getSenderKey,
  listChannelDevices,
  patchChannel,
  patchChannelDevice,
  putSenderKey,
} from '../store/channels.ts';
import { type DeviceRow, getMemberById, hasDevice, type MemberRow } from '../store/members.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubt } from './room-doubts.ts';
import { memberName } from './room-names.ts';
import { newEventId } from './room-outbox.ts';
import { learnMembers } from './room-people.ts';
import { beginSessions, otherDevices, publishDirect, sealDirect } from './room-sessions.ts';

type Own = { readonly epoch: number; readonly chain: OwnChain; readonly readers: readonly DeviceId[] };

/**
 * Makes sure that every device in a members channel can read what we send next, as long as nothing happens there: gives the
 * last control event of which it knew. Does nothing in other channels.
 */
export const shareKeys = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
): Promise<number | undefined> => {
  const channel = getChannel(core.db, channelRow);
  if (channel === undefined || channel.encryption !== 'members' || channel.state !== 'joined') return undefined;
  const seq = stateOfJson(channel.membership)?.seq;
  await learnPresent(core, connection, channel);
  const members = await core.queue.call(() => withoutKey(core, connection.row, channelRow));
  for (const member of members) {
    const why = await give(core, connection, channelRow, member);
    if (why !== undefined) await core.queue.call(() => leaveOut(core, channelRow, member, why));
  }
  return seq;
};

const NO_KEYS = 'the server shows no keys of theirs';
// The code of what one member's end of the server says, and the words for it.
const LEFT_OUT: Readonly<Partial<Record<ErrorCode, string>>> = {
  'member.keyRefused': NO_KEYS,
  'member.unknown': 'the server takes nothing for them',
  'inbox.full': 'their inbox on the server is full',
};

/** Gives our key to a member. Who cannot be given it is left out, so that all others can read: the answer is why. */
const give = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  member: MemberRow,
): Promise<string | undefined> => {
  const now = core.clock.monotonic();
  const shut = connection.visit.shut.get(member.id);
  if (shut !== undefined && now < shut.until) return shut.why;
  try {
    await beginSessions(core, connection, member.id);
    await share(core, connection, channelRow, member);
    return undefined;
  } catch (error) {
    const { code, details } = expectedError(error) ?? {};
    const why = code === undefined ? undefined : LEFT_OUT[code];
    // Each try steps their sessions on: what takes nothing now is left alone for a while.
    if (why !== undefined && why !== NO_KEYS)
      connection.visit.shut.set(member.id, { why, until: now + INBOX_RETRY_MS });
    if (why !== undefined) return why;
    // Their keys may be asked for again in hours only.
    if (code === 'rate.limited' && Number(details?.retryAfterMs) > KEYLESS_MS_MAX) return NO_KEYS;
    if (code !== 'member.unreachable') throw error;
    const since = connection.visit.keyless.get(member.id)?.since ?? now;
    if (core.clock.monotonic() - since < KEYLESS_MS_MAX) throw error;
    return NO_KEYS;
  }
};

const leaveOut = (core: Core, channelRow: number, member: MemberRow, why: string): void =>
  commit(core, (changes) => {
    const seq = getChannel(core.db, channelRow)?.lastSeq ?? 0;
    const reason = `${memberName(core.db, member.id)} cannot read what you write: ${why}`;
    doubt(core, changes, channelRow, { fromSeq: seq, toSeq: seq, reason });
  });

/** Seals a signed event with our chain; what is given must be written in the transaction that keeps the body. */
export const sealForMembers = async (
  core: Core,
  server: ServerRow,
  channel: ChannelRow,
  signed: Uint8Array,
): Promise<{ readonly body: Uint8Array<ArrayBuffer>; readonly keep: () => void }> => {
  const own = ownChain(core, server, channel);
  if (own === undefined) throw new Error('our key was made before');
  const body = await own.chain.seal(signed);
  const keep = (): void => patchChannel(core.db, channel.id, { senderKey: own.chain.serialize() });
  return { body, keep };
};

/**
 * Takes another device's key, out of a Signal session with it; gives the channel that it fits, and what must be written in the
 * transaction that keeps the session's step. Undefined where there is no such channel.
 */
export const takeKey = async (
  core: Core,
  server: ServerRow,
  device: DeviceRow,
  { channel, epoch, share: bytes }: Extract<Direct, { kind: 'sender.key' }>,
): Promise<{ readonly channel: ChannelRow; readonly keep: () => void } | undefined> => {
  const row = getChannelById(core.db, server.id, idBytes(channel));
  if (row === undefined || row.encryption !== 'members') return undefined;
  const place = { channel: channel as ChannelId, epoch, device: idOf<DeviceId>(device.deviceId) };
  const kept = { channelRow: row.id, deviceId: device.deviceId, keyEpoch: epoch };
  const chain = new TheirChain(place, getSenderKey(core.db, kept));
  await chain.take(fromBase64(bytes));
  return { channel: row, keep: () => putSenderKey(core.db, kept, chain.serialize()) };
};

const ownChain = (core: Core, server: ServerRow, channel: ChannelRow): Own | undefined => {
  if (channel.senderKey === null) return undefined;
  const epoch = stateOfJson(channel.membership)?.epoch ?? 0;
  const device = idOf<DeviceId>(server.deviceId);
  const place = { channel: idOf<ChannelId>(channel.channelId), epoch: channel.senderKeyEpoch, device };
  const readers = listChannelDevices(core.db, channel.id)
    .filter(({ hasOurs }) => hasOurs === 1)
    .map(({ deviceId }) => idOf<DeviceId>(deviceId));
  return {
    epoch: channel.senderKeyEpoch,
    chain: new OwnChain(place, { state: channel.senderKey }),
    readers: epoch === channel.senderKeyEpoch ? readers : [],
  };
};

/** Devices that must be able to read: those of everybody in the replayed list, but for this one. */
const presentDevices = (core: Core, server: ServerRow, channel: ChannelRow): Map<DeviceId, MemberRow> => {
  const state = stateOfJson(channel.membership);
  const present = new Map<DeviceId, MemberRow>();
  for (const id of state?.members.keys() ?? []) {
    const member = getMemberById(core.db, server.id, idBytes(id));
    if (member === undefined) continue;
    for (const device of otherDevices(core, server, member)) present.set(idOf<DeviceId>(device.deviceId), member);
  }
  return present;
};

// Nobody is left out because we have not met them, nor a device because it came while we were away.
const learnPresent = async (core: Core, connection: RoomConnection, channel: ChannelRow): Promise<void> => {
  const me = idOf<MemberId>(connection.row.memberId);
  const isFirst = !connection.visit.met.has(idOf(channel.channelId));
  const wanted = [...(stateOfJson(channel.membership)?.members.keys() ?? [])].filter((id) => {
    if (id === me && !isFirst) return false;
    const row = getMemberById(core.db, connection.serverId, idBytes(id));
    return isFirst || row === undefined || !hasDevice(core.db, row.id);
  });
  if (wanted.length > 0) await learnMembers(core, connection, wanted);
  connection.visit.met.add(idOf(channel.channelId));
};

/** Makes our key anew when it is due; gives the members with a device that does not have it. */
const withoutKey = async (core: Core, server: ServerRow, channelRow: number): Promise<MemberRow[]> => {
  const channel = getChannel(core.db, channelRow);
  const state = stateOfJson(channel?.membership ?? '');
  if (channel === undefined || state === undefined) return [];
  const present = presentDevices(core, server, channel);
  const devices = new Set(present.keys());
  const own = ownChain(core, server, channel);
  const now = core.clock.now();
  if (rotationDue(own, { epoch: state.epoch, devices, now }) !== undefined) {
    const device = idOf<DeviceId>(server.deviceId);
    const chain = new OwnChain({ channel: idOf<ChannelId>(channel.channelId), epoch: state.epoch, device }, { now });
    await chain.share();
    commit(core, () => {
      forgetOurKey(core.db, channel.id);
      patchChannel(core.db, channel.id, {
        senderKey: chain.serialize(),
        senderKeyEpoch: state.epoch,
      });
    });
    return [...new Set(present.values())];
  }
  const missing = devicesWithoutKey(own?.readers ?? [], devices);
  return [...new Set(missing.map((device) => present.get(device)).filter((member) => member !== undefined))];
};

/** Gives our key to the devices of one member; they have it once the server has committed that. */
const share = async (core: Core, connection: RoomConnection, channelRow: number, member: MemberRow): Promise<void> => {
  const sealed = await core.queue.call(async () => {
    const server = connection.row;
    const channel = getChannel(core.db, channelRow);
    const own = channel === undefined ? undefined : ownChain(core, server, channel);
    if (channel === undefined || own === undefined) return undefined;
    const without = otherDevices(core, server, member).filter(
      (device) => !own.readers.includes(idOf<DeviceId>(device.deviceId)),
    );
    const direct: Direct = {
      kind: 'sender.key',
      channel: idOf(channel.channelId),
      epoch: own.epoch,
      share: toBase64(await own.chain.share()),
    };
    const one = await sealDirect(core, server, without, direct);
    if (one.to.length === 0) return undefined;
    commit(core, one.keep);
    return one;
  });
  if (sealed === undefined) return;
  await publishDirect(core, connection, {
    to: idOf(member.memberId),
    id: idOf<EventId>(newEventId(core, connection.serverId)),
    ttlSeconds: 0,
    body: sealed.body,
  });
  await core.queue.call(() =>
    commit(core, () => {
      for (const device of sealed.to) patchChannelDevice(core.db, channelRow, device.deviceId, { hasOurs: 1 });
    }),
  );
};
