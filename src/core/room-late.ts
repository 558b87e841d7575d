// What was said of a message of a channel before the message was here: its edits, reactions and pins.
import { isEqual } from '../protocol/bytes.ts';
import { type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import type { Content, UnknownContent } from '../protocol/room-content.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import { getMember, type MemberRow } from '../store/members.ts';
import { type HeldRow, setRoomEvent } from '../store/room-events.ts';
import { applyContent } from './room-apply.ts';
import { openContent } from './room-open.ts';
import type { RoomScene } from './room-scene.ts';
import { signedKept } from './room-share.ts';

const LATE: ReadonlySet<string> = new Set(['edit', 'react', 'unreact', 'pin', 'unpin']);

/** A content and its place in the log. */
export type Said = Pick<LogEvent, 'seq' | 'at' | 'id' | 'body'> & { readonly content: Content | UnknownContent };

/** Applies what somebody has said, whenever it came. */
export const applySaid = (scene: RoomScene, { content, ...said }: Said, member: MemberRow) => {
  const { channel, server } = scene;
  const event = {
    ...said,
    request: 0,
    channel: idOf(channel.channelId),
    epoch: channel.epoch,
    member: idOf(member.memberId),
    kind: EVENT.content,
    erased: false,
  };
  const isMine = isEqual(member.memberId, server.memberId);
  return applyContent(scene, { event, member, content, isMine, isAnswer: false });
};

/** Applies an event that did not find what it is about, if that is here now. */
export const applyLate = (scene: RoomScene, row: HeldRow): void => {
  const { core, server, channel } = scene;
  const author = row.memberRow === null ? undefined : getMember(core.db, row.memberRow);
  if (row.messageRow !== null || row.signed === null || !LATE.has(row.kind) || author === undefined) return;
  const { signed, seq, at } = row;
  const id = idOf<EventId>(row.eventId);
  const { content } = openContent(core, server, channel, { id, sender: idOf<MemberId>(author.memberId), signed });
  const applied = applySaid(scene, { seq, at, id, content, body: signed }, author);
  if (applied.messageRow === null) return;
  setRoomEvent(core.db, channel.id, {
    ...applied,
    seq,
    signed: signedKept(core, channel, applied, { content, signed }),
  });
};
