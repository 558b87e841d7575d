// Writes an event of a channel that was opened: its place, and by the rules of the channel what follows from it.
import { type ChannelState, type ControlEvent, judgeContent } from '../crypto/channel-state.ts';
import { replay } from '../crypto/membership.ts';
import type { EventHeader } from '../crypto/room-event.ts';
import { distributionIdOf, readDistributionId } from '../crypto/sender-key.ts';
import { isEqual } from '../protocol/bytes.ts';
import { RESTORED_NOTE } from '../protocol/channel-note.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { PENDING_OF_MEMBER_MAX } from '../protocol/limits.ts';
import type { Control } from '../protocol/room-content.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import {
  type ChannelRow,
  forgetOurKey,
  getChannelDevice,
  patchChannel,
  patchChannelDevice,
} from '../store/channels.ts';
import { getMemberById, type MemberRow } from '../store/members.ts';
import { getMessage, getMessageById, type MessageRow, patchMessage } from '../store/messages.ts';
import { dropPending, eventIdAt, forgetSignedAbout, putPending, putRoomEvent, RESTORED } from '../store/room-events.ts';
import { forgetUnanswered, removeRoomOutbox } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import { eraseMessage } from './amend.ts';
import { controlToJson } from './channel-json.ts';
import { type Changes, type Core, refuse } from './core.ts';
import { applyContent, applyErasure } from './room-apply.ts';
import { doubtEvent, lookBack } from './room-doubts.ts';
import { afterControl } from './room-members.ts';
import { hashOfBody, type Opened, ownIn } from './room-open.ts';
import { enqueueRoom, hasRoom, isEmptyWord } from './room-outbox.ts';
import { keysSince } from './room-rows.ts';
import { conversationOfChannel, type RoomScene } from './room-scene.ts';
import { ownCommitted, roomGiveUp } from './room-settled.ts';
import { signedKept } from './room-share.ts';

/** A channel while a batch is taken: the row as it was, and what it is after the events so far. */
export type Taking = {
  readonly core: Core;
  readonly changes: Changes;
  readonly server: ServerRow;
  readonly row: ChannelRow;
  state: ChannelState | undefined;
};

/** One event on its way into the store. */
type Kept = {
  readonly event: LogEvent;
  /** As whose it is shown. */
  readonly member: MemberRow | undefined;
  /** Writes its place: as what it counts, and which message it is about. */
  readonly keep: (kind: string, value?: string, messageRow?: number | null) => void;
};

/** Keeps the next event of a channel. Inside the transaction of `receiveRoom`. */
export const keepEvent = (taking: Taking, event: LogEvent, opened: Opened): void => {
  const kept = keptOf(taking, event, opened);
  const { keep } = kept;
  if (opened.kind !== 'mine' && hasEnded(taking, event, opened)) return keep('erased');
  switch (opened.kind) {
    case 'erased':
      return keepErased(taking, kept);
    case 'notice':
      return keep('notice', isEqual(event.body, RESTORED_NOTE) ? RESTORED : '');
    case 'closed':
      return keepClosed(taking, kept, opened);
    case 'control':
      return keepNext(taking, kept, opened.event);
    case 'mine':
    case 'content':
      return keepContent(taking, kept, opened);
  }
};

/**
 * Keeps a control event of a part of a channel whose other events are not held: what the channel was is known then, and what was
 * deleted goes. The counts of devices stay: what is said there may come yet. Inside a transaction.
 */
export const keepMissed = (taking: Taking, event: LogEvent, control: ControlEvent): void => {
  keepControl(taking, keptOf(taking, event, { kind: 'control', event: control }), control);
  // What was sealed before it is stale.
  forgetUnanswered(taking.core.db, taking.row.id);
};

const keptOf = ({ core, server, row }: Taking, event: LogEvent, opened: Opened): Kept => {
  const member = getMemberById(core.db, server.id, idBytes(event.member));
  const keep: Kept['keep'] = (kind, value = '', messageRow = null) =>
    putRoomEvent(core.db, row.id, {
      seq: event.seq,
      eventId: idBytes(event.id),
      memberRow: member?.id ?? null,
      at: event.at,
      hash: hashOfBody(event),
      kind,
      value,
      messageRow,
      signed: 'content' in opened ? signedKept(core, row, { kind, messageRow }, opened) : null,
    });
  return { event, member, keep };
};

// What was on its way when it ended here: its count is used, and nothing of it is shown.
const hasEnded = (taking: Taking, event: LogEvent, opened: Opened): boolean => {
  const { core, server, row } = taking;
  const waiting = ownIn(core, server, row, event);
  if (waiting === undefined || !isEmptyWord(waiting)) return false;
  removeRoomOutbox(core.db, waiting.id);
  countOwn(taking, event, Math.abs(waiting.n));
  const isEmpty = opened.kind === 'content' && 'target' in opened.content && opened.content.target === event.id;
  if (opened.kind !== 'erased' && !isEmpty) eraseCancelled(taking, event);
  return true;
};

