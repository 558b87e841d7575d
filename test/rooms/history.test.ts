// What was said before somebody came: shown by a member on their user's word, proven, in its place; and what a dishonest one cannot do.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readEventHeader, signEvent } from '../../src/crypto/room-event.ts';
import { openAccountDatabase, openAccountVault } from '../../src/daemon/account-dir.ts';
import { type EventId, idBytes } from '../../src/protocol/ids.ts';
import { HISTORY_ENDED_MAX } from '../../src/protocol/limits.ts';
import type { Database } from '../../src/sqlite/open.ts';
import { listChannelsByName } from '../../src/store/channels.ts';
import { listMembersByName } from '../../src/store/members.ts';
import { listShares, patchShare, putShare, removeOldShares } from '../../src/store/shares.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;

const channel = '#ops';
const inDatabase = async <T>(guest: Guest, look: (db: Database) => T): Promise<T> => {
  const paths = pathsOf(guest.user);
  using db = openAccountDatabase(paths, await openAccountVault(paths, undefined));
  return look(db);
};

/** Somebody who comes into the channel now. */
const newcomer = async (name: string, to = channel): Promise<Guest> => {
  const guest = await house.guest(name);
  await guest.call('server.join', { link: await alice.invite(), label: 'home' });
  await alice.call('channel.invite', { channel: to, member: name });
  await guest.call('channel.join', { channel: to });
  await alice.sees('them', async () => isIn(alice, name, to));
  await bob.sees('them', async () => isIn(bob, name, to));
  return guest;
};
const isIn = async (guest: Guest, name: string, to = channel) =>
  (await guest.call('channel.show', { channel: to })).members?.some((one) => one.name === name);
const shares = async (guest: Guest, to = channel) => (await guest.call('channel.show', { channel: to })).shares ?? [];
const isOver = (guest: Guest, to = channel) =>
  guest.sees('the end of it', async () => {
    const last = (await shares(guest, to)).at(-1);
    return last !== undefined && last.state !== 'active' && last;
  });

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  await alice.call('channel.create', { name: channel, encryption: 'members' });
  await alice.call('channel.invite', { channel, member: 'bob' });
  await bob.call('channel.join', { channel });
});
afterAll(() => house[Symbol.asyncDispose]());

