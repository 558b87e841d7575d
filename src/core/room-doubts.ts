// What a server shows that cannot be so, and what it leaves out: kept as gaps of the channel and told by name, never passed over.
import type { ChannelState } from '../crypto/channel-state.ts';
import { type EventHeader, firstSeen, historyHash, type Seen } from '../crypto/room-event.ts';
import { isEqual, toHex } from '../protocol/bytes.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import type { Control } from '../protocol/room-content.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { type ChannelRow, type GapRow, getChannelDevice, putGap } from '../store/channels.ts';
import { getMemberById } from '../store/members.ts';
import { countUncounted, eventIdAt, isRestoredBetween, listHashes } from '../store/room-events.ts';
import { getServer } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';
import { memberName } from './room-names.ts';

/** Keeps that something is missing or wrong in a channel, and tells it when that is new. */
export const doubt = (core: Core, changes: Changes, channelRow: number, gap: GapRow): void => {
  if (putGap(core.db, channelRow, gap)) changes.event({ kind: 'channel.gap', channelRow, detail: gap.reason });
};

/** The same about one event: why it does not count, by the name of whom it is shown as. */
export const doubtEvent = (
  core: Core,
  changes: Changes,
  row: ChannelRow,
  event: Pick<LogEvent, 'seq' | 'member'>,
  why: string,
): void => {
  const name = memberName(core.db, getMemberById(core.db, row.serverId, idBytes(event.member))?.id ?? null);
  doubt(core, changes, row.id, { fromSeq: event.seq, toSeq: event.seq, reason: reasonOf(name, why) });
};

const reasonOf = (name: string, why: string): string => {
  switch (why) {
    case 'event.forged':
      return `what the server shows as ${name}’s is not signed by ${name}`;
    case 'event.invalid':
      return `what the server shows as ${name}’s was signed as something else`;
    case 'repeated':
      return `the server shows something of ${name}’s again, or out of its order`;
    case 'notMember':
    case 'banned':
      return `the server shows something by ${name}, who is not in the channel`;
    case 'notInvited':
      return `the server shows that ${name} has joined, who was not invited: ${name} is not let in`;
    case 'epoch':
    case 'stale':
      return `the server shows something of ${name}’s at another time than it was said`;
    case 'muted':
    case 'role':
    case 'target':
    case 'alreadyMember':
      return `${name} may not do what the server shows of ${name}`;
    case 'archived':
      return `the server shows something by ${name} in an archived channel`;
    case 'before':
      return `what ${name} said is of before this device came: others of yours may show it`;
    case 'frame.undecryptable':
      return `no key that came here opens what the server shows as ${name}’s`;
    default:
      return `what the server shows as ${name}’s cannot be read (${why})`;
  }
};

/** Where somebody begins to read a channel: at its creation, or at what let them in. */
const readsFrom = ({ history, members }: ChannelState, member: MemberId): number =>
  history === 'all' ? 1 : (members.get(member)?.joinedSeq ?? Number.MAX_SAFE_INTEGER);

/**
 * What somebody who is in a channel has seen up to a seq, in two halves: since they may read, and since anybody was last let
 * in, which whoever is here can compare. A half is undefined where we do not hold all of it.
 */
const seenUpTo = (core: Core, channelRow: number, state: ChannelState, member: MemberId, to: number) =>
  seenIn(listHashes(core.db, channelRow, { from: firstSeen(1, to), to }), state, member, to).map(({ hash }) => hash);

/** The same of events that are given: each half with where it begins. `kind` is the operation of a control. */
export const seenIn = (
  held: readonly (Seen & { readonly kind: string })[],
  state: ChannelState,
  member: MemberId,
  to: number,
) => {
  const half = (from: number) => ({
    from: firstSeen(from, to),
    hash: historyHash(held, { from, to })?.slice(0, SEEN_HALF_BYTES),
  });
  return [half(readsFrom(state, member)), half(held.findLast(({ kind }) => ENTRIES.has(kind))?.seq ?? 1)] as const;
};
const SEEN_HALF_BYTES = 8;
const ENTRIES: ReadonlySet<string> = new Set(['create', 'join', 'add'] satisfies Control['op'][]);

