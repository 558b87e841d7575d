// What of the outbox of a server becomes the bytes that go: signed with its count, sealed for who may read it, and kept so.

import { sealBody } from '../crypto/channel-key.ts';
import type { ChannelState } from '../crypto/channel-state.ts';
import { headOf, type Scope, signEvent } from '../crypto/room-event.ts';
import { SottoError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, idOf, type MemberId, timeOfId } from '../protocol/ids.ts';
import { DAY_MS, EVENT_ID_AGE_MS_MAX, EVENT_ID_AHEAD_MS_MAX, STALE_TRIES_MAX } from '../protocol/limits.ts';
import { isOwn } from '../protocol/room-direct.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { type ChannelRow, getChannel, getChannelKey } from '../store/channels.ts';
import { getMember } from '../store/members.ts';
import { getMessage, renameMessage } from '../store/messages.ts';
import {
  forgetSealed,
  getRoomOutbox,
  listRoomOutboxAbout,
  putEventId,
  putSealed,
  type RoomOutboxRow,
  removeRoomOutbox,
  replaceContent,
} from '../store/room-outbox.ts';
import { countSealed, type ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { ourView } from './room-doubts.ts';
import { sealForMembers, shareKeys } from './room-keys.ts';
import { contentIn, directIn, newEventId } from './room-outbox.ts';
import { otherDevices, sealDirect } from './room-sessions.ts';
import { readPart } from './room-share.ts';

/** What goes to the server: for a channel or a member, `checkedAt` the last control event that its sender knew there. */
type Sealed = {
  readonly id: EventId;
  readonly to: string;
  readonly checkedAt: number;
  readonly body: Uint8Array<ArrayBuffer>;
};

/**
 * Seals a row of the outbox, once: a repeat is the same bytes. In a members channel every device has the key first. Undefined
 * when the row is not there any more, or has nobody to go to. Throws `channel.notMember`, `channel.banned`, `member.unknown`,
 * `passphrase.needed`, `server.*`; `server.busy` when people come and go faster than keys are given.
 */
export const sealRow = async (
  core: Core,
  connection: RoomConnection,
  { id, channelRow, kind }: RoomOutboxRow,
): Promise<Sealed | undefined> => {
  for (let tries = 0; tries < STALE_TRIES_MAX; tries++) {
    const sharedAt =
      channelRow === null || kind === EVENT.control ? undefined : await shareKeys(core, connection, channelRow);
    const sealed = await core.queue.call(() => seal(core, connection, id, sharedAt));
    if (sealed !== 'again') return sealed;
  }
  throw new SottoError('server.busy');
};

const seal = async (
  core: Core,
  connection: RoomConnection,
  id: number,
  sharedAt: number | undefined,
): Promise<Sealed | 'again' | undefined> => {
  const row = withFreshId(core, connection, getRoomOutbox(core.db, id));
  if (row === undefined) return undefined;
  return row.channelRow === null
    ? sealForMember(core, connection.row, row)
    : sealForChannel(core, connection.row, row, row.channelRow, sharedAt);
};

// `again` when somebody came or went since the key was shared, or another log has begun, in which nobody has it.
const sealForChannel = async (
  core: Core,
  server: ServerRow,
  row: RoomOutboxRow,
  channelRow: number,
  sharedAt: number | undefined,
): Promise<Sealed | 'again'> => {
  const channel = getChannel(core.db, channelRow);
  const state = stateOfJson(channel?.membership ?? '');
  if (channel === undefined) throw new SottoError('channel.notMember');
  if (channel.state !== 'joined')
    throw new SottoError(channel.state === 'banned' ? 'channel.banned' : 'channel.notMember');
  // Who is in it is being asked for again.
  if (state === undefined) throw new SottoError('server.busy');
  const place = { id: idOf<EventId>(row.eventId), to: idOf<EventId>(channel.channelId), checkedAt: state.seq };
  if (row.sealed !== null && row.n > 0) return { ...place, body: row.sealed };
  const needsKey = channel.encryption === 'members' && row.kind === EVENT.content;
  if (needsKey && (sharedAt !== state.seq || channel.senderKey === null)) return 'again';
  const n = channel.sent + 1;
  const one: InChannel = { server, channel, state, row };
  const signed = sign(core, one, n);
  const { body, keep } = await sealSigned(core, one, signed);
  commit(core, () => {
    countSealed(core.db, server.id);
    keep();
    putSealed(core.db, row.id, { sealed: body, n, signed: channel.encryption === 'members' ? signed : null });
  });
  return { ...place, body };
};

type InChannel = {
  readonly server: ServerRow;
  readonly channel: ChannelRow;
  readonly state: ChannelState;
  readonly row: RoomOutboxRow;
};

const sign = (core: Core, { server, channel, state, row }: InChannel, n: number): Uint8Array<ArrayBuffer> => {
  const scope: Scope = { serverId: server.serverKey, channelHash: channel.hash };
  const me = idOf<MemberId>(server.memberId);
  return signEvent(
    scope,
    {
      epoch: state.epoch,
      id: idOf<EventId>(row.eventId),
      sender: me,
      device: idOf<DeviceId>(server.deviceId),
      n,
      ...ourView(core, channel, state, me),
      membersHead: headOf(state.head),
      kind: row.kind as 1 | 2,
    },
    contentIn(row),
    server.deviceSeed,
  );
};

const sealSigned = async (
  core: Core,
  { server, channel, state: { epoch }, row }: InChannel,
  signed: Uint8Array<ArrayBuffer>,
): Promise<{ readonly body: Uint8Array<ArrayBuffer>; readonly keep: () => void }> => {
  if (channel.encryption === 'open' || row.kind === EVENT.control) return { body: signed, keep: () => {} };
  if (channel.encryption === 'members') return sealForMembers(core, server, channel, signed);
  const key = getChannelKey(core.db, channel.id, epoch);
  if (key === undefined)
    throw new SottoError('passphrase.needed', { message: 'The passphrase has changed: join again' });
  const place = {
    epoch,
    id: idOf<EventId>(row.eventId),
    sender: idOf<MemberId>(server.memberId),
    device: idOf<DeviceId>(server.deviceId),
  };
  return { body: sealBody(key, place, signed), keep: () => {} };
};

const sealForMember = async (core: Core, server: ServerRow, row: RoomOutboxRow): Promise<Sealed | undefined> => {
  const member = getMember(core.db, row.memberRow ?? 0);
  if (member === undefined) throw new SottoError('member.unknown');
  const place = { id: idOf<EventId>(row.eventId), to: idOf(member.memberId), checkedAt: 0 };
  if (row.sealed !== null) return { ...place, body: row.sealed };
  const wanted = directIn(row);
  // What is shown of a channel is read when its turn comes: by then something may have been erased, or somebody removed.
  const direct = wanted.kind === 'history' ? readPart(core, server, member, wanted) : wanted;
  if (direct === undefined) return undefined;
  const devices = otherDevices(core, server, member);
  const { body, keep, to } = await sealDirect(core, server, devices, direct);
  // The last other device of mine was revoked meanwhile, or has brought no keys: there is nobody to tell.
  if (to.length === 0 && isOwn(direct)) {
    commit(core, () => removeRoomOutbox(core.db, row.id));
    return undefined;
  }
  // What is sealed for nobody is read by nobody.
  if (to.length === 0) throw new SottoError('member.unreachable', { message: `${member.name} has no device now` });
  commit(core, () => {
    keep();
    putSealed(core.db, row.id, { sealed: body, n: 0 });
  });
  return { ...place, body };
};

/**
 * A row of the outbox as it may go: a server takes no id that is too old or too far ahead by its clock, so what has waited that
 * long, or was made while our clock was ahead, gets another one, and what waits behind it and names it goes along. Had the server
 * taken it under the first, it would have come.
 */
const withFreshId = (
  core: Core,
  { now }: RoomConnection,
  row: RoomOutboxRow | undefined,
): RoomOutboxRow | undefined => {
  if (row === undefined) return undefined;
  const madeAt = timeOfId(idOf(row.eventId)) ?? 0;
  if (madeAt > now - EVENT_ID_AGE_MS_MAX + DAY_MS && madeAt <= now + EVENT_ID_AHEAD_MS_MAX) return row;
  const eventId = newEventId(core, row.serverId);
  commit(core, (changes) => {
    putEventId(core.db, row.id, eventId);
    // What is sealed for a member does not have it inside, and a message to them has an id of its own.
    if (row.channelRow === null) return;
    forgetSealed(core.db, row.id);
    const message = row.messageRow === null ? undefined : getMessage(core.db, row.messageRow);
    if (message === undefined) return;
    renameMessage(core.db, message, eventId);
    for (const { id, content } of listRoomOutboxAbout(core.db, row, idOf(row.eventId))) {
      const renamed = Buffer.from(content).toString().replaceAll(idOf(row.eventId), idOf(eventId));
      replaceContent(core.db, id, new Uint8Array(Buffer.from(renamed)));
    }
    changes.event({ kind: 'message.queued', messageRow: message.id });
  });
  return getRoomOutbox(core.db, row.id);
};