test('HISTORY-1: a newcomer is shown what was said, as it is now, in its order, and by whom', async () => {
  // He came before anything was said: nothing is missing.
  expect((await bob.call('message.list', { conversation: channel })).missing).toBeUndefined();
  const red = await alice.say(channel, 'red');
  await bob.reads(channel, 'red');
  await bob.say(channel, 'a reply', { replyTo: red.id });
  await alice.reads(channel, 'a reply');
  await alice.call('message.edit', { id: red.id, text: 'Red' });
  await alice.call('channel.topic', { channel, topic: 'colours' });
  await bob.call('message.react', { id: red.id, emoji: '👍' });
  const slip = await alice.say(channel, 'a slip');
  const soon = await alice.say(channel, 'gone soon', { expiresMs: 3_600_000 });
  await alice.say(channel, 'blue');
  await bob.reads(channel, 'blue');
  await alice.call('message.delete', { id: slip.id });
  await bob.sees('a deletion', async () => (await bob.call('message.show', { id: slip.id })).deletedAt);

  const carol = await newcomer('carol');
  await carol.say(channel, 'hello, I am new');
  await alice.reads(channel, 'hello, I am new');
  await alice.call('message.edit', { id: red.id, text: 'RED' });
  await alice.say(channel, 'welcome');
  await carol.reads(channel, 'welcome');
  expect(await carol.bodies(channel)).toEqual(['hello, I am new', 'welcome']);
  const { missing: before } = await carol.call('message.list', { conversation: channel });
  expect(before?.[0]).toMatch(
    /^What was said before you joined, at place \d+, is not here: a member may show it \(channel share-history '#\w+' carol\)$/,
  );
  const told = await alice.user.one<{ state: string; events: number }>(
    ...['channel', 'share-history', channel, 'carol', '--wait', 'sent'],
  );
  expect(told).toMatchObject({ state: 'done', direction: 'out', member: 'carol', fromSeq: 1 });
  expect(await isOver(carol)).toMatchObject({
    state: 'done',
    direction: 'in',
    member: 'alice',
    events: told.events,
    confirmedBy: ['bob'],
  });

  const seen = await carol.messages(channel);
  expect(seen.map(({ body }) => body)).toEqual(['RED', 'a reply', 'blue', 'hello, I am new', 'welcome']);
  expect(seen.map(({ from, sharedBy }) => [from, sharedBy])).toEqual([
    ['alice', 'alice'],
    ['bob', 'alice'],
    ['alice', 'alice'],
    ['carol', undefined],
    ['alice', undefined],
  ]);
  const { out } = await carol.user.ok('read', channel, { json: false });
  expect(out).toMatch(/bob: .*a reply {2}\[shown by alice\]\n/);
  expect(out).toMatch(/alice: welcome\n/);
  expect(seen[0]).toMatchObject({ id: red.id, reactions: [{ emoji: '👍', from: 'bob' }] });
  expect(seen[1]?.replyTo).toBe(red.id);
  const shown = await carol.call('channel.show', { channel });
  expect(shown).toMatchObject({ topic: 'colours', heldFrom: 1 });
  // What was erased or ends by itself is told as missing, and is in none of her files.
  const missing = shown.gaps?.flatMap(({ fromSeq, toSeq }) => (fromSeq === toSeq ? [fromSeq] : [fromSeq, toSeq]));
  expect(missing).toEqual([slip.seq, soon.seq]);
  expect(shown.gaps?.[0]?.reason).toMatch(/^alice has not shown it/);
  expect((await carol.call('message.search', { query: 'slip' })).messages).toEqual([]);
  expect((await carol.call('message.search', { query: 'blue' })).messages).toHaveLength(1);
  expect((await carol.call('conversation.show', { conversation: channel })).unread).toBe(1);
  const event = carol.events.find(({ kind }) => kind === 'channel.shared');
  expect(event).toMatchObject({ member: { name: 'alice' }, channel: { name: channel } });
  await saysWhatIsMissing(carol, shown.gaps ?? []);
  await carol.say(channel, 'I have read it all');
  await alice.reads(channel, 'I have read it all');
  expect((await alice.call('channel.show', { channel })).gaps).toEqual([]);
  expect((await bob.call('channel.show', { channel })).gaps).toEqual([]);
});

/** Who looks everywhere, and who writes it all down, is told of it too; who looks for what is new until they have read it. */
const saysWhatIsMissing = async (
  carol: Guest,
  gaps: readonly { readonly fromSeq: number; readonly toSeq: number }[],
): Promise<void> => {
  const told = `${channel}@home: something is missing at ${gaps.length === 1 ? '1 place' : '2 places'}: sotto read '${channel}@home' tells what`;
  expect((await carol.call('message.search', { query: 'blue' })).missing).toEqual([told]);
  expect((await carol.call('message.unread', {})).missing).toEqual([told]);
  await carol.call('conversation.markRead', { conversation: channel });
  expect(await carol.call('message.unread', {})).not.toHaveProperty('missing');
  const places = (fromSeq: number, toSeq: number) =>
    fromSeq === toSeq ? `Place ${fromSeq}` : `Places ${fromSeq} to ${toSeq}`;
  const lines = gaps.map(({ fromSeq, toSeq }) => `${places(fromSeq, toSeq)}: alice has not shown it`);
  const inMarkdown = await carol.user.run('export', channel, '--format', 'markdown', { json: false });
  for (const line of lines) expect(inMarkdown.out).toContain(`\n*Missing: ${line}`);
  expect(inMarkdown.err).toBe('');
  const path = join(carol.user.dir, 'export.jsonl');
  for (const words of [[], ['--output', path]]) {
    const { out, err } = await carol.user.run('export', channel, ...words);
    for (const line of lines) expect(err).toContain(`Missing: ${channel}@home: ${line}`);
    expect(out).not.toContain('Missing');
  }
  expect(readFileSync(path, 'utf8')).not.toContain('Missing');
};

test('what is said in the log of the server holds nothing of it', async () => {
  await house.server.stop('SIGKILL');
  const dir = join(house.stage.dir, '..', 'server');
  for (const name of readdirSync(dir, { recursive: true }) as string[]) {
    if (!/\.(db|wal|log)|-wal$/.test(name)) continue;
    for (const words of ['blue', 'a reply', 'colours'])
      expect(readFileSync(join(dir, name)).includes(words), name).toBe(false);
  }
  await house.server.start();
  for (const guest of [alice, bob]) await guest.online();
});