/** What an event of ours says that we have seen. */
export const ourView = (
  core: Core,
  row: ChannelRow,
  state: ChannelState,
  me: MemberId,
): Pick<EventHeader, 'seenSeq' | 'seenHash'> => {
  const halves = seenUpTo(core, row.id, state, me, row.lastSeq);
  const seenHash = Buffer.concat(halves.map((half) => half ?? new Uint8Array(SEEN_HALF_BYTES)));
  return { seenSeq: halves.some((half) => half !== undefined) ? row.lastSeq : 0, seenHash: new Uint8Array(seenHash) };
};

/** What a content says about those before it: a count that jumps, a change we were not shown, and another history are told. */
export const lookBack = (
  core: Core,
  changes: Changes,
  row: ChannelRow,
  state: ChannelState,
  event: LogEvent,
  header: EventHeader,
): void => {
  const member = getMemberById(core.db, row.serverId, idBytes(header.sender));
  const name = memberName(core.db, member?.id ?? null);
  const here = { fromSeq: event.seq, toSeq: event.seq };
  const { n: known = 0, seq = 0 } = getChannelDevice(core.db, row.id, idBytes(header.device)) ?? {};
  // What was erased, did not open or was not shown has a count that nobody sees; mostly none is left out.
  const between = { after: Math.max(seq, row.firstSeq - 1), before: event.seq };
  const unseen = () => (member === undefined ? 0 : countUncounted(core.db, row.id, member.id, between));
  const skipped = known > 0 ? header.n - known - 1 : 0;
  if (skipped > 0 && skipped > unseen() && !wasAway(core, row, state, seq))
    doubt(core, changes, row.id, { ...here, reason: leftOut(core, row, name, { from: seq, to: event.seq }) });
  if (!state.heads.includes(toHex(header.membersHead)))
    doubt(core, changes, row.id, {
      ...here,
      reason: `${name} knows of a change in the channel that the server has not shown`,
    });
  if (header.seenSeq === 0) return;
  const differs = seenUpTo(core, row.id, state, header.sender, header.seenSeq).some(
    (ours, i) => compareSeen(header, ours, i) === 'differs',
  );
  if (header.seenSeq < event.seq && !differs) return;
  doubt(core, changes, row.id, { ...here, reason: `the server has shown ${name} another history` });
};

// After it was put back devices go on counting from what they had said to it before.
const leftOut = (
  core: Core,
  { id }: ChannelRow,
  name: string,
  { from, to }: { readonly from: number; readonly to: number },
) =>
  isRestoredBetween(core.db, id, from, to)
    ? `the server says that it was put back to an earlier state: something of ${name}’s may be missing`
    : `the server left out something of ${name}’s`;

/** Whether a half of what an author has seen is `ours`; undefined where one of the two does not know. */
export const compareSeen = (
  { seenHash }: EventHeader,
  ours: Uint8Array | undefined,
  half: number,
): 'same' | 'differs' | undefined => {
  const theirs = seenHash.subarray(half * SEEN_HALF_BYTES, (half + 1) * SEEN_HALF_BYTES);
  if (ours === undefined || theirs.every((byte) => byte === 0)) return undefined;
  return isEqual(ours, theirs) ? 'same' : 'differs';
};

// What a device said between two stays of ours we were not to see, where newcomers read from their join on: others may have shown it.
const wasAway = (core: Core, row: ChannelRow, { history, members }: ChannelState, seq: number): boolean => {
  const me = getServer(core.db, row.serverId)?.memberId;
  if (history === 'all' || me === undefined) return false;
  return seq < (members.get(idOf(me))?.joinedSeq ?? 0);
};

/** Whether the server shows another event at a place that we hold already. */
export const isElsewhere = (core: Core, row: ChannelRow, event: LogEvent): boolean => {
  const held = event.epoch === row.epoch ? eventIdAt(core.db, row.id, event.seq) : undefined;
  return held !== undefined && !isEqual(held, idBytes(event.id));
};
