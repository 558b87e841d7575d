// Reading through the command line: pages both ways, filters, times, ids, unread counts, drafts, and what is said of them.
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import type { Conversation, Message } from '../../src/protocol/rpc-objects.ts';
import { databaseOf, furnish } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

let stage: Stage;
let alice: User;
const ids: string[] = [];

/** Local time, as many days ago. */
const at = (days: number, hour: number): number => {
  const date = new Date();
  date.setDate(date.getDate() - days);
  return date.setHours(hour, 0, 0, 0);
};

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, bob, world) => {
    const carol = await world.person('carol');
    await world.befriend(one, carol);
    const goTo = (time: number) => world.clock.jump(time - world.clock.now());
    const say = async (time: number, text: string, from = bob): Promise<void> => {
      goTo(time);
      ids.push((await from.send(from === one ? 'bob' : 'alice', text)).id);
      await world.settle(100);
    };
    await say(at(2, 9), 'two days old');
    await say(at(1, 12), 'yesterday noon, the tide is low');
    await say(at(1, 16), 'yesterday at four, the tide is high', one);
    const now = Date.now();
    for (let i = 0; i < 6; i++) await say(now - 60_000 + i * 1_000, `page ${i}`);
    await say(now - 50_000, 'Ebb and TIDE at Señor Café', carol);
    await say(now - 49_000, `${'long '.repeat(60)}tide${' after'.repeat(60)}`);
  });
  await alice.ok('daemon', 'start');
});
afterAll(() => stage[Symbol.asyncDispose]());

const bodies = async (...words: string[]): Promise<string[]> =>
  (await alice.items<Message>(...words)).map((message) => message.body.slice(0, 20));
const hint = async (...words: string[]): Promise<string> => (await alice.ok(...words)).err;
const conversation = (name: string) => alice.one<Conversation>('conversation', 'show', name);

/** Reads on as the last line on stderr says, until nothing is cut any more. */
const pages = async (...words: string[]): Promise<string[][]> => {
  const found: string[][] = [];
  for (let more: string[] = [], cut = true; cut; ) {
    const { items, err } = await alice.ok<Message>(...words, ...more);
    found.push(items.map((message) => message.body.slice(0, 6)));
    const said = /^More: (--\w+) (\S+)\n$/.exec(err);
    expect([err === '', said !== null]).toContain(true);
    cut = said !== null;
    more = said === null ? [] : [said[1] ?? '', said[2] ?? ''];
  }
  return found;
};

