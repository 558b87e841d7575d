// A stored event as a row.
import { sha256 } from '../crypto/primitives.ts';
import type { EventId, MemberId } from '../protocol/ids.ts';
import type { Stored } from './event-log.ts';
import { bytes, id, nullable, number, type RawRow, Table } from './table.ts';

const EMPTY = new Uint8Array(0);
const EMPTY_HASH = Buffer.from(sha256(EMPTY));

const COLUMNS = new Table('event', {
  seq: number,
  id: id<EventId>(),
  member: id<MemberId>(),
  kind: number,
  at: number,
  hash: bytes,
  body: nullable(bytes),
});

/** The columns of an event, and how a row of them is read. An empty body is kept as NULL; its hash tells it from an erased one. */
export const EVENT = {
  columns: COLUMNS.columns,
  read: (raw: RawRow): Stored => {
    const row = COLUMNS.read(raw);
    return row.body === null && EMPTY_HASH.equals(row.hash) ? { ...row, body: EMPTY } : row;
  },
};
