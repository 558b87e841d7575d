// Rows of rooms that must be there.
import { SottoError } from '../protocol/errors.ts';
import type { Database } from '../sqlite/open.ts';
import { type ChannelRow, getChannel } from '../store/channels.ts';
import { getServer, type ServerRow } from '../store/servers.ts';

/** Throws `channel.unknown`. */
export const theChannel = (db: Database, id: number): ChannelRow => {
  const row = getChannel(db, id);
  if (row === undefined) throw new SottoError('channel.unknown');
  return row;
};

/** Throws `server.unknown`. */
export const theServer = (db: Database, id: number): ServerRow => {
  const row = getServer(db, id);
  if (row === undefined) throw new SottoError('server.unknown');
  return row;
};
