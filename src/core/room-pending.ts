// Events of a channel that did not open when they came: tried again once the key of their device is here.
import { rankOf } from '../crypto/channel-state.ts';
import type { EventHeader } from '../crypto/room-event.ts';
import { ProtocolError, type SottoError } from '../protocol/errors.ts';
import { type EventId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import type { Content, Role, UnknownContent } from '../protocol/room-content.ts';
import { CONTENT_RULES } from '../protocol/room-rules.ts';
import { type ChannelRow, getChannel, getChannelDevice, patchChannelDevice } from '../store/channels.ts';
import { getMember, type MemberRow } from '../store/members.ts';
import {
  listPending,
  listUnfound,
  type PendingOf,
  type PendingRow,
  removePending,
  setRoomEvent,
} from '../store/room-events.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubtEvent } from './room-doubts.ts';
import { applyLate, applySaid } from './room-late.ts';
import { openContent } from './room-open.ts';
import { learnMembers } from './room-people.ts';
import { keysSince } from './room-rows.ts';
import { signedKept } from './room-share.ts';
import { Unsealer, waitsForKey } from './room-unseal.ts';

const TRIED_AT_ONCE = 100;

/** Opens what it can of the events that wait in a channel, a part in each task of the queue. Throws `account.locked`. */
export const retryPending = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  of: PendingOf = {},
): Promise<void> => {
  const learned = new Set<string>();
  for (let after: number | undefined = 0; after !== undefined; ) {
    const from: number = after;
    const tried = await core.queue.call(() => retrySome(core, connection, channelRow, of, { after: from, learned }));
    after = tried.last;
    if (tried.stranger === undefined) continue;
    learned.add(tried.stranger);
    await learnMembers(core, connection, [tried.stranger]);
  }
};

/** `last`: behind which place it goes on; `stranger`: once this member was asked for, of whom a device is not known. */
type Tried = { readonly last?: number; readonly stranger?: string };

/** Tries some behind a place. */
const retrySome = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  of: PendingOf,
  { after, learned }: { readonly after: number; readonly learned: ReadonlySet<string> },
): Promise<Tried> => {
  const channel = getChannel(core.db, channelRow);
  if (channel === undefined) return {};
  const some = listPending(core.db, channelRow, of, after, TRIED_AT_ONCE);
  for (const pending of some) {
    const member = getMember(core.db, pending.memberRow);
    if (member === undefined) continue;
    const unsealer = new Unsealer(core, channel);
    const said = { id: idOf<EventId>(pending.eventId), sender: idOf<MemberId>(member.memberId) };
    let event: Event;
    try {
      const { keyEpoch, body } = pending;
      const signed = await unsealer.open({ ...said, memberRow: member.id, keyEpoch, body });
      event = { ...openContent(core, connection.row, channel, { ...said, signed }), signed };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (error.code === 'event.forged' && error.details.why === 'device' && !learned.has(said.sender))
        return { last: pending.seq - 1, stranger: said.sender };
      if (!waitsForKey(error) && !isOfBefore(core, channel, pending, error))
        giveUp(core, channel, member, pending, error.code);
      continue;
    }
    keepOpened({ core, connection, channel, member, pending, unsealer }, event);
  }
  const last = some.at(-1)?.seq;
  return some.length < TRIED_AT_ONCE || last === undefined ? {} : { last };
};

// Of a chain this device is given a later step than that: what was said before it came the chain does not open.
const isOfBefore = (core: Core, channel: ChannelRow, { at }: PendingRow, { code }: SottoError): boolean =>
  code === 'frame.undecryptable' && at < (keysSince(core.db, channel) ?? 0);

// Its key is here, and does not open it.
const giveUp = (core: Core, channel: ChannelRow, member: MemberRow, { seq }: PendingRow, why: string): void =>
  commit(core, (changes) => {
    removePending(core.db, channel.id, seq);
    doubtEvent(core, changes, channel, { seq, member: idOf(member.memberId) }, why);
  });

type Trying = {
  readonly core: Core;
  readonly connection: RoomConnection;
  readonly channel: ChannelRow;
  readonly member: MemberRow;
  readonly pending: PendingRow;
  readonly unsealer: Unsealer;
};

type Event = {
  readonly header: EventHeader;
  readonly content: Content | UnknownContent;
  readonly signed: Uint8Array;
};

const keepOpened = (
  { core, connection, channel, member, pending, unsealer }: Trying,
  { header, content, signed }: Event,
): void => {
  const mayWrite = rankOf(pending.role as Role) >= rankOf(CONTENT_RULES[content.kind]);
  const fits = mayWrite && header.epoch === pending.keyEpoch;
  commit(core, (changes) => {
    unsealer.keep();
    const deviceId = idBytes(header.device);
    const counted = Math.abs(getChannelDevice(core.db, channel.id, deviceId)?.n ?? 0);
    const last = header.n > counted ? { n: header.n, seq: pending.seq } : { n: counted };
    patchChannelDevice(core.db, channel.id, deviceId, last);
    removePending(core.db, channel.id, pending.seq);
    const scene = { core, server: connection.row, channel, state: stateOfJson(channel.membership), changes };
    const { seq, at, body } = pending;
    const id = idOf<EventId>(pending.eventId);
    const applied = fits
      ? applySaid(scene, { seq, at, id, body, content }, member)
      : { kind: 'refused', value: 'role', messageRow: null };
    const kept = signedKept(core, channel, applied, { content, signed });
    setRoomEvent(core.db, channel.id, { seq, ...applied, signed: kept });
    if (applied.messageRow === null || 'target' in content) return;
    for (const row of listUnfound(core.db, channel.id, seq, id)) applyLate(scene, row);
  });
};
