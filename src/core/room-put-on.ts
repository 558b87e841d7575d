// What I have put on a message in a room, to be said again behind it: what came before it changed nothing for others.
import { rankOf } from '../crypto/channel-state.ts';
import { type EventId, idOf } from '../protocol/ids.ts';
import { CONTENT_RULES } from '../protocol/room-rules.ts';
import type { MessageRow } from '../store/messages.ts';
import { listReactions } from '../store/reactions.ts';
import type { Changes, Core } from './core.ts';
import { enqueueRoom, hasRoom } from './room-outbox.ts';
import type { Place } from './room-places.ts';
import { ownRole, theChannel } from './room-rows.ts';

/** My reactions to a message, and its pin. */
export const putOnOf = (
  { db }: Core,
  { id, messageId, pinnedAt }: Pick<MessageRow, 'id' | 'messageId' | 'pinnedAt'>,
) => {
  const target = idOf<EventId>(messageId);
  return [
    ...listReactions(db, id)
      .filter(({ mine }) => mine === 1)
      .map(({ emoji }) => ({ kind: 'react', target, emoji, on: true }) as const),
    ...(pinnedAt === null ? [] : [{ kind: 'pin', target, on: true } as const]),
  ];
};

/** Says them again. Where there is no room they are left out, and so is a pin by whom may not pin. */
export const putOnRoomAgain = (core: Core, changes: Changes, { to, server }: Place, row: MessageRow): void => {
  for (const one of putOnOf(core, row))
    if ((one.kind === 'react' || mayPin(core, { to, server })) && hasRoom(core, to.serverId))
      enqueueRoom(core, changes, to, one);
};

/** Whether I may pin in a room: in a channel moderators do. */
export const mayPin = ({ db }: Core, { to, server }: Place): boolean => {
  if (!('channelRow' in to)) return true;
  const role = ownRole(theChannel(db, to.channelRow), server);
  return role !== undefined && rankOf(role) >= rankOf(CONTENT_RULES.pin);
};
