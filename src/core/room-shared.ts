// Takes what another member has shown of a channel's past and what has come whole: has it proven, and puts what was said where it belongs.
import { type EventHeader, readEventHeader } from '../crypto/room-event.ts';
import { expectedError, type SottoError } from '../protocol/errors.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { HISTORY_SLICE_EVENTS, ROOM_LEVEL_TRIES_MAX } from '../protocol/limits.ts';
import { decodeHistory, type HistoryEntry } from '../protocol/room-history.ts';
import {
  type ChannelRow,
  getChannel,
  getChannelDevice,
  patchChannel,
  patchChannelDevice,
  putGap,
  removeGaps,
} from '../store/channels.ts';
import { getMember, getMemberById, type MemberRow } from '../store/members.ts';
import { lastMessageRow, listBehindSeq } from '../store/message-pages.ts';
import { moveToEnd } from '../store/messages.ts';
import {
  getHeld,
  type HeldRow,
  listHeld,
  listHeldBehind,
  putRoomEvent,
  setRoomEvent,
  topicAt,
} from '../store/room-events.ts';
import {
  getShare,
  listShareParts,
  listWholeShares,
  patchShare,
  removeShareParts,
  type ShareRow,
} from '../store/shares.ts';
import { controlToJson, stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import { applyErasure } from './room-apply.ts';
import type { RoomConnection } from './room-connection.ts';
import { forged, HistoryCheck, type Proven } from './room-history-check.ts';
import { applyLate, applySaid } from './room-late.ts';
import { memberName } from './room-names.ts';
import { knowSigners, type Signed } from './room-people.ts';
import { controlsOf, signedOf } from './room-replay.ts';
import { type Applied, conversationOfChannel, type RoomScene } from './room-scene.ts';
import { signedKept } from './room-share.ts';

/** Looks at what has come whole, and keeps or refuses it. Throws `server.*`: it is looked at again on the next connection. */
export const applyShares = async (core: Core, connection: RoomConnection): Promise<void> => {
  for (const share of listWholeShares(core.db, connection.serverId))
    try {
      // One more may have come meanwhile.
      for (let tries = 0; tries < ROOM_LEVEL_TRIES_MAX; tries++) if (await applyShare(core, connection, share)) break;
    } catch (error) {
      const known = expectedError(error);
      // We are there no more, and are about to hear it: others go on.
      if (known?.code.startsWith('channel.')) continue;
      if (known === undefined || !/^(event|frame)\./.test(known.code)) throw error;
      await core.queue.call(() => commit(core, (changes) => refuseShare(core, changes, share, known)));
    }
};

const refuseShare = (core: Core, changes: Changes, share: ShareRow, error: SottoError): void => {
  // Its member has begun another one meanwhile.
  if (getShare(core.db, share.id)?.state !== 'whole') return;
  refuse(core, error.code);
  core.log.warn('history.refused', { code: error.code, why: String(error.details.why ?? '') });
  patchShare(core.db, share.id, { state: 'refused', reason: 'it is not what was said: nothing of it was kept' });
  removeShareParts(core.db, share.id);
  changes.erased = true;
  changes.event({
    kind: 'channel.shareEnded',
    channelRow: share.channelRow,
    memberRow: share.memberRow,
    detail: 'refused',
  });
};

/** False when the controls that the server shows are not all of those that it has told. */
const applyShare = async (core: Core, connection: RoomConnection, share: ShareRow): Promise<boolean> => {
  const channel = getChannel(core.db, share.channelRow);
  const sharer = getMember(core.db, share.memberRow);
  if (channel === undefined || sharer === undefined) return true;
  // I am about to be in it: it is looked at then.
  if (channel.state === 'joining' || channel.state === 'invited') return true;
  const present = stateOfJson(channel.membership)?.members;
  if (channel.state !== 'joined' || present?.has(idOf<MemberId>(sharer.memberId)) !== true) throw forged('membership');
  const controls = await controlsOf(connection, channel);
  const entries = listShareParts(core.db, share.id).flatMap(decodeHistory);
  if (entries.length !== share.toSeq - share.fromSeq + 1) throw forged('places');
  await knowSigners(core, connection, [...controls.map(signedOf), ...entries.flatMap(signedIn)]);
  const own = new Set([idOf<MemberId>(sharer.memberId), idOf<MemberId>(connection.row.memberId)]);
  const check = await core.queue.call(() => new HistoryCheck(core, connection.row, { channel, share, own }, controls));
  // Others have their turn in between.
  for (let at = 0; at < entries.length; at += HISTORY_SLICE_EVENTS)
    await core.queue.call(() => {
      for (const entry of entries.slice(at, at + HISTORY_SLICE_EVENTS)) check.take(entry);
    });
  return core.queue.call(() =>
    commit(core, (changes) => {
      const now = getChannel(core.db, channel.id);
      if (now === undefined || getShare(core.db, share.id)?.state !== 'whole') return true;
      // One may have erased something of it.
      if ((stateOfJson(now.membership)?.seq ?? 0) > (controls.at(-1)?.seq ?? 0)) return false;
      keepShare({ core, changes, connection, channel: now, share, sharer }, check);
      return true;
    }),
  );
};

const signedIn = (entry: HistoryEntry): Signed[] =>
  entry.kind === 'content' ? [{ member: readEventHeader(entry.signed).sender, signed: entry.signed }] : [];

type Keeping = {
  readonly core: Core;
  readonly changes: Changes;
  readonly connection: RoomConnection;
  readonly channel: ChannelRow;
  readonly share: ShareRow;
  readonly sharer: MemberRow;
};

// All of it or nothing, in one transaction.
const keepShare = (keeping: Keeping, check: HistoryCheck): void => {
  const { core, changes, connection, channel, share, sharer } = keeping;
  const { fromSeq, toSeq } = share;
  const me = idOf<MemberId>(connection.row.memberId);
  const members = stateOfJson(channel.membership)?.members;
  const sharerId = idOf<MemberId>(sharer.memberId);
  const isForMe = members?.get(me)?.joinedSeq === toSeq + 1 && members.has(sharerId) && channel.epoch === share.epoch;
  if (channel.state !== 'joined' || !isForMe) throw forged('membership');
  // What came since says what its authors had seen before.
  for (const row of rowsBehind(core, channel, toSeq)) check.later(row);

  const lastRow = lastMessageRow(core.db);
  for (const one of check.proven) keepOne(keeping, one);
  for (const erasure of check.erasures) eraseLate(keeping, erasure);
  for (const row of rowsBehind(core, channel, toSeq)) applyLate(sceneOf(keeping), row);
  inOrder(keeping, lastRow);

  tellGaps(keeping, check);
  for (const [device, n] of check.counts) {
    const known = getChannelDevice(core.db, channel.id, idBytes(device))?.n ?? 0;
    if (known === 0) patchChannelDevice(core.db, channel.id, idBytes(device), { n });
  }
  patchChannel(core.db, channel.id, {
    firstSeq: Math.min(fromSeq, channel.firstSeq),
    topic: topicAt(core.db, channel.id, LAST_SEQ) || channel.topic,
  });
  const { by, events } = check.confirmed;
  const names = by.map((id) => memberName(core.db, getMemberById(core.db, channel.serverId, idBytes(id))?.id ?? null));
  patchShare(core.db, share.id, { state: 'done', confirmed: JSON.stringify({ by: names, events }) });
  removeShareParts(core.db, share.id);
  const said = check.proven.filter(({ kind }) => kind === 'content').length;
  changes.event({ kind: 'channel.shared', channelRow: channel.id, memberRow: sharer.id, detail: `${said} events` });
};

const LAST_SEQ = Number.MAX_SAFE_INTEGER;
const ROWS_A_LOOK = 500;

function* rowsBehind(core: Core, channel: ChannelRow, seq: number): Generator<HeldRow> {
  // By rows: a server may name places as far apart as it likes.
  for (let after = seq; ; ) {
    const rows = listHeldBehind(core.db, channel.id, after, ROWS_A_LOOK);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.seq;
  }
}

const keepOne = (keeping: Keeping, one: Proven): void => {
  const { core, channel } = keeping;
  const held = getHeld(core.db, channel.id, one.seq);
  if (held !== undefined && idOf(held.eventId) !== one.id) throw forged('place');
  // What was here from an earlier stay is here.
  if (held !== undefined && (held.kind !== 'closed' || one.kind !== 'content')) return;
  const { applied, author, signed } = apply(keeping, one);
  const row = { ...applied, seq: one.seq, signed };
  if (held !== undefined) return setRoomEvent(core.db, channel.id, row);
  putRoomEvent(core.db, channel.id, {
    ...row,
    eventId: idBytes(one.id),
    memberRow: author?.id ?? null,
    at: one.at,
    hash: one.hash,
  });
};

type Put = {
  readonly applied: Applied;
  readonly author?: MemberRow | undefined;
  readonly signed: Uint8Array<ArrayBuffer> | null;
};

const apply = (keeping: Keeping, one: Proven): Put => {
  const { core, channel } = keeping;
  const nothing = { messageRow: null, value: '' };
  const authorOf = ({ sender }: EventHeader) => getMemberById(core.db, channel.serverId, idBytes(sender));
  switch (one.kind) {
    case 'absent':
      return { applied: { ...nothing, kind: 'absent' }, signed: null };
    case 'refused':
      return { applied: { ...nothing, kind: 'refused', value: one.why }, signed: null };
    case 'control': {
      const { control, header } = one.event;
      const value = control.op === 'erase' ? '' : controlToJson(control, one.before, one.after);
      return { applied: { ...nothing, kind: control.op, value }, author: authorOf(header), signed: null };
    }
    case 'content': {
      const author = authorOf(one.header);
      if (author === undefined) throw new Error('what was verified has a member');
      const scene: RoomScene = { ...sceneOf(keeping), state: one.state };
      const applied = applySaid(scene, { ...one, body: one.signed }, author);
      return { applied, author, signed: signedKept(core, channel, applied, one) };
    }
  }
};

const sceneOf = ({ core, changes, connection, channel, sharer }: Keeping): RoomScene => ({
  core,
  server: connection.row,
  channel,
  state: undefined,
  changes,
  sharedBy: sharer.id,
});

// What was erased after I came, and was not here then.
const eraseLate = (keeping: Keeping, { seq, target, by, before }: HistoryCheck['erasures'][number]): void => {
  const { core, channel } = keeping;
  const held = getHeld(core.db, channel.id, seq);
  if (held?.kind !== 'erase' || held.messageRow !== null) return;
  const erased = applyErasure(sceneOf(keeping), target, { by, state: before });
  if (erased !== undefined) setRoomEvent(core.db, channel.id, { ...held, messageRow: erased });
};

// Rows stand in the order of the log: what was here already goes behind what came to be before it.
const inOrder = ({ core, channel, share }: Keeping, lastRow: number): void => {
  if (lastMessageRow(core.db) === lastRow) return;
  const conversation = conversationOfChannel(core, channel);
  const isMixed = listHeld(core.db, channel.id, share.fromSeq, share.toSeq).some(
    ({ messageRow }) => messageRow !== null && messageRow <= lastRow,
  );
  const behind = isMixed ? { seq: share.fromSeq - 1, before: LAST_SEQ } : { seq: share.toSeq, before: lastRow + 1 };
  for (const row of listBehindSeq(core.db, conversation.id, behind)) moveToEnd(core.db, row);
};

// What is missing still, stretch by stretch; of what was missing before, the rest.
const tellGaps = ({ core, channel, share, sharer }: Keeping, check: HistoryCheck): void => {
  removeGaps(core.db, channel.id, share.fromSeq, share.toSeq);
  let from = 0;
  const reason = `${sharer.name} has not shown it: it was erased, ended, or is not theirs to show`;
  for (const { seq, kind } of check.proven) {
    const isAbsent = kind === 'absent' && getHeld(core.db, channel.id, seq)?.kind === 'absent';
    if (isAbsent && from === 0) from = seq;
    if (!isAbsent && from > 0) putGap(core.db, channel.id, { fromSeq: from, toSeq: seq - 1, reason });
    if (!isAbsent) from = 0;
  }
  if (from > 0) putGap(core.db, channel.id, { fromSeq: from, toSeq: share.toSeq, reason });
  for (const seq of check.jumps)
    putGap(core.db, channel.id, { fromSeq: seq, toSeq: seq, reason: 'something was left out' });
};
