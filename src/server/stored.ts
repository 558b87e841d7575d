// A stored event as a row.
import { sha256 } from '../crypto/primitives.ts';
import { type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import type { Stored } from './event-log.ts';
import { bytes, type RawRow } from './table.ts';

const EMPTY = new Uint8Array(0);
const EMPTY_HASH = Buffer.from(sha256(EMPTY));

const idIn = <Id extends string>(value: unknown): Id =>
  typeof value === 'string' ? (value as Id) : idOf<Id>(value as Uint8Array);

/** The columns of an event, and how a row of them is read: by hand, since whole histories go through here. */
export const EVENT = {
  columns: 'seq, id, member, kind, at, hash, body',
  /** What is read of them where there are many, of SQLite: what is bytes costs the driver more than all the rest. */
  pageColumns: `seq, lower(hex(id)) AS id, lower(hex(member)) AS member, kind, at, body,
    CASE WHEN body IS NULL THEN hash END AS hash`,
  read: (raw: RawRow): Stored => {
    const [seq, id, member] = [Number(raw.seq), idIn<EventId>(raw.id), idIn<MemberId>(raw.member)];
    const [kind, at] = [Number(raw.kind), Number(raw.at)];
    if (raw.body !== null) return { seq, id, member, kind, at, body: bytes.read(raw.body), hash: null };
    // An empty body is kept as NULL; its hash tells it from an erased one.
    const hash = bytes.read(raw.hash);
    if (EMPTY_HASH.equals(hash)) return { seq, id, member, kind, at, body: EMPTY, hash: null };
    return { seq, id, member, kind, at, body: null, hash };
  },
};
