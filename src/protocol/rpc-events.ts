// The events of the local wire.
import type { EVENT_KINDS, VOLATILE_KINDS } from './event-kinds.ts';
import type { Contact, FileObject, Message, SettingRow, Status } from './rpc-objects.ts';
import type { CallObject, ChannelObject, MemberObject } from './rpc-rooms.ts';

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
