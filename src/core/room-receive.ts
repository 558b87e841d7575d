// Takes events of a channel: place and chain → open → verify → rules → rows, in one transaction; the cursor moves with them.

import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { judgeContent } from '../crypto/channel-state.ts';
import { replay } from '../crypto/membership.ts';
import { sha256 } from '../crypto/primitives.ts';
import { type EventHeader, headOf, ZERO_HASH } from '../crypto/room-event.ts';
import { distributionIdOf, readDistributionId } from '../crypto/sender-key.ts';
import { isEqual } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import type { Content, Control, UnknownContent, UnknownControl } from '../protocol/room-content.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import {
  type ChannelRow,
  getChannel,
  getChannelById,
  getChannelDevice,
  patchChannel,
  patchChannelDevice,
} from '../store/channels.ts';
import { getMemberById, type MemberRow } from '../store/members.ts';
import { getMessageById, type MessageRow, patchMessage } from '../store/messages.ts';
import { eventIdAt, forgetSignedAbout, type PendingRow, putPending, putRoomEvent } from '../store/room-events.ts';
import {
  getRoomOutboxByEvent,
  listRoomOutboxPlaced,
  type RoomOutboxRow,
  removeRoomOutbox,
} from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import { controlToJson, stateOfJson, stateToJson } from './channel-json.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import { applyContent, applyErasure, conversationOfChannel, type RoomScene } from './room-apply.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubt, doubtEvent, isElsewhere, lookBack } from './room-doubts.ts';
import { afterControl } from './room-members.ts';
import { hashOfBody, openContent, openControl } from './room-open.ts';
import { knowSenders } from './room-people.ts';
import { ownCommitted, ownLost } from './room-send.ts';
import { shownLater } from './room-share.ts';
import { Unsealer } from './room-unseal.ts';

/** A channel while a batch is taken: the row as it will be, and the replayed state. */
type Taking = {
  readonly core: Core;
  readonly server: ServerRow;
  readonly row: ChannelRow;
  state: ChannelState | undefined;
  lastSeq: number;
  lastId: Uint8Array<ArrayBuffer> | null;
  readonly unsealer: Unsealer;
  readonly learned: ReadonlySet<string>;
};

type Opened =
  | {
      readonly kind: 'content';
      readonly header: EventHeader;
      readonly content: Content | UnknownContent;
      readonly signed: Uint8Array;
    }
  | { readonly kind: 'control'; readonly header: EventHeader; readonly control: Control | UnknownControl }
  /** It was sealed here: what it says is in the outbox. */
  | {
      readonly kind: 'mine';
      readonly header: EventHeader;
      readonly content: Content;
      readonly outbox: RoomOutboxRow;
      readonly signed: Uint8Array | null;
    }
  | { readonly kind: 'erased' }
  | { readonly kind: 'notice' }
  | { readonly kind: 'closed'; readonly why: string };

/**
 * How far a batch was taken: to its end, to an event of channel row `missing` whose place is not the next, so that what lies
 * between must be fetched first, or to one for which a member, `stranger`, is to be asked for: nobody here knows them, or the
 * device that it is of.
 */
export type Took = { readonly missing?: number; readonly stranger?: string };

/**
 * Handles events of one channel in order; what is held already changes nothing. `learned` are members whose devices were just
 * asked for: what they did not sign is forged. Runs in the queue.
 */