// What its author has taken back, and is told so, nobody keeps.
const eraseCancelled = ({ core, changes, server, row }: Taking, { id }: LogEvent): void => {
  const message = getMessageById(core.db, conversationOfChannel(core, row).id, idBytes(id));
  if (message?.reason !== 'cancelled' || !hasRoom(core, server.id)) return;
  enqueueRoom(core, changes, { serverId: server.id, channelRow: row.id }, { op: 'erase', target: id as EventId });
};

// What waits here still under its id had been taken, and was erased before this store knew of it: it is not said again, and its
// count is used.
const keepErased = (taking: Taking, { event, keep }: Kept): void => {
  const { core, changes, server, row } = taking;
  const waiting = ownIn(core, server, row, event);
  if (waiting === undefined) return keep('erased');
  countOwn(taking, event, Math.abs(waiting.n));
  ownCommitted(sceneOf(taking), waiting);
  const message = waiting.messageRow === null ? undefined : getMessage(core.db, waiting.messageRow);
  keep('erased', '', message?.id ?? null);
  if (message === undefined || message.deletedAt !== null) return;
  patchMessage(core.db, message.id, { state: 'sent', seq: event.seq });
  eraseMessage({ core, changes, tell: (said) => changes.event(said) }, message);
};

const keepClosed = (taking: Taking, kept: Kept, { why, waits }: Extract<Opened, { kind: 'closed' }>): void => {
  const { core, changes, row } = taking;
  const { event, keep } = kept;
  // What was here before a restore of the account is here still.
  const held = getMessageById(core.db, conversationOfChannel(core, row).id, idBytes(event.id));
  if (held !== undefined && isHeldHere(taking, held)) {
    keep('closed', 'repeated');
    return doubtEvent(core, changes, row, event, 'repeated');
  }
  if (held !== undefined && held.state !== 'queued') {
    patchMessage(core.db, held.id, { seq: event.seq });
    return keep('held', '', held.id);
  }
  keep('closed', why);
  if (isOwnSealed(taking, event)) return keepOwnSealed(taking, event, why);
  const isOfBefore = why === 'frame.undecryptable' && event.at < (keysSince(core.db, row) ?? 0);
  if ((waits || isOfBefore) && kept.member !== undefined) return letWait(taking, event, kept.member);
  return doubtEvent(core, changes, row, event, why);
};

// What is held at its place in this very log is shown again; what comes from before a restore is not.
const isHeldHere = ({ core, row }: Taking, held: MessageRow): boolean => {
  const at = held.seq === null ? undefined : eventIdAt(core.db, row.id, held.seq);
  return at !== undefined && isEqual(at, held.messageId);
};

// What this device has sealed for others it cannot open. Here, what it said has ended meanwhile, or was lost when its store was
// put back.
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

// An event of this device whose count cannot be read counts as the next, unless it is known.
const countOwn = ({ core, server, row }: Taking, event: LogEvent, known = 0): void => {
  const counted = Math.abs(getChannelDevice(core.db, row.id, server.deviceId)?.n ?? 0);
  const n = known === 0 ? counted + 1 : Math.max(counted, known);
  patchChannelDevice(core.db, row.id, server.deviceId, { n, seq: event.seq });
  patchChannel(core.db, row.id, { sent: Math.max(row.sent, n) });
};

const keepOwnSealed = (taking: Taking, event: LogEvent, why: string): void => {
  const { core, changes, server, row } = taking;
  countOwn(taking, event);
  forgetUsedKey(core, row);
  if (core.rooms.get(server.id)?.visit.isPutBack === true) doubtEvent(core, changes, row, event, why);
};

// A key may still come. Who may not write here waits for nothing; who may is judged by what they were when they wrote.
const letWait = ({ core, changes, row, state }: Taking, event: LogEvent, member: MemberRow): void => {
  const author = state?.members.get(event.member as MemberId);
  if (state === undefined || author === undefined || state.archived || event.at < (author.mutedUntil ?? 0)) return;
  putPending(core.db, row.id, {
    seq: event.seq,
    eventId: idBytes(event.id),
    memberRow: member.id,
    at: event.at,
    keyEpoch: state.epoch,
    role: author.role,
    body: event.body,
  });
  // Each key that a device gives is tried on all that waits of its member.
  if (row.encryption !== 'members') return;
  const since = keysSince(core.db, row) ?? 0;
  for (const { seq, at } of dropPending(core.db, row.id, member.id, PENDING_OF_MEMBER_MAX))
    doubtEvent(core, changes, row, { seq, member: event.member }, at < since ? 'before' : 'frame.undecryptable');
};

