// Arbitrary batches against a few lines that say what a log is, with restarts in between.
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ChannelId, SERVER_CHANNEL } from '../../src/protocol/ids.ts';
import type { Change } from '../../src/server/changes.ts';
import type { Draft, Outcome } from '../../src/server/event-log.ts';
import { readKeyFile } from '../../src/server/key-file.ts';
import { openServerDatabase } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { SqliteEventLog } from '../../src/server/sqlite-event-log.ts';
import { Wal } from '../../src/server/wal.ts';
import {
  ALL,
  channelId,
  eventId,
  makeServer,
  memberId,
  memberRow,
  newChannel,
  quietPorts,
  tempDir,
  turn,
} from './server.ts';

const RUNS = 25;

type Event = { readonly draft: Draft; body: string | null; readonly at: number };
type Channel = { readonly events: Event[]; authority: number; isArchived: boolean; pruned: number };

/** What a log is. */
class Model {
  readonly channels = new Map<ChannelId, Channel>([
    [SERVER_CHANNEL, { events: [], authority: 0, isArchived: false, pruned: 0 }],
  ]);
  readonly members = new Set<string>();
  readonly #since: number;

  constructor(since: number) {
    this.#since = since;
  }

  append(draft: Draft, now: number): Partial<Outcome> {
    const isFirst = draft.changes.some(({ kind }) => kind === 'channel');
    const there = this.channels.get(draft.channel);
    if (there === undefined && !isFirst) return { kind: 'refused', code: 'no_such_channel' };
    const channel = there ?? { events: [], authority: 0, isArchived: false, pruned: 0 };
    const known = channel.events.findIndex((one, i) => one.draft.id === draft.id && i >= channel.pruned);
    if (known >= 0) {
      const isOwn = channel.events[known]?.draft.member === draft.member;
      return isOwn ? { kind: 'duplicate', seq: known + 1 } : { kind: 'refused', code: 'id_taken' };
    }
    if (draft.checkedAt < channel.authority) return { kind: 'stale', authoritySeq: channel.authority };
    const isAuthority = draft.changes.some(({ kind }) => kind !== 'erase');
    if (channel.isArchived && draft.changes.length === 0) return { kind: 'refused', code: 'archived' };
    if (there !== undefined && isFirst) return { kind: 'refused', code: 'taken' };
    for (const change of draft.changes)
      if (change.kind === 'member' && this.members.has(change.row.id)) return { kind: 'refused', code: 'taken' };
    const at = Math.max(now, channel.events.at(-1)?.at ?? (draft.channel === SERVER_CHANNEL ? this.#since : 0));
    channel.events.push({ draft, body: Buffer.from(draft.body).toString(), at });
    this.channels.set(draft.channel, channel);
    for (const change of draft.changes) this.#change(change, channel);
    if (isAuthority) channel.authority = channel.events.length;
    return { kind: 'committed', seq: channel.events.length, at };
  }

  erase(channel: Channel | undefined, seq: number): void {
    const event = channel?.events[seq - 1];
    // An empty body has nothing to lose.
    if (event !== undefined && event.body !== '' && event.draft.changes.every(({ kind }) => kind === 'erase'))
      event.body = null;
  }

  #change(change: Change, channel: Channel): void {
    if (change.kind === 'erase') this.erase(channel, change.seq);
    if (change.kind === 'member') this.members.add(change.row.id);
    if (change.kind === 'channelSet') channel.isArchived = change.set.archivedAt !== null;
  }
}

const number = (max: number) => fc.integer({ min: 0, max });
const aChange: fc.Arbitrary<Change> = fc.oneof(
  number(30).map((seq) => ({ kind: 'erase', seq }) as const),
  fc.constantFrom(1, null).map((archivedAt) => ({ kind: 'channelSet', set: { archivedAt } }) as const),
  number(6).map((n) => ({ kind: 'member', row: memberRow(n) }) as const),
);
const aDraft: fc.Arbitrary<Draft> = fc
  .record({
    channel: number(3),
    id: number(40),
    member: fc.constantFrom(1, 1, 1, 2),
    isFirst: fc.boolean(),
    change: fc.option(aChange, { freq: 3 }),
    checkedAt: fc.oneof(number(12), fc.constant(1e9)),
    body: fc.string({ maxLength: 20 }),
  })
  .map(({ channel, id, member, isFirst, change, checkedAt, body }) => {
    const isMade = isFirst && channel > 0;
    const changes: Change[] = isMade
      ? [{ kind: 'channel', row: newChannel(channel) }]
      : change === null
        ? []
        : [change];
    return {
      channel: channel === 0 ? SERVER_CHANNEL : channelId(channel),
      id: eventId(id),
      member: memberId(member),
      kind: 1,
      body: new Uint8Array(Buffer.from(body)),
      checkedAt,
      // The server's channel is no row that could be set.
      changes: channel === 0 ? changes.filter(({ kind }) => kind !== 'channelSet') : changes,
    };
  });
const aStep = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('append'), batch: fc.array(aDraft, { maxLength: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('erase'), channel: number(3), seq: number(30) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('prune'), channel: number(3), seq: number(10) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('jump'), ms: fc.integer({ min: -5000, max: 5000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart') }) },
);

test('whatever is appended, erased, pruned and restarted, the log is what a log is', async () => {
  const { dir, remove } = tempDir();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(aStep, { maxLength: 25 }), async (steps) => {
      const ports = quietPorts();
      const paths = makeServer(join(dir, String(run++)), { ports });
      const open = () => {
        const db = openServerDatabase(paths.database, readKeyFile(paths.keyFile));
        // What a power cut would do is not the question here.
        db.exec('PRAGMA synchronous = OFF');
        // Two heads in memory: most are read anew.
        return {
          db,
          log: new SqliteEventLog({ db, wal: new Wal(db, ports.clock), clock: ports.clock, turn, headsMax: 2 }),
        };
      };
      const model = new Model(ports.clock.now());
      let { db, log } = open();
      for (const step of steps) {
        const id = 'channel' in step && step.channel > 0 ? channelId(step.channel) : SERVER_CHANNEL;
        const channel = model.channels.get(id);
        if ('batch' in step) {
          const outcomes = await log.append(step.batch);
          expect(outcomes).toMatchObject(step.batch.map((draft) => model.append(draft, ports.clock.now())));
        } else if ('ms' in step) ports.clock.jump(step.ms);
        else if (!('seq' in step)) {
          db[Symbol.dispose]();
          ({ db, log } = open());
        } else if (step.kind === 'erase') {
          if (channel === undefined || step.seq > channel.pruned) model.erase(channel, step.seq);
          await log.erase(id, [step.seq]);
        } else {
          if (channel !== undefined)
            channel.pruned = Math.max(channel.pruned, Math.min(step.seq, channel.events.length));
          await log.prune(id, step.seq);
        }
        for (const [id, { events, authority, pruned }] of model.channels) {
          const [head] = await log.heads([id]);
          const last = events.at(-1)?.draft.id ?? null;
          expect(head).toMatchObject({ seq: events.length, id: last, authoritySeq: authority, prunedTo: pruned });
          const rows = (await log.read(id, 0, ALL)).map(({ seq, id, at, body }) => ({
            ...{ seq, id, at },
            body: body && Buffer.from(body).toString(),
          }));
          const told = events.map(({ draft, at, body }, i) => ({ seq: i + 1, id: draft.id, at, body }));
          expect(rows).toEqual(told.slice(pruned));
        }
      }
      db[Symbol.dispose]();
      await using store = ServerStore.open(paths, ports);
      const { wrong, events } = await store.check({ deep: true });
      expect(wrong).toEqual([]);
      expect(events).toBe([...model.channels.values()].reduce((sum, one) => sum + one.events.length - one.pruned, 0));
    }),
    { numRuns: RUNS },
  );
  remove();
});