describe('pages', () => {
  test('of read go back from the end, and on from a message, as stderr says', async () => {
    expect(await pages('read', 'bob', '--limit', '4')).toEqual([
      ['page 3', 'page 4', 'page 5', 'long l'],
      ['yester', 'page 0', 'page 1', 'page 2'],
      ['two da', 'yester'],
    ]);
    const [first = ''] = ids;
    const { items, err } = await alice.ok<Message>('read', 'bob', '--after', first, '--limit', '2');
    expect(items.map(({ id }) => id)).toEqual(ids.slice(1, 3));
    expect(err).toBe(`More: --after ${ids[2]}\n`);
    expect(await bodies('read', 'bob', '--after', ids[6] ?? '', '--limit', '2')).toEqual(['page 4', 'page 5']);
    const capitals = (ids[6] ?? '').toUpperCase();
    expect(await bodies('read', 'bob', '--after', capitals, '--limit', '2')).toEqual(['page 4', 'page 5']);
  });

  test('between two bounds hold what is between them; a prefix of an id does', async () => {
    const [after = '', before = ''] = [ids[2]?.slice(0, 6), ids[6]?.slice(0, 8)];
    expect(await bodies('read', 'bob', '--after', after, '--before', before)).toEqual(['page 0', 'page 1', 'page 2']);
    expect(await hint('read', 'bob', '--after', after, '--before', before, '--limit', '2')).toBe(
      `More: --after ${ids[4]}\n`,
    );
    expect(await bodies('unread', 'bob', '--after', after, '--before', before)).toEqual(['page 0', 'page 1', 'page 2']);
    expect((await bodies('search', 'page', '--after', after, '--before', before)).length).toBe(3);
  });

  test('around a message have as many before as after, and say how both go on', async () => {
    const around = (id: string, limit: string) => alice.ok<Message>('read', 'bob', '--around', id, '--limit', limit);
    const middle = await around(ids[4]?.slice(0, 8) ?? '', '4');
    expect(middle.items.map(({ id }) => id)).toEqual(ids.slice(2, 6));
    expect(middle.err).toBe(`More: --before ${ids[2]}\nMore: --after ${ids[5]}\n`);
    const start = await around(ids[0] ?? '', '4');
    expect(start.items.map(({ id }) => id)).toEqual(ids.slice(0, 4));
    expect(start.err).toBe(`More: --after ${ids[3]}\n`);
    expect((await around(ids[4] ?? '', '1')).items.map(({ id }) => id)).toEqual([ids[4]]);
    expect((await around(ids[4] ?? '', '100')).err).toBe('');
    expect((await alice.run('read', 'bob', '--around', ids[4] ?? '', '--at', '1h ago')).code).toBe(2);
    for (const bound of ['--around', '--before', '--after'])
      expect((await alice.run('read', 'carol', bound, ids[4] ?? '')).error?.code).toBe('message.unknown');
  });

  test('take times as people write them', async () => {
    const between = ['--after', 'yesterday 14:00', '--before', 'yesterday 18:00'];
    expect(await bodies('read', 'bob', ...between)).toEqual(['yesterday at four, t']);
    expect(await bodies('search', 'tide', ...between)).toEqual(['yesterday at four, t']);
    expect(await bodies('read', 'bob', '--at', 'yesterday 14:00')).toEqual(['two days old', 'yesterday noon, the ']);
    for (const bound of ['--at', '--before']) expect(await bodies('read', 'bob', bound, '1970-02-03')).toEqual([]);
    expect(await bodies('read', 'bob', '--before', new Date(at(1, 12)).toISOString())).toEqual(['two days old']);
    expect(await bodies('unread', 'bob', '--before', 'yesterday')).toEqual(['two days old']);
    expect((await bodies('read', 'bob', '--after', '10m ago')).length).toBe(7);
    expect((await bodies('unread', '--after', String(at(1, 12)))).length).toBe(9);
    expect(await bodies('unread', '--after', '0m ago')).toEqual([]);
    for (const wrong of ['25:00', 'sometime', '10h', '2026-13-01', 'yesterday 14', '']) {
      const { code, error } = await alice.run('read', 'bob', '--after', wrong);
      expect([wrong, code, error?.code]).toEqual([wrong, 2, 'time.invalid']);
    }
  });

  test('have a limit that is checked', async () => {
    for (const wrong of ['0', '-1', '1.5', 'many', '999999'])
      expect((await alice.run('read', 'bob', `--limit=${wrong}`)).error?.code).toBe('usage.invalid');
  });
});

describe('search', () => {
  test('is newest first, whole words without case and accents, with a snippet around the hit', async () => {
    const found = await alice.items<Message>('search', 'tide');
    expect(found.map(({ id }) => id)).toEqual([ids[10], ids[9], ids[2], ids[1]]);
    const [long] = found;
    expect(long?.snippet).toMatch(/^….*tide.*…$/);
    expect(long?.snippet?.length).toBeLessThan(100);
    expect(await bodies('search', 'senor', 'cafe')).toHaveLength(1);
    expect(await bodies('search', 'tid')).toEqual([]);
    expect(await bodies('search', 'tid*')).toHaveLength(4);
    expect(await bodies('search', '"tide is high"')).toHaveLength(1);
    expect(await bodies('search', 'low OR high')).toEqual([]);
  });

  test('filters by conversation, by who wrote it, and by time, and goes on in pages', async () => {
    expect(await bodies('search', 'tide', '--in', 'carol')).toEqual(['Ebb and TIDE at Seño']);
    expect(await bodies('search', 'tide', '--from', 'me')).toEqual(['yesterday at four, t']);
    expect(await bodies('search', 'tide', '--from', 'carol', '--in', 'bob')).toEqual([]);
    expect(await bodies('search', 'tide', '--from', 'bob', '--before', '1h ago')).toEqual(['yesterday noon, the ']);
    expect(await pages('search', 'tide', '--limit', '3')).toEqual([['long l', 'Ebb an', 'yester'], ['yester']]);
    expect((await alice.run('search', 'tide', '--in', 'nobody')).code).toBe(3);
    expect((await alice.run('search', 'tide', '--from', 'nobody')).code).toBe(3);
    expect((await alice.run('search', '"AND ("')).code).toBe(0);
  });
});

