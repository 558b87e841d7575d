// Lists of a server that come a page at a time, whole.
import { ROOM_LIST_MAX } from '../protocol/limits.ts';
import type { Answer } from '../protocol/server.ts';
import type { RoomConnection } from './room-connection.ts';

type Page<T> = { readonly items: readonly T[]; readonly more: boolean };

// So many at most: a server may say that there are more for ever.
const whole = async <T extends { readonly id: string }>(
  ask: (after: { readonly after?: string }) => Promise<Page<T>>,
): Promise<T[]> => {
  const all: T[] = [];
  for (;;) {
    const last = all.at(-1)?.id;
    const { items, more } = await ask(last === undefined ? {} : { after: last });
    all.push(...items);
    if (!more || items.length === 0 || all.length >= ROOM_LIST_MAX) return all;
  }
};

/** Invites that still work. Throws `server.*`, `request.notAllowed`. */
export const allInvites = (connection: RoomConnection): Promise<Answer<'invite.list'>['invites']> =>
  whole(async (after) => {
    const { invites: items, more } = await connection.request('invite.list', after);
    return { items, more };
  });

/** Channels that I am in; with `all` also those that may be joined. Throws `server.*`. */
export const allChannels = (
  connection: RoomConnection,
  { all }: { readonly all: boolean },
): Promise<Answer<'channel.list'>['channels']> =>
  whole(async (after) => {
    const { channels: items, more } = await connection.request('channel.list', { all, ...after });
    return { items, more };
  });