test('nobody is shown anything who is not there, by one who was not there, or where all may read', async () => {
  expect(await alice.refused('channel.shareHistory', { channel, member: 'alice' })).toBe('contact.self');
  const dave = await house.guest('dave');
  await dave.call('server.join', { link: await alice.invite(), label: 'home' });
  expect(await alice.refused('channel.shareHistory', { channel, member: 'dave' })).toBe('channel.notMember');
  await alice.call('channel.invite', { channel, member: 'dave' });
  expect(await alice.refused('channel.shareHistory', { channel, member: 'dave' })).toBe('channel.notMember');
  await dave.call('channel.join', { channel });
  await dave.sees('bob', async () => isIn(dave, 'bob'));
  // He came later, and has nothing of what was before.
  expect(await dave.refused('channel.shareHistory', { channel, member: 'bob' })).toBe('history.unshared');
  await alice.call('channel.kick', { channel, member: 'dave' });
  await alice.sees('him gone', async () => !(await isIn(alice, 'dave')));
  expect(await alice.refused('channel.shareHistory', { channel, member: 'dave' })).toBe('channel.notMember');
  await alice.call('channel.create', { name: '#open', encryption: 'open' });
  expect(await alice.refused('channel.shareHistory', { channel: '#open', member: 'bob' })).toBe('params.invalid');
  const all = await alice.user.run('channel', 'create', '#all', '--encryption', 'members', '--history', 'all');
  expect(all).toMatchObject({ code: 2, error: { message: expect.stringMatching(/sotto .*channel share-history/) } });
});

test('who is removed before a part goes gets no more of it', async () => {
  const erin = await newcomer('erin');
  await house.server.stop('SIGKILL');
  await alice.sees('it gone', async () => (await alice.call('server.list', {}))[0]?.state !== 'online');
  await alice.call('channel.shareHistory', { channel, member: 'erin' });
  await inDatabase(alice, (db) => {
    // As her removal would leave it here, with what waits still in the outbox.
    const row = db.get<{ id: number; membership: string }>("SELECT id, membership FROM channels WHERE name = 'ops'");
    const erinId =
      db.get<{ id: string }>("SELECT lower(hex(member_id)) AS id FROM members WHERE name = 'erin'")?.id ?? '';
    const state = JSON.parse(row?.membership ?? '{}');
    state.members.of = state.members.of.filter(([id]: [string]) => id !== erinId);
    db.run('UPDATE channels SET membership = ? WHERE id = ?', JSON.stringify(state), row?.id ?? 0);
  });
  await house.server.start();
  expect(await isOver(alice)).toMatchObject({ state: 'refused', member: 'erin' });
  expect(await inDatabase(alice, (db) => db.all('SELECT 1 FROM room_outbox'))).toEqual([]);
  expect(await shares(erin)).toEqual([]);
  expect(await erin.bodies(channel)).toEqual([]);
});

test('what is shown of where I am no more, and what is over, stand in nobody’s way', async () => {
  await bob.call('channel.create', { name: '#gone', encryption: 'members', private: true });
  const hana = await newcomer('hana');
  await bob.call('channel.invite', { channel: '#gone', member: 'hana' });
  await hana.call('channel.join', { channel: '#gone' });
  await hana.call('channel.leave', { channel: '#gone' });
  await inDatabase(hana, (db) =>
    db.transaction(() => {
      const memberRow = listMembersByName(db, 'bob')[0]?.id ?? 0;
      const rowOf = (name: string) => listChannelsByName(db, name)[0]?.id ?? 0;
      const put = (name: string, state: 'whole' | 'refused') => {
        const range = { epoch: 1, fromSeq: 1, toSeq: 1, createdAt: Date.now() };
        const shareId = crypto.getRandomValues(new Uint8Array(16));
        patchShare(db, putShare(db, { channelRow: rowOf(name), memberRow, mine: 0, shareId, ...range }), { state });
      };
      put('gone', 'whole');
      removeOldShares(db, Date.now() + 1);
      expect(listShares(db, rowOf('gone'))).toEqual([]);
      put('gone', 'whole');
      for (let i = 0; i < 2 * HISTORY_ENDED_MAX; i++) put('ops', 'refused');
    }),
  );
  await alice.call('channel.shareHistory', { channel, member: 'hana' });
  await hana.sees('the end of it', async () => (await shares(hana)).at(-1)?.state === 'done');
  expect((await shares(hana, '#gone')).map(({ state }) => state)).toEqual(['refused']);
  expect(await shares(hana)).toHaveLength(HISTORY_ENDED_MAX + 1);
});

