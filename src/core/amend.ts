// What is said of a message that is here: another text, its end, reactions, pins. The same from a contact, in a room and by me.
import { SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { EDITS_PER_MESSAGE_MAX, PINS_PER_CONVERSATION_MAX, REACTIONS_PER_MESSAGE_MAX } from '../protocol/limits.ts';
import { addMentions, addUnread } from '../store/conversations.ts';
import type { NewEvent } from '../store/events.ts';
import { countPins, deleteMessage, editMessage, type MessageRow, patchMessage } from '../store/messages.ts';
import { listReactions, putReaction, removeReaction } from '../store/reactions.ts';
import type { Changes, Core } from './core.ts';
import { eraseFile } from './files-rows.ts';

/** Where something is said of a message: inside a transaction. */
export type Amending = {
  readonly core: Core;
  readonly changes: Changes;
  /** When it was said. */
  readonly at: number;
  /** Tells front ends of what has changed; what changes nothing is not told. */
  readonly tell: (event: Omit<NewEvent, 'at'>) => void;
};

/** Said now; `about` is in the events that tell of it. */
export const amendingNow = (core: Core, changes: Changes, about: Pick<NewEvent, 'contactId'> = {}): Amending => ({
  core,
  changes,
  at: changes.at,
  tell: (event) => changes.event({ ...event, ...about }),
});

/** Whether a message may be given its text for the `number`th time after the first. */
export const isEditable = (row: MessageRow, number: number): boolean =>
  row.deletedAt === null && row.fileId === null && number <= EDITS_PER_MESSAGE_MAX;

/** Whether a message of mine says this text already: another edit would be a version that is none. */
export const says = ({ mine, deletedAt, fileId, body }: MessageRow, text: string): boolean =>
  mine === 1 && deletedAt === null && fileId === null && body === text;

/** Gives a message another text. One that has a later one keeps it. */
export const setText = (
  { core, changes, at, tell }: Amending,
  row: MessageRow,
  { number, text }: { readonly number: number; readonly text: string },
): void => {
  if (number <= row.editNumber) return;
  editMessage(core.db, row, text, { number, at });
  changes.erased = true;
  tell({ kind: 'message.edited', messageRow: row.id });
};

/** Empties a message, with its file. */
export const eraseMessage = ({ core, changes, tell }: Omit<Amending, 'at'>, row: MessageRow): void => {
  uncount(core, row);
  deleteMessage(core.db, row, changes.at);
  eraseFile(core, changes, row.fileId);
  changes.erased = true;
  tell({ kind: 'message.deleted', messageRow: row.id, subject: idOf(row.messageId) });
};

/** A message that goes is not counted as unread any more. */
export const uncount = ({ db }: Core, { unread, mention, conversationId }: MessageRow): void => {
  if (unread === 0) return;
  addUnread(db, conversationId, -1);
  if (mention === 1) addMentions(db, conversationId, -1);
};

/** Whose a reaction is; `memberRow` in rooms. */
type Author = { readonly mine: number; readonly memberRow?: number };

/** Adds a reaction or takes it back; false for one more than somebody may add. */
export const setReaction = (
  { core, at, tell }: Amending,
  row: MessageRow,
  author: Author,
  { emoji, on }: { readonly emoji: string; readonly on: boolean },
): boolean => {
  const { mine, memberRow = 0 } = author;
  const theirs = listReactions(core.db, row.id).filter((one) => one.mine === mine && one.memberRow === memberRow);
  const has = theirs.some((one) => one.emoji === emoji);
  if (has === on) return true;
  if (on && theirs.length >= REACTIONS_PER_MESSAGE_MAX) return false;
  if (on) putReaction(core.db, row.id, { mine, memberRow, emoji, at });
  else removeReaction(core.db, row.id, { mine, memberRow, emoji });
  tell({ kind: 'message.reacted', messageRow: row.id });
  return true;
};

/** Pins a message or takes the pin back; false for one more than a conversation may have. */
export const setPin = ({ core, at, tell }: Amending, row: MessageRow, on: boolean): boolean => {
  if ((row.pinnedAt !== null) === on) return true;
  if (on && countPins(core.db, row.conversationId) >= PINS_PER_CONVERSATION_MAX) return false;
  patchMessage(core.db, row.id, { pinnedAt: on ? at : null });
  tell({ kind: 'message.pinned', messageRow: row.id });
  return true;
};

/** What I am told when a reaction of mine was one too many. */
export const tooManyReactions = (): SottoError => new SottoError('reaction.tooMany');

/** What I am told when a pin of mine was one too many. */
export const tooManyPins = (): SottoError => new SottoError('pin.tooMany');
