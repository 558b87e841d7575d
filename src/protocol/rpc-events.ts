// The events of the local wire.
import type { Contact, FileObject, Message, SettingRow, Status } from './rpc-objects.ts';
import { type CallObject, type ChannelObject, type MemberObject, ROOM_EVENT_KINDS } from './rpc-rooms.ts';

/** Kinds with a cursor: committed, replayed by `listen --since`. */
export const EVENT_KINDS = [
  'message.received',
  'message.queued',
  'message.sent',
  'message.delivered',
  'message.read',
  'message.edited',
  'message.deleted',
  'message.reacted',
  'message.pinned',
  'message.expired',
  'message.failed',
  'message.refused',
  'request.received',
  'request.accepted',
  'request.rejected',
  'contact.keyChanged',
  'contact.verified',
  'contact.renamed',
  'contact.blocked',
  'contact.removed',
  'session.healed',
  'config.changed',
  'account.duplicate',
  'file.offered',
  'file.completed',
  'file.failed',
  ...ROOM_EVENT_KINDS,
] as const;
/** Kinds without a cursor: told while they happen, never replayed. */
export const VOLATILE_KINDS = [
  'link.up',
  'link.down',
  'tor.changed',
  'typing.changed',
  'presence.changed',
  'file.progressed',
  'channel.progressed',
  'voice.changed',
] as const;

export type EventKind = (typeof EVENT_KINDS)[number];
export type VolatileKind = (typeof VOLATILE_KINDS)[number];

/** What is left of an object that was erased since: events name it still. */
export type Gone = { readonly id: string; readonly gone: true };

/** One event for front ends: the object it is about stands under its own name. */
export type Event = {
  readonly kind: EventKind | VolatileKind;
  /** Decimal, growing; absent for volatile kinds. */
  readonly cursor?: string;
  readonly at: number;
  readonly message?: Message | Gone;
  readonly contact?: Contact;
  readonly channel?: ChannelObject;
  readonly member?: MemberObject;
  readonly file?: FileObject | Gone;
  readonly call?: CallObject;
  readonly setting?: SettingRow;
  readonly tor?: Status['tor'];
  readonly conversation?: string;
  readonly state?: string;
  readonly detail?: string;
};
/** First line of a resumed stream whose cursor is too old. */
export type GapEvent = { readonly kind: 'gap'; readonly fromCursor: string; readonly toCursor: string };
