// A stored event as a row.
import { sha256 } from '../crypto/primitives.ts';
import { idOf } from '../protocol/ids.ts';
import type { Stored } from './event-log.ts';
import { bytes, type RawRow } from './table.ts';

const EMPTY = new Uint8Array(0);
const EMPTY_HASH = Buffer.from(sha256(EMPTY));

/** The columns of an event, and how a row of them is read: by hand, since whole histories go through here. */
export const EVENT = {
  columns: 'seq, id, member, kind, at, hash, body',
  read: (raw: RawRow): Stored => {
    const hash = bytes.read(raw.hash);
    return {
      seq: Number(raw.seq),
      id: idOf(raw.id as Uint8Array),
      member: idOf(raw.member as Uint8Array),
      kind: Number(raw.kind),
      at: Number(raw.at),
      hash,
      // An empty body is kept as NULL; its hash tells it from an erased one.
      body: raw.body !== null ? bytes.read(raw.body) : EMPTY_HASH.equals(hash) ? EMPTY : null,
    };
  },
};
