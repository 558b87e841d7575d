// Pages of a conversation and of search results, by message id or time, both ways.
import { SottoError } from '../protocol/errors.ts';
import { PAGE_BYTES_MAX } from '../protocol/limits.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import type { Params, Result } from '../protocol/rpc.ts';
import { termsOf } from '../protocol/search-words.ts';
import { getContactByName } from '../store/contacts.ts';
import {
  type ConversationRow,
  getConversation,
  getConversationOfContact,
  listConversations,
} from '../store/conversations.ts';
import {
  firstRowAt,
  listMessagesBefore,
  listMessagesBetween,
  listUnread,
  type RowRange,
} from '../store/message-pages.ts';
import type { MessageRow } from '../store/messages.ts';
import { hitOf, type SearchOptions, searchMessages } from '../store/search.ts';
import type { Core } from './core.ts';
import { type Filled, fillPage, Page } from './fill-page.ts';
import { missingAnywhere, missingIn } from './missing.ts';
import { conversationOf, findContact, findConversation, findMessage, findThread, messageIn } from './names.ts';
import { messageObject, nothingSeen } from './objects.ts';
import { quoted } from './references.ts';
import { findKnownMember, isMemberReference, knownMembers, onlyMember, splitMember } from './room-names.ts';

const LAST_ROW = Number.MAX_SAFE_INTEGER;

type Bounds = { readonly before?: string | number | undefined; readonly after?: string | undefined };

const timeIn = (bound: string | number): number | undefined =>
  typeof bound === 'number' ? bound : /^\d{12,16}$/.test(bound) ? Number(bound) : undefined;

/**
 * The row a page bound means: a message id, of the conversation `inside` where that is given, or a time in milliseconds, of
 * the conversation `at` or, where there is no channel, of all.
 */
const rowBound = ({ db }: Core, bound: string | number, at?: ConversationRow, inside?: ConversationRow): number => {
  const time = timeIn(bound);
  if (time !== undefined) return firstRowAt(db, time, at && { conversationId: at.id, kind: at.kind });
  const id = String(bound);
  return (inside === undefined ? findMessage(db, id) : messageIn(db, inside, id)).id;
};

const rangeAt = (core: Core, { before, after }: Bounds, at?: ConversationRow, inside?: ConversationRow): RowRange => ({
  after: after === undefined ? 0 : rowBound(core, after, at, inside) - (timeIn(after) === undefined ? 0 : 1),
  before: before === undefined ? LAST_ROW : rowBound(core, before, at, inside),
});

/** The rows between two bounds: neither message, and from the later bound's time on up to the other one's. Throws like `messageIn`. */
export const rangeOf = (core: Core, bounds: Bounds, conversation: ConversationRow): RowRange =>
  rangeAt(core, bounds, conversation, conversation);

/** The same of all conversations: a range, and which of its rows are meant. */
export const rangeOfAll = (
  core: Core,
  bounds: Bounds,
): RowRange & { readonly holds: (row: Pick<MessageRow, 'id' | 'conversationId'>) => boolean } => {
  const isTimed = [bounds.before, bounds.after].some((bound) => bound !== undefined && timeIn(bound) !== undefined);
  const conversations = isTimed ? listConversations(core.db) : [];
  // Rows of a channel came here at other times than those at which they were said.
  if (!conversations.some(({ kind }) => kind === 'channel')) return { ...rangeAt(core, bounds), holds: () => true };
  const ranges = new Map(conversations.map((one) => [one.id, rangeAt(core, bounds, one)]));
  return {
    after: Math.min(...[...ranges.values()].map(({ after }) => after)),
    before: Math.max(...[...ranges.values()].map(({ before }) => before)),
    holds: ({ id, conversationId }) => {
      const range = ranges.get(conversationId);
      return range !== undefined && id > range.after && id < range.before;
    },
  };
};