describe('unread', () => {
  test('counts, and marks up to a message, in its conversation only', async () => {
    const { unread } = await alice.one<{ unread: number }>('status');
    expect([unread, (await conversation('bob')).unread, (await conversation('carol')).unread]).toEqual([10, 9, 1]);
    expect(await pages('unread', '--limit', '6')).toEqual([
      ['two da', 'yester', 'page 0', 'page 1', 'page 2', 'page 3'],
      ['page 4', 'page 5', 'Ebb an', 'long l'],
    ]);
    expect((await alice.run('mark-read', 'carol', '--to', ids[3] ?? '')).error?.code).toBe('message.unknown');
    expect((await alice.one<Conversation>('mark-read', 'bob', '--to', ids[4]?.slice(0, 6) ?? '')).unread).toBe(5);
    // What nobody could read is not marked.
    const full = spawnSync('sh', ['-c', `${alice.words('unread bob --mark-read --limit 2 --json')} > /dev/full`]);
    expect(full.status).toBe(1);
    const shown = await alice.ok<Message>('unread', 'bob', '--mark-read', '--limit', '2');
    expect(shown.items.map(({ body }) => body)).toEqual(['page 2', 'page 3']);
    expect(shown.err).toBe('More: --mark-read\n');
    expect((await conversation('bob')).unread).toBe(3);
    expect((await alice.one<Conversation>('mark-read', 'bob')).unread).toBe(0);
    const [oldest] = await alice.items<Message>('read', 'bob');
    expect([oldest?.unread, oldest?.readAt]).toEqual([undefined, expect.any(Number)]);
    expect((await alice.one<{ unread: number }>('status')).unread).toBe(1);
  });
});

describe('ids', () => {
  test('that fit more than one thing are refused with the candidates; five digits are too few', async () => {
    const [one = '', two = ''] = ids;
    expect((await alice.run('show', one.slice(0, 5))).error?.code).toBe('message.unknown');
    expect((await alice.one<Message>('show', one.slice(0, 6))).id).toBe(one);
    await alice.ok('daemon', 'stop');
    {
      using db = databaseOf(alice);
      db.exec(`UPDATE messages SET message_id = unhex('abcdef' || substr(hex(message_id), 7)) WHERE id <= 2`);
      db.exec(`UPDATE contacts SET uid = unhex('123456' || substr(hex(uid), 7))`);
      db.exec(`UPDATE conversations SET uid = unhex('fedcba' || substr(hex(uid), 7))`);
    }
    const refused = async (...words: string[]) => (await alice.run(...words)).error;
    const message = await refused('show', 'abcdef');
    expect(message).toMatchObject({ code: 'name.ambiguous', exit: 3 });
    expect(message?.details.candidates).toEqual([`abcdef${one.slice(6)}`, `abcdef${two.slice(6)}`]);
    expect(message?.message).toContain(`abcdef${two.slice(6)}`);
    for (const words of [
      ['contact', 'show', '123456'],
      ['conversation', 'show', 'fedcba'],
    ]) {
      const error = await refused(...words);
      expect(error?.code).toBe('name.ambiguous');
      expect(error?.message).toMatch(/^More than one fits: bob \(\w{32}\), carol \(\w{32}\)$/);
      // Each can be given in place of what was.
      const named = (id: string) => alice.one<{ name: string }>(...words.slice(0, -1), id);
      const found = await Promise.all(error?.details.candidates?.map(named) ?? []);
      expect(found.map(({ name }) => name)).toEqual(['bob', 'carol']);
    }
    expect((await alice.one<Message>('show', `abcdef${one.slice(6)}`)).body).toBe('two days old');

    const name = (await conversation('carol')).id.slice(0, 10);
    await alice.ok('contact', 'rename', 'bob', name);
    // A name that is the beginning of another's id is no guess either.
    const error = await refused('conversation', 'show', name);
    expect(error?.message).toContain(`carol (${error?.details.candidates?.[0]}), ${name} (`);
    await alice.ok('contact', 'rename', name, 'bob');
  });
});

describe('a draft', () => {
  test('is kept, shown, read from stdin, dropped by hand and by sending', async () => {
    expect((await alice.one<Conversation>('draft', 'bob', 'later', 'perhaps')).draft).toBe('later perhaps');
    expect((await alice.ok('draft', 'bob', { json: false })).out).toBe('later perhaps\n');
    expect((await conversation('bob')).draft).toBe('later perhaps');
    expect((await alice.ok<Conversation>('draft', 'bob', '-', { input: 'two\nlines' })).items[0]?.draft).toBe(
      'two\nlines',
    );
    expect((await alice.run('draft', 'bob', '-', { input: Buffer.from([0x61, 0xff]) })).error?.code).toBe(
      'text.notUtf8',
    );
    expect((await alice.run('draft', 'bob', 'x'.repeat(17_000))).error?.code).toBe('text.tooLarge');
    expect((await conversation('bob')).draft).toBe('two\nlines');
    expect(await alice.one('draft', 'bob', '--clear')).not.toHaveProperty('draft');
    await alice.ok('draft', 'bob', 'soon gone');
    await alice.ok('send', 'bob', 'sent instead');
    expect(await conversation('bob')).not.toHaveProperty('draft');
  });
});

