// Edits in a channel: their order in the log is the order of versions, also where two devices of one author write at once.
import { jsonBytes } from '../protocol/bytes.ts';
import { EDITS_PER_MESSAGE_MAX } from '../protocol/limits.ts';
import type { Content } from '../protocol/room-content.ts';
import { isVersion, type MessageRow, takeBackEdit } from '../store/messages.ts';
import { listRoomOutboxNaming, type RoomOutboxRow, replaceContent } from '../store/room-outbox.ts';
import { isEditable, setText } from './amend.ts';
import { mentionAgain } from './room-mentions.ts';
import { contentIn, endOf, enqueueRoom, hasRoom } from './room-outbox.ts';
import { type Applied, amending, find, type Given, type RoomScene } from './room-scene.ts';

type Edit = Extract<Content, { kind: 'edit' }>;
type Waiting = { readonly row: RoomOutboxRow; readonly edit: Edit };

/** Gives a message of `member` another text. Of edits with the same number the first in the log counts. */
export const applyEdit = (scene: RoomScene, { event, member, isMine }: Given, edit: Edit): Applied => {
  const { target, number, text } = edit;
  const row = find(scene, target);
  if (row === undefined || row.memberRow !== member.id || !isEditable(row, number))
    return { kind: 'edit', value: '', messageRow: row?.id ?? null };
  const isHere = isMine && isVersion(scene.core.db, row, number, text);
  const mine = isMine && !isHere ? standing(scene, row, edit) : [];
  for (const { edit } of mine.toReversed()) takeBackEdit(scene.core.db, find(scene, target) ?? row, edit.number);
  const before = find(scene, target) ?? row;
  setText(amending(scene, event), before, edit);
  mentionAgain(scene, before);
  sayBehind(scene, mine, target);
  // Mine was changed here when I said so; the server has given it its place.
  return { kind: 'edit', value: isHere || number > before.editNumber ? String(number) : '', messageRow: row.id };
};

/** Edits of this device that wait and whose numbers another device of mine was first with, from `number` on, the first first. */
const standing = ({ core: { db }, channel }: RoomScene, row: MessageRow, { target, number }: Edit): Waiting[] => {
  const waiting = listRoomOutboxNaming(db, channel.id, target).flatMap((one) => {
    const edit = contentIn(one);
    return edit.kind === 'edit' && edit.number >= number && isVersion(db, row, edit.number, edit.text)
      ? [{ row: one, edit }]
      : [];
  });
  return waiting[0]?.edit.number === number ? waiting : [];
};

// Each takes the next number. One that may have left counts nowhere under its own, and is said once more.
const sayBehind = (scene: RoomScene, mine: readonly Waiting[], target: string): void => {
  const { core, changes, server, channel } = scene;
  const free = mine.filter(({ row }) => row.n === 0 && row.sealed === null).map(({ row }) => row.id);
  for (const { row, edit } of mine) {
    const message = find(scene, target);
    if (message === undefined) return;
    const later = { ...edit, number: edit.number + 1 };
    const place = free.shift();
    if (later.number > EDITS_PER_MESSAGE_MAX || (place === undefined && !hasRoom(core, server.id)))
      return changes.event({ kind: 'message.refused', messageRow: message.id, detail: 'edit: message.notEditable' });
    setText(amending(scene, { at: row.createdAt }), message, later);
    if (place !== undefined) replaceContent(core.db, place, jsonBytes(later));
    else enqueueRoom(core, changes, { serverId: server.id, channelRow: channel.id }, later, endOf(message, changes.at));
  }
};