export const receiveRoom = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
  learned: ReadonlySet<string>,
): Promise<Took> => {
  const [first] = events;
  if (first === undefined) return {};
  const row = getChannelById(core.db, connection.serverId, idBytes(first.channel));
  if (row === undefined || (row.lastSeq === 0 && row.firstSeq === 0)) return {};
  const taking: Taking = {
    core,
    server: connection.row,
    row,
    state: stateOfJson(row.membership),
    lastSeq: row.lastSeq,
    lastId: row.lastId,
    unsealer: new Unsealer(core, row),
    learned,
  };
  const opened: { readonly event: LogEvent; readonly opened: Opened }[] = [];
  const elsewhere = events.find((event) => event.seq <= row.lastSeq && isElsewhere(core, row, event));
  let stop: Took = {};
  let next = row.lastSeq + 1;
  for (const event of events) {
    if (event.seq < next) continue;
    if (event.seq > next || event.epoch !== row.epoch) {
      stop = { missing: row.id };
      break;
    }
    const one = await open(taking, event);
    if (one.kind === 'stranger') {
      stop = { stranger: event.member };
      break;
    }
    next++;
    opened.push({ event, opened: one });
    // Who may do what in the events behind depends on this one.
    if (one.kind === 'control') previewControl(taking, event, one);
  }
  if (opened.length === 0 && elsewhere === undefined) return stop;
  const before = stateOfJson(row.membership);
  taking.state = before;
  commit(core, (changes) => {
    if (elsewhere !== undefined)
      doubt(core, changes, row.id, {
        fromSeq: elsewhere.seq,
        toSeq: row.lastSeq,
        reason: 'the server shows something else where it has shown us this',
      });
    for (const one of opened) store(taking, changes, one.event, one.opened);
    taking.unsealer.keep();
    patchChannel(core.db, row.id, {
      lastSeq: taking.lastSeq,
      lastId: taking.lastId,
      ...(taking.state === undefined || taking.state === before ? {} : { membership: stateToJson(taking.state) }),
    });
    lookForOurs(taking, changes);
  });
  return stop;
};

/**
 * Takes control events from before what this account may read: only who is in the channel, and how, follows from them. With
 * `isFresh` what was replayed before is forgotten.
 */
export const replayControls = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  events: readonly LogEvent[],
  isFresh = false,
): Promise<void> => {
  await knowSenders(core, connection, events);
  await core.queue.call(() => {
    const row = getChannel(core.db, channelRow);
    if (row === undefined || events.length === 0) return;
    let state = isFresh ? undefined : stateOfJson(row.membership);
    for (const event of events) {
      if (state !== undefined && event.seq <= state.seq) continue;
      const control = openControl(core, connection.row, row, state, event);
      state = replay(state, [control]).state ?? state;
    }
    commit(core, () =>
      patchChannel(core.db, channelRow, { membership: state === undefined ? '' : stateToJson(state) }),
    );
  });
};

/** The hash and content of what a server shows as the creation of a channel. Throws ProtocolError `event.*`. */
export const creationIn = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
): Promise<{ readonly hash: Uint8Array<ArrayBuffer>; readonly control: Control | UnknownControl }> => {
  await knowSenders(core, connection, [event]);
  const hash = sha256(event.body);
  const { control } = openControl(core, connection.row, { hash }, undefined, event);
  return { hash, control };
};

const open = async (taking: Taking, event: LogEvent): Promise<Opened | { readonly kind: 'stranger' }> => {
  const { core, server, row, state } = taking;
  if (event.erased) return { kind: 'erased' };
  if (event.kind === EVENT.notice) return { kind: 'notice' };
  try {
    if (event.kind === EVENT.control) {
      const { header, control } = openControl(core, server, row, state, event);
      return { kind: 'control', header, control };
    }
    if (event.kind !== EVENT.content) return { kind: 'closed', why: 'kind' };
    const outbox = getRoomOutboxByEvent(core.db, server.id, idBytes(event.id));
    if (outbox?.sealed != null && isEqual(outbox.sealed, event.body)) {
      const content = JSON.parse(Buffer.from(outbox.content).toString()) as Content;
      return { kind: 'mine', header: ownHeader(taking, event, outbox), content, outbox, signed: outbox.signed };
    }
    const said = { id: event.id as EventId, sender: event.member as MemberId };
    const memberRow = getMemberById(core.db, server.id, idBytes(event.member))?.id;
    const keyEpoch = state?.epoch ?? 0;
    const signed = await taking.unsealer.open({ ...said, memberRow, keyEpoch, body: event.body });
    const { header, content } = openContent(core, server, row, { ...said, signed });
    return { kind: 'content', header, content, signed };
  } catch (error) {
    if (!(error instanceof SottoError)) throw error;
    if (error.details.why === 'device' && !taking.learned.has(event.member)) return { kind: 'stranger' };
    refuse(core, error.code);
    return { kind: 'closed', why: error.code };
  }
};