describe('a dishonest sharer', () => {
  let frank: Guest;
  let saved: (Row & Record<string, unknown>)[];

  type Row = {
    seq: number;
    event_id: Uint8Array<ArrayBuffer>;
    hash: Uint8Array<ArrayBuffer>;
    signed: Uint8Array | null;
  };
  const inOps = "channel_row = (SELECT id FROM channels WHERE name = 'ops')";
  const rows = (db: Database) =>
    db.all<Row & Record<string, unknown>>(`SELECT * FROM room_events WHERE ${inOps} ORDER BY seq`);

  beforeAll(async () => {
    await alice.say(channel, 'one');
    await bob.reads(channel, 'one');
    await bob.say(channel, 'two');
    await alice.reads(channel, 'two');
    await alice.say(channel, 'three');
    await bob.reads(channel, 'three');
    await bob.say(channel, 'four');
    await alice.reads(channel, 'four');
    frank = await newcomer('frank');
  });

  const put = (db: Database, row: Partial<Row> & { readonly seq: number }): void => {
    const { seq, ...rest } = row;
    for (const [name, value] of Object.entries(rest))
      db.run(`UPDATE room_events SET ${name} = ? WHERE seq = ? AND ${inOps}`, value as Uint8Array, seq);
  };

  /** Makes the store of the sharer say what it is told to, and shares. */
  const lie = async (change: (db: Database, by: (text: string) => Row) => void) => {
    await inDatabase(alice, (db) =>
      db.transaction(() => {
        saved = rows(db);
        change(db, (text) => {
          const row = db.get<Row>(
            `SELECT e.* FROM room_events e JOIN messages m ON m.id = e.message_row WHERE m.body = ? AND e.kind = 'text' AND e.${inOps}`,
            text,
          );
          if (row === undefined) throw new Error(`nothing says ${text}`);
          return row;
        });
      }),
    );
    await alice.call('channel.shareHistory', { channel, member: 'frank' });
    await alice.sees('all sent', async () => (await shares(alice)).every(({ state }) => state !== 'active'));
    const count = ++told;
    const over = await frank.sees('what became of it', async () => {
      const all = await shares(frank);
      return all.length === count && all.at(-1)?.state !== 'active' && all.at(-1);
    });
    await inDatabase(alice, (db) =>
      db.transaction(() => {
        for (const row of saved)
          for (const name of ['event_id', 'hash', 'signed']) put(db, { seq: row.seq, [name]: row[name] } as never);
      }),
    );
    return over;
  };
  let told = 0;

  test('HISTORY-2: cannot invent, alter, attribute to another place, reorder, drop or replace a place', async () => {
    const swapped = (db: Database, one: Row, other: Row) => {
      const { seq, ...rest } = one;
      put(db, { seq: other.seq, event_id: rest.event_id, hash: rest.hash, signed: rest.signed });
      put(db, { seq, event_id: other.event_id, hash: other.hash, signed: other.signed });
    };
    const bytes = (row: Row) => Buffer.from(row.signed ?? []);
    const altered = (row: Row, words: string, others: string) => {
      const signed = bytes(row);
      signed.write(others, signed.indexOf(words));
      return new Uint8Array(signed);
    };
    // Signed by herself, under no id at all.
    const nameless = (db: Database, row: Row) => {
      const server = db.get<{ key: Uint8Array; seed: Uint8Array; hash: Uint8Array }>(
        `SELECT s.server_key AS key, s.device_seed AS seed, c.hash FROM servers s JOIN channels c ON c.server_id = s.id
          WHERE c.name = 'ops'`,
      );
      if (server === undefined) throw new Error('alice is there');
      const id = '0'.repeat(32) as EventId;
      const header = { ...readEventHeader(bytesOf(row)), id };
      const scope = { serverId: server.key, channelHash: server.hash };
      const signed = signEvent(scope, header, { kind: 'text', text: 'three' }, server.seed);
      put(db, { seq: row.seq, event_id: idBytes(id), signed });
    };
    const bytesOf = (row: Row) => new Uint8Array(row.signed ?? []);
    const outcomes = [
      await lie((db, by) => nameless(db, by('three'))),
      // Other words under her own signature and under his.
      await lie((db, by) => put(db, { seq: by('two').seq, signed: altered(by('two'), 'two', 'owt') })),
      await lie((db, by) => put(db, { seq: by('one').seq, signed: altered(by('one'), 'one', 'eno') })),
      // What somebody said at another place.
      await lie((db, by) => put(db, { seq: by('four').seq, signed: bytes(by('two')) })),
      // Two events of one device, and of two, in another order.
      await lie((db, by) => swapped(db, by('one'), by('three'))),
      await lie((db, by) => swapped(db, by('one'), by('two'))),
      // Another event than there was: bob had seen the one.
      await lie((db, by) => put(db, { seq: by('one').seq, event_id: new Uint8Array(16).fill(7), signed: null })),
      // The place of a control.
      await lie((db) => put(db, { seq: 2, event_id: new Uint8Array(16).fill(7) })),
    ];
    expect(outcomes.map(({ state }) => state)).toEqual(Array(outcomes.length).fill('refused'));
    const log = readFileSync(pathsOf(frank.user).log, 'utf8');
    const whys = log.split('\n').filter((line) => line.includes('history.refused'));
    expect(whys.map((line) => (JSON.parse(line) as { readonly why: string }).why)).toEqual([
      'id',
      'signature',
      'signature',
      'id',
      'history',
      'history',
      'history',
      'control',
    ]);
    expect(await frank.bodies(channel)).toEqual([]);
    expect((await frank.call('channel.show', { channel })).heldFrom).toBeGreaterThan(1);
    expect(await inDatabase(frank, (db) => db.all('SELECT 1 FROM room_share_parts'))).toEqual([]);
  });

  test('can leave something out, which shows', async () => {
    await bob.say(channel, 'I was there');
    await frank.reads(channel, 'I was there');
    const over = await lie((db, by) => put(db, { seq: by('two').seq, signed: null }));
    expect(over).toMatchObject({ state: 'done', confirmedBy: expect.arrayContaining(['bob']) });
    const seen = (await frank.bodies(channel)).slice(-4);
    expect(seen).toEqual(['one', 'three', 'four', 'I was there']);
    const two = (await alice.messages(channel)).find(({ body }) => body === 'two');
    const { gaps } = await frank.call('channel.show', { channel });
    expect(gaps?.some(({ fromSeq, toSeq }) => fromSeq <= (two?.seq ?? 0) && (two?.seq ?? 0) <= toSeq)).toBe(true);
    const { missing } = await frank.call('message.list', { conversation: channel });
    expect(missing).toContainEqual(expect.stringMatching(`^Place ${two?.seq}: `));
    // Bob has been there and says the same of what was before.
    await bob.say(channel, 'nothing more');
    await frank.reads(channel, 'nothing more');
    expect((await frank.call('channel.show', { channel })).gaps).toEqual(gaps);
  });
});

test('a share goes on where it was when both die in the middle of it', async () => {
  await alice.call('channel.create', { name: '#long', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#long', member: 'bob' });
  await bob.call('channel.join', { channel: '#long' });
  const texts = Array.from({ length: 24 }, (_, i) => `${i} ${'x'.repeat(15_000)}`);
  for (const text of texts) await alice.say('#long', text);
  const gina = await newcomer('gina', '#long');
  const kill = async (guest: Guest): Promise<void> => {
    const { daemon } = await guest.call('status.show', {});
    process.kill(daemon.pid, 'SIGKILL');
    await guest.back();
  };
  await alice.call('channel.shareHistory', { channel: '#long', member: 'gina' });
  await kill(alice);
  await gina.sees('some of it', async () => ((await shares(gina, '#long'))[0]?.doneEvents ?? 0) > 0);
  await kill(gina);
  expect(await isOver(gina, '#long')).toMatchObject({ state: 'done' });
  expect(await gina.bodies('#long')).toEqual(texts);
  expect(await isOver(alice, '#long')).toMatchObject({ state: 'done' });
});