describe('a conversation', () => {
  test('is muted for a time or for ever, archived, and cleared', async () => {
    const muted = await alice.one<Conversation>('conversation', 'mute', 'bob', '--for', '2w');
    expect(muted.mutedUntilAt).toBeGreaterThan(Date.now() + 13.9 * 86_400_000);
    const byWord = await alice.one<Conversation>('conversation', 'mute', 'bob', '1h');
    expect((byWord.mutedUntilAt ?? 0) - Date.now()).toBeLessThan(3_600_001);
    expect((await alice.run('conversation', 'mute', 'bob', '1h', '--for', '2h')).error?.code).toBe('usage.invalid');
    const forEver = await alice.one<Conversation>('conversation', 'mute', 'bob');
    expect([forEver.muted, forEver.mutedUntilAt]).toEqual([true, undefined]);
    expect((await alice.one<Conversation>('conversation', 'unmute', 'bob')).muted).toBe(false);
    const names = async (...words: string[]) =>
      (await alice.items<Conversation>('conversations', ...words)).map(({ name }) => name);
    expect(await names()).toEqual(['bob', 'carol']);
    expect((await alice.one<Conversation>('conversation', 'archive', 'bob')).archived).toBe(true);
    expect([await names(), await names('--archived')]).toEqual([['carol'], ['bob', 'carol']]);
    await alice.ok('conversation', 'archive', 'bob', '--undo');
    expect(await names()).toEqual(['bob', 'carol']);
    await alice.ok('conversation', 'clear', 'bob');
    expect([await bodies('read', 'bob'), await bodies('search', 'page'), await names()]).toEqual([
      [],
      [],
      ['carol', 'bob'],
    ]);
  });
});

test('status, why and doctor have the fields that scripts rely on', async () => {
  const number = expect.any(Number);
  const text = expect.any(String);
  expect(await alice.one('status')).toMatchObject({
    tor: { state: 'off', bootstrapPercent: 0, reachable: false, descriptorUploads: 0 },
    outboxDepth: number,
    unread: number,
    links: expect.any(Array),
    daemon: { pid: number, uptimeMs: number, rssBytes: number, socket: text, version: text },
  });
  expect(await alice.one('why', 'bob')).toMatchObject({
    contact: 'bob',
    summary: text,
    link: { state: 'none', attempts: 0 },
    outbox: { depth: number },
    descriptor: {},
    advice: [expect.stringContaining('offline = false')],
  });
  const checks = await alice.items('doctor');
  expect(checks.length).toBeGreaterThan(5);
  for (const check of checks) expect(check).toEqual({ check: text, ok: true, detail: text });
});