const keepNext = (taking: Taking, kept: Kept, opened: ControlEvent): void => {
  const { core, changes, server, row, state: before } = taking;
  if (!keepControl(taking, kept, opened)) return;
  count(taking, kept.event, opened.header);
  if (opened.control.op === 'erase') return;
  afterControl(core, changes, { server, row, before, after: taking.state, ...opened });
};

// False when it is refused.
const keepControl = (taking: Taking, { event, keep }: Kept, opened: ControlEvent): boolean => {
  const { core, changes, row, state: before } = taking;
  const { header, control } = opened;
  const { state: after, outcomes } = replay(before, [opened]);
  const [outcome] = outcomes;
  if (outcome?.kind === 'refused') {
    keep('refused', outcome.why);
    refuse(core, 'event.refused');
    doubtEvent(core, changes, row, event, outcome.why);
    return false;
  }
  taking.state = after;
  if (control.op === 'erase') keepErasure(taking, { event, keep }, header.sender, control);
  else keep(control.op, controlToJson(control, before, after));
  return true;
};

const keepErasure = (
  taking: Taking,
  { event, keep }: Pick<Kept, 'event' | 'keep'>,
  by: MemberId,
  { target, edits }: Extract<Control, { op: 'erase' }>,
): void => {
  const { core, changes, server, row, state } = taking;
  const scene = sceneOf(taking);
  const waiting = ownIn(core, server, row, event);
  if (waiting !== undefined) ownCommitted(scene, waiting);
  const erase = (target: string): number | undefined => {
    const erased = applyErasure(scene, target, { by, state });
    if (erased === undefined) forgetSignedAbout(core.db, row.id, target);
    changes.erased = true;
    return erased;
  };
  for (const edit of edits ?? []) erase(edit);
  keep('erase', '', erase(target) ?? null);
};

const keepContent = (
  taking: Taking,
  { event, member, keep }: Kept,
  opened: Extract<Opened, { kind: 'mine' | 'content' }>,
): void => {
  const { core, changes, server, row, state } = taking;
  const { header, content } = opened;
  if (member === undefined) throw new Error('what was verified has a member');
  if (state === undefined) return keep('refused', 'notCreated');
  const why = repeated(taking, header) ?? judgeContent(state, { header, kind: content.kind, at: event.at });
  if (why !== undefined) {
    keep('refused', why);
    refuse(core, 'event.refused');
    return doubtEvent(core, changes, row, event, why);
  }
  // Of what is sealed here only its place is new.
  if (opened.kind === 'content') lookBack(core, changes, row, state, event, header);
  count(taking, event, header);
  const scene = sceneOf(taking);
  if (opened.kind === 'mine') ownCommitted(scene, opened.outbox);
  else saidBefore(scene, event, opened);
  const applied = applyContent(scene, {
    event,
    member,
    content,
    isMine: isEqual(member.memberId, server.memberId),
    isAnswer: opened.kind === 'mine',
  });
  keep(applied.kind, applied.value, applied.messageRow);
};

// What comes as ours and was not sealed here, as we are: by another device of mine, or by this one before its store was put back.
const saidBefore = (
  scene: RoomScene,
  event: LogEvent,
  { header, content }: Pick<Extract<Opened, { kind: 'content' }>, 'header' | 'content'>,
): void => {
  const { core, changes, server, channel } = scene;
  if (isEqual(server.deviceId, idBytes(header.device))) forgetUsedKey(core, channel);
  const waiting = ownIn(core, server, channel, event);
  if (waiting === undefined) return;
  // An empty word: it was taken back before it left.
  if (content.kind === 'react' && content.target === event.id) roomGiveUp(core, changes, waiting.id, 'cancelled');
  else ownCommitted(scene, waiting);
};

// It has sealed what comes now, and would seal something else with the same key.
const forgetUsedKey = ({ db }: Core, { id, senderKey }: ChannelRow): void => {
  if (senderKey === null) return;
  forgetOurKey(db, id);
  patchChannel(db, id, { senderKey: null });
};

const sceneOf = ({ core, server, row, state, changes }: Taking): RoomScene => ({
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

const count = ({ core, row, server }: Taking, { seq }: LogEvent, header: EventHeader): void => {
  patchChannelDevice(core.db, row.id, idBytes(header.device), { n: header.n, seq });
  if (isEqual(server.deviceId, idBytes(header.device)))
    patchChannel(core.db, row.id, { sent: Math.max(row.sent, header.n) });
};
