// Puts contents, erasures and directs into the outbox of a server.
import { jsonBytes, toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type EventId, idBytes, idOf, timedId } from '../protocol/ids.ts';
import { OUTBOX_FRAMES_MAX, RECEIPT_TARGETS_MAX } from '../protocol/limits.ts';
import type { Content, Control } from '../protocol/room-content.ts';
import type { Direct } from '../protocol/room-direct.ts';
import { EVENT } from '../protocol/server-frames.ts';
import type { FileRow } from '../store/files.ts';
import type { MessageRow } from '../store/messages.ts';
import {
  countRoomOutbox,
  getReceiptOutbox,
  listRoomOutboxOfMessage,
  putRoomOutbox,
  type RoomOutboxRow,
  removeRoomOutbox,
  replaceContent,
  sealAnew,
} from '../store/room-outbox.ts';
import type { Changes, Core } from './core.ts';
import { conversationOf, serverOfRoom } from './names.ts';
import { settingOf } from './settings.ts';

/** Where something goes: into a channel, or to a member. */
export type RoomTo = { readonly serverId: number } & ({ readonly channelRow: number } | { readonly memberRow: number });
type Receipt = Extract<Direct, { kind: 'receipt' }>;
type More = {
  readonly eventId?: Uint8Array<ArrayBuffer>;
  readonly messageRow?: number;
  readonly ttl?: number;
  /** Before all that waits. */
  readonly goesFirst?: boolean;
};

/** A fresh event id, by the clock of the server that shall take it where that is known. */
export const newEventId = (core: Core, serverId: number | undefined): Uint8Array<ArrayBuffer> => {
  const now = core.rooms.get(serverId ?? 0)?.now ?? core.clock.now();
  return idBytes(timedId<EventId>(Math.min(Math.floor(now), ID_MS_MAX), core.random.bytes(10)));
};
// A server may tell any time.
const ID_MS_MAX = 2 ** 48 - 1;

/** What waits in the outbox of a channel as a control event, and is signed when its turn comes. */
type Erasure = Extract<Control, { op: 'erase' }>;

/** Whether the outbox of a server takes one more. */
export const hasRoom = ({ db }: Core, serverId: number): boolean => countRoomOutbox(db, serverId) < OUTBOX_FRAMES_MAX;

/** Appends a content, an erasure or a direct; it goes out after the commit. Throws `outbox.full`. */
export const enqueueRoom = (
  core: Core,
  changes: Changes,
  to: RoomTo,
  content: Content | Erasure | Direct,
  more: More = {},
): void => {
  if (!hasRoom(core, to.serverId)) throw new SottoError('outbox.full');
  const whole = { channelRow: null, memberRow: null, ...to };
  const kind = 'memberRow' in to ? EVENT.direct : 'op' in content ? EVENT.control : EVENT.content;
  append(core, changes, whole, kind, content, more);
};

/** How long what is said of a message is kept, in s: after its time nobody keeps what it said, in whichever event. */
export const endOf = ({ expiresMs, expiresAt }: MessageRow, now: number): { readonly ttl?: number } =>
  expiresMs === null ? {} : { ttl: Math.max(1, Math.ceil(((expiresAt ?? now + expiresMs) - now) / 1000)) };

/** Tells a member what became of messages of theirs, with what waits to be told already: it takes a place there only once. */
export const enqueueReceipt = (
  core: Core,
  changes: Changes,
  to: { readonly serverId: number; readonly memberRow: number },
  { targets, state }: Omit<Receipt, 'kind'>,
): void => {
  const waiting = getReceiptOutbox(core.db, to, state);
  const told = waiting === undefined ? undefined : (saidIn(waiting) as Receipt);
  const all = [...(told?.targets ?? []), ...targets];
  if (waiting === undefined || all.length > RECEIPT_TARGETS_MAX)
    return enqueueRoom(core, changes, to, { kind: 'receipt', targets, state });
  replaceContent(core.db, waiting.id, jsonBytes({ ...told, targets: all }));
};

const append = (
  core: Core,
  changes: Changes,
  to: Pick<RoomOutboxRow, 'serverId' | 'channelRow' | 'memberRow'>,
  kind: number,
  content: object,
  more: More = {},
): void => {
  putRoomOutbox(core.db, {
    ...to,
    eventId: more.eventId ?? newEventId(core, to.serverId),
    kind,
    content: jsonBytes(content),
    messageRow: more.messageRow ?? null,
    ttl: more.ttl ?? 0,
    ...(more.goesFirst === true ? { goesFirst: true } : {}),
    createdAt: changes.at,
    expiresAt: changes.at + Number(settingOf(core.db, 'outbox.expiresMs')),
  });
  changes.flush.add(to.serverId);
};

/**
 * Takes out of the outboxes of rooms what waits about a message. What may be on its way into a channel has its count there, which
 * nothing else may have: in its place goes an empty word, under its id.
 */
export const dropFromRoom = ({ db }: Core, messageRow: number): void => {
  for (const row of listRoomOutboxOfMessage(db, messageRow))
    if (row.channelRow === null || row.n === 0 || row.seq !== null) removeRoomOutbox(db, row.id);
    else sealAnew(db, row.id, jsonBytes(emptyWord(row)));
};

// Nobody has reacted to what is no message: wherever it comes, it changes nothing.
const emptyWord = ({ eventId }: RoomOutboxRow): Content => ({
  kind: 'react',
  target: idOf(eventId),
  emoji: '👍',
  on: false,
});

/** Whether what a row said has ended since it may have left. */
export const isEmptyWord = (row: RoomOutboxRow): boolean =>
  (saidIn(row) as { readonly target?: string }).target === idOf(row.eventId);

/** The kind of what is no event in the outbox: the server is asked to drop the blob that its content names. */
export const TAKE_BACK = 0;
type TakeBack = { readonly kind: 'takeBack'; readonly blob: string };

/**
 * Has the server drop what was brought to it of a file, now or when it can be reached; nothing for one that is in no room. There
 * is at most one for each file: none is refused.
 */
export const takeBack = (core: Core, changes: Changes, { conversationId, blob }: FileRow): void => {
  if (blob === null) return;
  const { channelRow, memberRow } = conversationOf(core.db, conversationId);
  const serverId = serverOfRoom(core.db, { channelRow, memberRow });
  if (serverId === undefined) return;
  const content: TakeBack = { kind: 'takeBack', blob: toHex(blob) };
  append(core, changes, { serverId, channelRow, memberRow }, TAKE_BACK, content);
};

/** What an outbox row says, as it was put. */
export const saidIn = ({ content }: RoomOutboxRow): unknown => JSON.parse(Buffer.from(content).toString());

/** What an outbox row says in a channel, as it was put. */
export const contentIn = (row: RoomOutboxRow): Content => saidIn(row) as Content;

/** What an outbox row says to a member, as it was put. */
export const directIn = (row: RoomOutboxRow): Direct => saidIn(row) as Direct;

/** The message that an outbox row deletes for all; undefined for a row that does something else. */
export const deletedIn = (row: RoomOutboxRow): string | undefined => {
  const { op, kind, target } = saidIn(row) as Partial<Record<'op' | 'kind' | 'target', string>>;
  return op === 'erase' || kind === 'delete' ? target : undefined;
};

/** The blob that an outbox row has the server drop, by its hash in hex. */
export const blobIn = (row: RoomOutboxRow): string => (saidIn(row) as TakeBack).blob;
