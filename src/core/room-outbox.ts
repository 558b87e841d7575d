// Puts contents and directs into the outbox of a server.
import { SottoError } from '../protocol/errors.ts';
import { type EventId, idBytes, timedId } from '../protocol/ids.ts';
import { OUTBOX_FRAMES_MAX } from '../protocol/limits.ts';
import type { Content } from '../protocol/room-content.ts';
import type { Direct } from '../protocol/room-direct.ts';
import { EVENT } from '../protocol/server.ts';
import { countRoomOutbox, putRoomOutbox } from '../store/room-outbox.ts';
import { type Changes, type Core, commit } from './core.ts';
import { settingOf } from './settings.ts';

type To = { readonly serverId: number } & ({ readonly channelRow: number } | { readonly memberRow: number });
type More = { readonly eventId?: Uint8Array<ArrayBuffer>; readonly messageRow?: number; readonly ttl?: number };

/** A fresh event id. */
export const newEventId = (core: Core): Uint8Array<ArrayBuffer> =>
  idBytes(timedId<EventId>(core.clock.now(), core.random.bytes(10)));

/** Appends a content or a direct; it goes out after the commit. Throws `outbox.full`. */
export const enqueueRoom = (core: Core, changes: Changes, to: To, content: Content | Direct, more: More = {}): void => {
  if (countRoomOutbox(core.db, to.serverId) >= OUTBOX_FRAMES_MAX) throw new SottoError('outbox.full');
  putRoomOutbox(core.db, {
    serverId: to.serverId,
    channelRow: 'channelRow' in to ? to.channelRow : null,
    memberRow: 'memberRow' in to ? to.memberRow : null,
    eventId: more.eventId ?? newEventId(core),
    kind: 'channelRow' in to ? EVENT.content : EVENT.direct,
    content: new Uint8Array(Buffer.from(JSON.stringify(content))),
    messageRow: more.messageRow ?? null,
    ttl: more.ttl ?? 0,
    createdAt: changes.at,
    expiresAt: changes.at + Number(settingOf(core.db, 'outbox.expiresMs')),
  });
  changes.flush.add(to.serverId);
};

/** Appends a direct in a transaction of its own. */
export const enqueueDirect = (
  core: Core,
  to: { readonly serverId: number; readonly memberRow: number },
  direct: Direct,
): void => commit(core, (changes) => enqueueRoom(core, changes, to, direct));