// What we sealed ourselves we cannot always open: its place is all that is new.
const ownHeader = (taking: Taking, event: LogEvent, outbox: RoomOutboxRow): EventHeader => ({
  epoch: taking.state?.epoch ?? 0,
  id: event.id as EventId,
  sender: event.member as MemberId,
  device: idOf(taking.server.deviceId),
  n: Math.abs(outbox.n),
  seenSeq: 0,
  seenHash: ZERO_HASH.slice(0, 16),
  membersHead: headOf(taking.state?.head ?? ZERO_HASH),
  kind: EVENT.content,
});

const previewControl = (taking: Taking, event: LogEvent, { header, control }: Extract<Opened, { kind: 'control' }>) => {
  taking.state = replay(taking.state, [{ seq: event.seq, header, control, bodyHash: sha256(event.body) }]).state;
};

const store = (taking: Taking, changes: Changes, event: LogEvent, opened: Opened): void => {
  const { core, row } = taking;
  const eventId = idBytes(event.id);
  const bodyHash = hashOfBody(event);
  taking.lastSeq = event.seq;
  taking.lastId = eventId;
  const member = getMemberById(core.db, taking.server.id, idBytes(event.member));
  const place = {
    seq: event.seq,
    eventId,
    memberRow: member?.id ?? null,
    at: event.at,
    hash: bodyHash,
  };
  const keep = (kind: string, value = '', messageRow: number | null = null): void =>
    putRoomEvent(core.db, row.id, {
      ...place,
      kind,
      value,
      messageRow,
      signed: 'content' in opened ? shownLater(core, row, { kind, messageRow }, opened) : null,
    });
  switch (opened.kind) {
    case 'erased':
      return keep('erased');
    case 'notice':
      return keep('notice');
    case 'closed': {
      // What was here before a restore of the account is here still.
      const held = getMessageById(core.db, conversationOfChannel(core, row).id, eventId);
      if (isHeldHere(taking, held)) {
        keep('closed', 'repeated');
        return doubtEvent(core, changes, row, event, 'repeated');
      }
      if (held !== undefined && held.state !== 'queued') {
        patchMessage(core.db, held.id, { seq: event.seq });
        return keep('held', '', held.id);
      }
      keep('closed', opened.why);
      if (isOwnSealed(taking, event)) return countOwn(taking);
      if (opened.why === 'frame.undecryptable' && member !== undefined)
        return storePending(taking, event, { ...place, memberRow: member.id });
      return doubtEvent(core, changes, row, event, opened.why);
    }
    case 'control':
      return storeControl(taking, changes, event, opened, keep);
    case 'mine':
    case 'content':
      if (member === undefined) throw new Error('what was verified has a member');
      return storeContent(taking, changes, { event, opened, member, keep });
  }
};

// What is held at its place in this very log is shown again; what comes from before a restore is not.
const isHeldHere = ({ core, row }: Taking, held: MessageRow | undefined): boolean => {
  const at = held?.seq == null ? undefined : eventIdAt(core.db, row.id, held.seq);
  return at !== undefined && held !== undefined && isEqual(at, held.messageId);
};

/** What the server said it had stored of ours, and now shows something else in its place. */
const lookForOurs = ({ core, row, lastSeq }: Taking, changes: Changes): void => {
  for (const outbox of listRoomOutboxPlaced(core.db, row.id, lastSeq)) {
    const shown = eventIdAt(core.db, row.id, outbox.seq ?? 0);
    if (shown !== undefined && isEqual(shown, outbox.eventId)) removeRoomOutbox(core.db, outbox.id);
    else ownLost(core, changes, row, outbox);
  }
};

// What this device has sealed for others it cannot open. Here, what it said has ended meanwhile.
const isOwnSealed = ({ server, row, state }: Taking, event: LogEvent): boolean => {
  if (row.encryption !== 'members' || event.kind !== EVENT.content || event.member !== idOf(server.memberId))
    return false;
  const place = { channel: idOf<ChannelId>(row.channelId), device: idOf<DeviceId>(server.deviceId) };
  try {
    return readDistributionId(event.body) === distributionIdOf({ ...place, epoch: state?.epoch ?? 0 });
  } catch (error) {
    if (!(error instanceof SottoError)) throw error;
    return false;
  }
};