describe('a text', () => {
  test('of the outbox is taken back and sent again; its state says so', async () => {
    const { id } = await alice.one<Message>('send', 'bob', 'second thoughts');
    expect((await alice.run('resend', id)).error?.code).toBe('message.notEditable');
    expect(await alice.one<Message>('cancel', id.slice(0, 6))).toMatchObject({ state: 'failed', reason: 'cancelled' });
    expect((await alice.one<{ outbox: { depth: number } }>('why', 'bob')).outbox.depth).toBe(0);
    expect((await alice.run('cancel', id)).code).toBe(7);
    const again = await alice.one<Message>('resend', id);
    expect([again.id, again.state, again.reason]).toEqual([id, 'queued', undefined]);
    for (const about of [['bob'], []])
      expect((await alice.one<{ outbox: { depth: number } }>('why', ...about)).outbox.depth).toBe(1);
    expect((await alice.one<Message>('delete', id)).state).toBe('failed');
    expect((await alice.run('resend', id)).error).toMatchObject({
      code: 'message.notEditable',
      message: 'This message was deleted: it is not sent again',
    });
  });

  test('is read whole, however much of it is asked for', async () => {
    const client = await RpcClient.open((await alice.one<{ socket: string }>('daemon', 'status')).socket);
    for (let i = 0; i < 300; i++)
      await client.call('message.send', { conversation: 'bob', text: `${i} ${'x'.repeat(16_000)}` });
    client.close();
    const read = await alice.items<Message>('read', 'bob', '--limit', '300');
    expect(read.map(({ body }) => parseInt(body, 10))).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  test('from - is UTF-8 to its end, is not empty, and fits', async () => {
    const refused = async (input: string | Buffer) => (await alice.run('send', 'bob', '-', { input })).error?.code;
    expect(await refused(Buffer.from([0xc3, 0x28]))).toBe('text.notUtf8');
    expect(await refused('')).toBe('text.empty');
    expect(await refused('y'.repeat(3_000_000))).toBe('text.tooLarge');
    const body = '\ufeffwith mark\r\n\ttab ';
    const [sent] = (await alice.ok<Message>('send', 'bob', '-', { input: body })).items;
    expect(sent?.body).toBe(body);
    // What shows nothing is empty.
    for (const blank of [' \n\t', '\u200b\u200d', '\ufeff', '\u2060\u00ad \u3164\ufe0f', '\u2800']) {
      expect([await refused(blank), blank]).toEqual(['text.empty', blank]);
      const edited = await alice.run('edit', sent?.id ?? '', '-', { input: blank });
      expect([edited.code, edited.error?.code]).toEqual([2, 'text.empty']);
    }
    for (const body of ['\u0000', '👩‍🚀', '.\u200b'])
      expect((await alice.ok<Message>('send', 'bob', '-', { input: body })).items[0]?.body).toBe(body);
  });

  test('is in a thread in rooms only', async () => {
    const { id } = await alice.one<Message>('send', 'bob', 'a root');
    expect(await alice.run('send', 'bob', 'x', '--thread', id)).toMatchObject({
      code: 2,
      error: { code: 'params.invalid' },
    });
  });

  test('lives between a second and a year', async () => {
    for (const wrong of ['10ms', '366d', '1y', 'read+5ms', 'read+0s', 'read+0', '0s', '0m'])
      for (const words of [
        ['send', 'bob', 'x', '--expires', wrong],
        ['expire', 'bob', wrong],
      ])
        expect([words, (await alice.run(...words)).code]).toEqual([words, 2]);
    expect((await alice.run('send', 'bob', 'x', '--expires', '0s')).error?.message).toBe(
      'A message lives 1 s to 365 days',
    );
    for (const [given, ms] of [
      ['90s', 90_000],
      ['15m', 900_000],
      ['read+2w', 1_209_600_000],
      ['never', undefined],
    ] as const)
      expect((await alice.one<Message>('send', 'bob', 'x', '--expires', given)).expiresMs).toBe(ms);
  });

  test('that waits for what cannot come ends at once with exit 4 and stays in the outbox', async () => {
    const { code, items, error } = await alice.run<Message>('send', 'bob', 'in vain', '--wait', 'delivered');
    expect([code, items[0]?.state, error?.code]).toEqual([4, 'queued', 'tor.offline']);
  });

  test('that cannot leave without Tor says so at once, with the switch that is off', async () => {
    const advice = async () => (await alice.one<{ advice: string[] }>('why', 'bob')).advice.join();
    const said = async () => (await alice.ok('send', 'bob', 'in vain', { json: false })).err;
    const byFile = 'Tor is off in config.toml: nothing goes to contacts until `offline = false`';
    expect([await said(), await advice()]).toEqual([expect.stringContaining(byFile), expect.stringContaining(byFile)]);
    await alice.ok('config', 'set', 'network.tor', 'off');
    const bySetting = /This account has no Tor: nothing goes to contacts until sotto .*config set network.tor on/;
    expect([await said(), await advice()]).toEqual([
      expect.stringMatching(bySetting),
      expect.stringMatching(bySetting),
    ]);
    expect(await advice()).not.toContain('config.toml');
    await alice.ok('config', 'unset', 'network.tor');
    expect((await alice.ok('send', 'bob', 'in vain')).err).toBe('');
  });
});

test('what somebody else said and was deleted here only says so', async () => {
  const { id } = await alice.one<Message>('read', 'carol');
  const deleted = await alice.one<Message>('delete', id, '--local');
  expect(deleted).toMatchObject({ mine: false, body: '', deletedAt: expect.any(Number), reason: 'local' });
  expect(await alice.one('show', id)).toMatchObject({ reason: 'local' });
});
