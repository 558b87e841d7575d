// Drafts into the log: each judged by its channel's end, written with its changes, or refused.
import { passingSha256 } from '../crypto/primitives.ts';
import { type ChannelId, idBytes, idOf } from '../protocol/ids.ts';
import type { Database } from '../sqlite/open.ts';
import { areSure, type ChangeStatement, changeStatements, changesAuthority, entersArchive } from './changes.ts';
import type { Draft, Millis, Outcome, RefusedCode, Seq } from './event-log.ts';
import type { HeadState, Heads } from './log-heads.ts';
import { EVENT } from './stored.ts';
import type { Wal } from './wal.ts';

/** Places drafts within a transaction of the log. */
export class Placing {
  readonly #db: Database;
  readonly #heads: Heads;
  readonly #wal: Wal;

  constructor(db: Database, heads: Heads, wal: Wal) {
    this.#db = db;
    this.#heads = heads;
    this.#wal = wal;
  }

  /** The drafts in their order; one that is refused leaves nothing behind, and the others go on. */
  place(batch: readonly Draft[], now: Millis): Outcome[] {
    const moved = new Set<HeadState>();
    const outcomes = batch.map((draft) =>
      areSure(draft.changes) ? this.#place(draft, now, moved) : this.#placeWithChanges(draft, now, moved),
    );
    for (const head of moved) this.#heads.put(head);
    return outcomes;
  }

  /** One draft on its own; `moved` collects the heads that the batch must write. */
  #place(draft: Draft, now: Millis, moved: Set<HeadState>): Outcome {
    const known = this.#heads.get(draft.channel);
    const head = known ?? this.#beginChannel(draft, now);
    if (head === undefined) return refused('no_such_channel');
    const barred = bar(draft, head);
    const [seq, at] = [head.seq + 1, Math.max(head.at, now)];
    if (barred !== undefined || !this.#putEvent(head, draft, seq, at))
      return this.#known(draft, head) ?? barred ?? lost();
    const isAuthority = changesAuthority(draft.changes);
    const code = this.#applyChanges(draft, { seq, now });
    if (code === 'slow_mode') return this.#tooSoon(draft, now);
    if (code !== undefined) return refused(code);
    if (isAuthority) this.#keepAuthority(draft, seq);
    head.seq = seq;
    head.at = at;
    head.lastId = draft.id;
    if (isAuthority) head.authoritySeq = seq;
    for (const change of draft.changes)
      if (change.kind === 'channelSet' && change.set.archivedAt !== undefined)
        head.isArchived = change.set.archivedAt !== null;
    if (known === undefined) this.#heads.keep(head);
    moved.add(head);
    return { kind: 'committed', seq, at, epoch: head.epoch };
  }

  // What a draft did before one of its changes was refused is undone alone; the batch goes on.
  #placeWithChanges(draft: Draft, now: Millis, moved: Set<HeadState>): Outcome {
    this.#db.run('SAVEPOINT draft');
    const outcome = this.#place(draft, now, moved);
    if (outcome.kind !== 'committed') this.#db.run('ROLLBACK TO draft');
    this.#db.run('RELEASE draft');
    return outcome;
  }

  // The event that makes a channel is its first.
  #beginChannel(draft: Draft, now: Millis): HeadState | undefined {
    const isFirst = draft.changes.some((change) => change.kind === 'channel' && change.row.id === draft.channel);
    return isFirst ? this.#heads.begin(draft.channel, now) : undefined;
  }

  /** False when the id is in the channel already. */
  #putEvent({ key }: HeadState, { id, member, kind, body }: Draft, seq: Seq, at: Millis): boolean {
    const { changes } = this.#db.run(
      `INSERT INTO event (channel, seq, id, member, kind, at, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id, channel) DO NOTHING`,
      key,
      seq,
      Buffer.from(id, 'hex'),
      Buffer.from(member, 'hex'),
      kind,
      at,
      passingSha256(body),
      body,
    );
    return changes === 1;
  }

  /** The first change that is refused; undefined when all are made. */
  #applyChanges(draft: Draft, when: Parameters<typeof changeStatements>[2]): RefusedCode | undefined {
    for (const change of draft.changes) {
      if (change.kind === 'erase') {
        this.eraseBody(draft.channel, change.seq);
        continue;
      }
      for (const statement of changeStatements(change, draft, when)) if (!this.#does(statement)) return statement.needs;
    }
    return undefined;
  }

  /** False when it did not find or change what it needs. */
  #does({ sql, values, needs, asks }: ChangeStatement): boolean {
    if (asks !== undefined) return (this.#db.get(sql, ...values) !== undefined) === (asks === 'some');
    return this.#db.run(sql, ...values).changes > 0 || needs === undefined;
  }

  #tooSoon(draft: Draft, now: Millis): Outcome {
    const interval = Math.max(0, ...draft.changes.map((change) => (change.kind === 'slow' ? change.intervalMs : 0)));
    const last = this.#db.get<{ at: number }>(
      'SELECT at FROM slow WHERE channel = ? AND member = ?',
      idBytes(draft.channel),
      idBytes(draft.member),
    );
    return { kind: 'refused', code: 'slow_mode', retryAfterMs: Math.max(0, (last?.at ?? now) + interval - now) };
  }

  #keepAuthority({ channel }: Draft, seq: Seq): void {
    this.#db.run(
      `INSERT INTO authority (channel, ${EVENT.columns}) SELECT channel, ${EVENT.columns} FROM event
        WHERE channel = ? AND seq = ?`,
      idBytes(channel),
      seq,
    );
  }

  /** The answer to a draft whose id is in the channel already. */
  #known(draft: Draft, head: HeadState): Outcome | undefined {
    const row = this.#db.get<{ seq: number; at: number; member: Uint8Array }>(
      'SELECT seq, at, member FROM event WHERE id = ? AND channel = ?',
      idBytes(draft.id),
      idBytes(draft.channel),
    );
    if (row === undefined) return undefined;
    if (idOf(row.member) !== draft.member) return refused('id_taken');
    return { kind: 'duplicate', seq: row.seq, at: row.at, epoch: head.epoch };
  }

  /** The one function that empties a body; what is gone or empty already stays so, and so does what says who may do what. */
  eraseBody(channel: ChannelId, seq: Seq): void {
    const key = idBytes(channel);
    this.#db.run(
      `UPDATE event SET body = NULL WHERE channel = ? AND seq = ? AND body IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM authority a WHERE a.channel = event.channel AND a.seq = event.seq)`,
      key,
      seq,
    );
    this.#db.run('DELETE FROM expiry WHERE channel = ? AND seq = ?', key, seq);
    this.#wal.erased();
  }
}

const bar = (draft: Draft, head: HeadState): Outcome | undefined => {
  if (draft.checkedAt < head.authoritySeq) return { kind: 'stale', authoritySeq: head.authoritySeq };
  return head.isArchived && !entersArchive(draft.changes) ? refused('archived') : undefined;
};

const refused = (code: RefusedCode): Outcome => ({ kind: 'refused', code });

/** What is thrown where the log and its ends do not fit together. */
export const lost = (): never => {
  throw new Error('an event that must be in the log is not');
};