const countOwn = ({ core, server, row }: Taking): void => {
  const n = Math.abs(getChannelDevice(core.db, row.id, server.deviceId)?.n ?? 0) + 1;
  patchChannelDevice(core.db, row.id, server.deviceId, { n });
};

// A key may still come. Who may not write here waits for nothing; who may is judged by what they were when they wrote.
const storePending = (
  { core, row, state }: Taking,
  event: LogEvent,
  place: Omit<PendingRow, 'keyEpoch' | 'role' | 'body'>,
): void => {
  const author = state?.members.get(event.member as MemberId);
  if (state === undefined || author === undefined || state.archived || event.at < (author.mutedUntil ?? 0)) return;
  putPending(core.db, row.id, { ...place, keyEpoch: state.epoch, role: author.role, body: event.body });
};

type Keep = (kind: string, value?: string, messageRow?: number | null) => void;

const storeControl = (
  taking: Taking,
  changes: Changes,
  event: LogEvent,
  { header, control }: Extract<Opened, { kind: 'control' }>,
  keep: Keep,
): void => {
  const before = taking.state;
  // What was replayed when we met the channel is in the list already.
  if (before !== undefined && event.seq <= before.seq) {
    count(taking, header);
    return keep(control.op, controlToJson(control, before, before));
  }
  const control1: ControlEvent = { seq: event.seq, header, control, bodyHash: sha256(event.body) };
  const { state, outcomes } = replay(before, [control1]);
  const [outcome] = outcomes;
  if (outcome?.kind === 'refused') {
    keep('refused', outcome.why);
    refuse(taking.core, 'event.refused');
    return doubtEvent(taking.core, changes, taking.row, event, outcome.why);
  }
  taking.state = state;
  count(taking, header);
  if (control.op === 'erase') {
    const scene = sceneOf(taking, changes);
    const erased = applyErasure(scene, control.target, { by: header.sender, state });
    if (erased === undefined) forgetSignedAbout(taking.core.db, taking.row.id, control.target);
    return keep('erase', '', erased ?? null);
  }
  keep(control.op, controlToJson(control, before, state));
  afterControl(taking.core, changes, { server: taking.server, row: taking.row, before, after: state, header, control });
};

const storeContent = (
  taking: Taking,
  changes: Changes,
  {
    event,
    opened,
    member,
    keep,
  }: {
    readonly event: LogEvent;
    readonly opened: Extract<Opened, { kind: 'mine' | 'content' }>;
    readonly member: MemberRow;
    readonly keep: Keep;
  },
): void => {
  const { core, state } = taking;
  const { header, content } = opened;
  if (state === undefined) return keep('refused', 'notCreated');
  const why = repeated(taking, header) ?? judgeContent(state, { header, kind: content.kind, at: event.at });
  if (why !== undefined) {
    keep('refused', why);
    refuse(core, 'event.refused');
    return doubtEvent(core, changes, taking.row, event, why);
  }
  // Of what is sealed here only its place is new.
  if (opened.kind === 'content') lookBack(core, changes, taking.row, state, event, header);
  count(taking, header);
  const scene = sceneOf(taking, changes);
  if (opened.kind === 'mine') ownCommitted(scene, opened.outbox);
  const applied = applyContent(scene, {
    event,
    member,
    content,
    isMine: isEqual(member.memberId, taking.server.memberId),
    isAnswer: opened.kind === 'mine',
  });
  keep(applied.kind, applied.value, applied.messageRow);
};

const sceneOf = ({ core, server, row, state }: Taking, changes: Changes): RoomScene => ({
  core,
  server,
  channel: row,
  state,
  changes,
});

const repeated = ({ core, row }: Taking, header: EventHeader): string | undefined => {
  const known = getChannelDevice(core.db, row.id, idBytes(header.device));
  return known !== undefined && header.n <= Math.abs(known.n) ? 'repeated' : undefined;
};

const count = ({ core, row, server }: Taking, header: EventHeader): void => {
  patchChannelDevice(core.db, row.id, idBytes(header.device), { n: header.n });
  if (isEqual(server.deviceId, idBytes(header.device)))
    patchChannel(core.db, row.id, { sent: Math.max(row.sent, header.n) });
};