/** A page of a conversation, oldest first: the first one after a bound, else the last one. */
export const pageOf = (
  core: Core,
  conversation: ConversationRow,
  params: Params<'message.list'>,
): Filled<MessageRow> => {
  const range = rangeOf(core, { before: params.before ?? params.at, after: params.after }, conversation);
  const thread = threadOf(core, conversation, params.thread);
  if (params.after !== undefined) return fillPage(params.limit, onwards(core, conversation, range, thread));
  const { rows, more } = fillPage(params.limit, backwards(core, conversation, range.before, thread));
  return { rows: rows.reverse(), more };
};

type Next = Parameters<typeof fillPage<MessageRow>>[1];

const backwards =
  ({ db }: Core, { id }: ConversationRow, before: number, thread: Uint8Array | null): Next =>
  (last, wanted) =>
    listMessagesBefore(db, id, last?.id ?? before, wanted, thread).reverse();

const onwards =
  ({ db }: Core, { id }: ConversationRow, { after, before }: RowRange, thread: Uint8Array | null): Next =>
  (last, wanted) =>
    listMessagesBetween(db, id, { after: last?.id ?? after, before }, wanted, thread);

/** The page around a message: as many before as after it, as far as there are and fit; and whether there are more, on either side. */
export const pageAround = (
  core: Core,
  conversation: ConversationRow,
  { around, limit, thread: root }: Params<'message.list'> & { readonly around: string },
): { readonly rows: MessageRow[]; readonly isEarlier: boolean; readonly isLater: boolean } => {
  const { id } = messageIn(core.db, conversation, around);
  const thread = threadOf(core, conversation, root);
  const half = PAGE_BYTES_MAX / 2;
  const before = fillPage(limit, backwards(core, conversation, id, thread), half);
  const after = fillPage(limit, onwards(core, conversation, { after: id - 1, before: LAST_ROW }, thread), half);
  const count = Math.min(before.rows.length, Math.max(Math.floor(limit / 2), limit - after.rows.length));
  return {
    rows: [...before.rows.slice(0, count).reverse(), ...after.rows.slice(0, limit - count)],
    isEarlier: before.more || before.rows.length > count,
    isLater: after.more || after.rows.length > limit - count,
  };
};

/** Unread messages of a conversation or all, oldest first. */
export const unreadIn = (
  core: Core,
  conversation: ConversationRow | undefined,
  params: Params<'message.unread'>,
): Filled<MessageRow> => {
  if (conversation === undefined) return unreadInAll(core, params);
  const { after, before } = rangeOf(core, params, conversation);
  return fillPage(params.limit, (last, wanted) =>
    listUnread(core.db, conversation.id, { after: last?.id ?? after, before }, wanted),
  );
};

const unreadInAll = (core: Core, params: Params<'message.unread'>): Filled<MessageRow> => {
  const { holds, before, after: start } = rangeOfAll(core, params);
  return fillPage(params.limit, (end, wanted) => {
    const rows: MessageRow[] = [];
    for (let after = end?.id ?? start; ; ) {
      const found = listUnread(core.db, undefined, { after, before }, wanted);
      rows.push(...found.filter(holds));
      const last = found.at(-1);
      if (last === undefined || found.length < wanted || rows.length >= wanted) return rows.slice(0, wanted);
      after = last.id;
    }
  });
};

/**
 * The id of the root of a message's thread, or of the thread it may become the root of; of a root that is gone, by its answers.
 * Throws like `messageIn`.
 */
export const threadOf = (
  core: Core,
  conversation: ConversationRow,
  reference: string | undefined,
): Uint8Array | null => {
  if (reference === undefined) return null;
  const rootless = findThread(core.db, conversation, reference);
  if (rootless !== undefined) return rootless;
  const { thread, messageId } = messageIn(core.db, conversation, reference);
  return thread ?? messageId;
};

/** Full text with its filters and page bounds, newest first. Throws `params.invalid` without a word. */
export const search = async (core: Core, params: Params<'message.search'>): Promise<Result<'message.search'>> => {
  const inside = params.conversation === undefined ? undefined : conversationId(core, params.conversation);
  const from = params.from === undefined ? undefined : sideOf(core, params.from);
  if (inside === 0 || from?.conversationId === 0) return { messages: [], more: false };
  if (inside !== undefined && from?.conversationId !== undefined && inside !== from.conversationId)
    return { messages: [], more: false };
  const conversation = inside ?? from?.conversationId;
  const wanted = {
    words: params.query,
    ...(conversation === undefined ? {} : { conversationId: conversation }),
    ...(from === undefined ? {} : { side: from.side }),
  };
  const range =
    conversation === undefined
      ? rangeOfAll(core, params)
      : { ...rangeAt(core, params, conversationOf(core.db, conversation)), holds: () => true };
  const { rows, more } = await searchRange(core, wanted, params.limit, range);
  // Some may have been erased or changed.
  const hits = rows.flatMap(({ id }) => hitOf(core.db, id, termsOf(params.query)));
  // Meanwhile all of it may have been erased.
  if (inside !== undefined && getConversation(core.db, inside) === undefined) return { messages: [], more: false };
  const seen = nothingSeen();
  return {
    ...(inside === undefined ? missingAnywhere(core, { of: 'all' }) : missingIn(core, conversationOf(core.db, inside))),
    messages: hits.map(({ row, snippet }) => ({ ...messageObject(core, row, seen), snippet })),
    more,
  };
};

// What is not meant of a range is passed over, and the others have their turn meanwhile.
const searchRange = async (
  core: Core,
  wanted: Omit<SearchOptions, keyof RowRange | 'limit'>,
  pageLimit: number,
  { after, before: end, holds }: ReturnType<typeof rangeOfAll>,
): Promise<Filled<MessageRow>> => {
  const page = new Page<MessageRow>(pageLimit);
  for (let before = end; ; ) {
    const limit = page.wanted;
    const found = searchMessages(core.db, { ...wanted, limit, after, before }).map(({ row }) => row);
    if (!page.take(found.filter(holds))) return { rows: page.rows, more: true };
    const last = found.at(-1);
    if (last === undefined || found.length < limit) return { rows: page.rows, more: false };
    before = last.id;
    await new Promise<void>((done) => core.clock.after(0, done));
  }
};

/** The conversation to search in; 0 for a contact that has none. */
const conversationId = (core: Core, reference: string): number => {
  try {
    return findConversation(core.db, reference).id;
  } catch (error) {
    if (error instanceof SottoError && (error.code === 'contact.notAccepted' || error.code === 'conversation.unknown'))
      return 0;
    throw error;
  }
};

type Side = { readonly side: Exclude<SearchOptions['side'], undefined>; readonly conversationId?: number };

const sideOf = (core: Core, from: string): Side => {
  if (from === 'me' || from === core.address) return { side: 'me' };
  if (isMemberReference(from) && getContactByName(core.db, from) === undefined) {
    const { name, server } = splitMember(core.db, from);
    const member = findKnownMember(core.db, server, name);
    if (member === undefined) throw new SottoError('member.unknown', { message: `There is no member ${quoted(from)}` });
    return { side: { memberRow: member.id } };
  }
  // Messages in rooms name their author without the server.
  const members = isContact(core, from) ? [] : knownMembers(core.db, channelNameOf(from));
  if (members.length > 0) return { side: { memberRow: onlyMember(core.db, members).id } };
  return { side: 'them', conversationId: getConversationOfContact(core.db, findContact(core.db, from).id)?.id ?? 0 };
};

const isContact = ({ db }: Core, reference: string): boolean => {
  try {
    findContact(db, reference);
    return true;
  } catch (error) {
    if (!(error instanceof SottoError) || error.code !== 'contact.unknown') throw error;
    return false;
  }
};
