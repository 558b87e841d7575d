// Targets for what people type, paste or show: addresses, words, names, times, searches, command lines, RPC, the screen.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { findContact, findConversation, findFile, findMessage } from '../../src/core/names.ts';
import { addressOf } from '../../src/crypto/address.ts';
import { linkOf, parseAddress, phraseOf, rootOfPhrase, wordsOf } from '../../src/crypto/identity.ts';
import { isPrimeOrderKey } from '../../src/crypto/subgroup.ts';
import { RpcSocket } from '../../src/daemon/socket.ts';
import { toHex } from '../../src/protocol/bytes.ts';
import { ERROR_CODES, type ErrorCode, SottoError } from '../../src/protocol/errors.ts';
import { FILE_NAME_BYTES_MAX, NAME_CHARS_MAX, RPC_LINE_BYTES_MAX } from '../../src/protocol/limits.ts';
import type { AccountMethod } from '../../src/protocol/rpc.ts';
import { ACCOUNT_METHODS } from '../../src/protocol/rpc-account.ts';
import { safeFileName, safeLine, safeName, safeText } from '../../src/protocol/safe-text.ts';
import { parseDuration, parseTime } from '../../src/protocol/time-words.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { migrate } from '../../src/store/migrations.ts';
import { searchMessages } from '../../src/store/search.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { type Dice, mutateJson, mutateText } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';
import { scratch } from './tor.ts';

const goodKey = (dice: Dice): Uint8Array<ArrayBuffer> => {
  for (;;) {
    const key = dice.bytes(32);
    if (isPrimeOrderKey(key)) return key;
  }
};

const addressForms = (dice: Dice): string => {
  const key = dice.chance(0.1) ? new Uint8Array(32).fill(dice.int(3)) : goodKey(dice);
  return dice.pick([
    () => addressOf(key),
    () => addressOf(key).replace('.onion', '').toUpperCase(),
    () => wordsOf(key),
    () => linkOf(addressOf(key), dice.text(10).toWellFormed()),
    () => phraseOf(key.slice(0, 16)),
  ])();
};

const addresses: Target = {
  name: 'addresses, links and words',
  parsers: ['src/crypto/identity.ts parseAddress', 'src/crypto/address.ts keyOfAddress'],
  codes: [
    'address.invalid',
    'link.invalid',
    'key.invalid',
    'words.count',
    'words.recovery',
    'words.unknown',
    'words.checksum',
  ],
  play: (dice) => {
    const text = addressForms(dice);
    const words = text.split(' ');
    if (words.length > 1 && dice.chance(0.2)) words[dice.int(words.length)] = dice.pick(words);
    const given = dice.chance(0.5) ? mutateText(dice, text) : words.join(dice.pick([' ', '\n', '  ']));
    const { address, identityKey, nickname } = parseAddress(given);
    holds(address === addressOf(identityKey), 'address and key are one');
    for (const form of [address, wordsOf(identityKey), linkOf(address, nickname ?? '')])
      holds(parseAddress(form).address === address, 'every form gives the same address');
    holds(nickname === undefined || nickname.length <= NAME_CHARS_MAX, 'a nickname is short');
  },
};

const phrases: Target = {
  name: 'recovery words',
  parsers: ['src/crypto/identity.ts rootOfPhrase'],
  codes: ['words.count', 'words.unknown', 'words.checksum'],
  play: (dice) => {
    const phrase = phraseOf(dice.bytes(16));
    const words = phrase.split(' ');
    if (dice.chance(0.3)) words.reverse();
    const given = dice.chance(0.5) ? mutateText(dice, phrase) : words.join(dice.pick([' ', ' \t', '\n']));
    const root = rootOfPhrase(given);
    holds(phraseOf(root) === given.trim().toLowerCase().split(/\s+/u).join(' '), 'the same words come back');
  },
};

const NOW = 1_800_000_000_000;

const times: Target = {
  name: 'times and durations',
  parsers: ['src/protocol/time-words.ts parseTime', 'src/protocol/time-words.ts parseDuration'],
  codes: ['time.invalid'],
  play: (dice) => {
    const duration = `${dice.int(10 ** dice.int(11))}${dice.pick(['ms', 's', 'm', 'h', 'd', 'w'])}`;
    const time = dice.pick([
      `${duration} ago`,
      '14:05',
      'yesterday 14:00',
      'today',
      'now',
      '2026-01-31',
      '2026-01-31T14:05:06.789+02:00',
    ]);
    const text = dice.chance(0.5) ? duration : time;
    const given = dice.chance(0.5) ? mutateText(dice, text) : text;
    const ms = text === duration ? parseDuration(given) : parseTime(given, NOW);
    holds(Number.isSafeInteger(ms) && ms >= 0, `a time is a whole number of milliseconds: ${given} is ${ms}`);
  },
};

// C0, DEL, C1, bidi controls, zero-width, tags, surrogates: what moves the cursor, hides or reorders.
const DANGEROUS =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\p{Surrogate}]/u;

const screen: Target = {
  name: 'text for the screen',
  parsers: [
    'src/protocol/safe-text.ts safeText',
    'src/protocol/safe-text.ts safeLine',
    'src/protocol/safe-text.ts safeName',
    'src/protocol/safe-text.ts safeFileName',
  ],
  codes: [],
  play: (dice) => {
    const long = dice.chance(0.01) ? dice.char().repeat(dice.int(60_000)) : '';
    const text =
      mutateText(dice, dice.text(40)) + long + Array.from({ length: dice.int(20) }, () => dice.char()).join('');
    for (const clean of [safeText, safeLine, safeName, safeFileName]) {
      const once = clean(text);
      holds(clean(once) === once, `what is safe stays as it is: ${JSON.stringify(text)}`);
      holds(!DANGEROUS.test(once), `nothing that a terminal obeys: ${JSON.stringify(text)}`);
      holds(clean === safeText || !once.includes('\n'), 'a line is one line');
      holds(once.length <= 4 * text.length + 4, 'at most four times as long');
    }
    const [name, file] = [safeName(text), safeFileName(text)];
    holds(name !== '' && name.length <= NAME_CHARS_MAX && name.trim() === name, 'a name has something to see');
    holds(file !== '' && Buffer.byteLength(file) <= FILE_NAME_BYTES_MAX, 'a file name fits');
    holds(!/[/\\]|^[.-]/.test(file), 'a file name stays in its folder');
  },
};

const LINES = [
  ['send', 'bob', 'hello', '--wait', 'delivered', '--timeout=5s'],
  ['--json', 'contact', 'add', 'x.onion', '--name', 'bob'],
  ['messages', 'bob', '--limit', '5', '--account', 'a'],
  ['--data-dir', '/d', 'file', 'save', 'abcdef', '-'],
  ['config', 'set', 'privacy.typing', 'true'],
  ['--help'],
];

const commandLines: Target = {
  name: 'command lines',
  parsers: ['src/cli/parse.ts parseCommandLine'],
  codes: ['usage.invalid'],
  play: (dice) => {
    const line = [...dice.pick(LINES)];
    for (let faults = dice.int(3); faults > 0; faults--) {
      const at = dice.int(line.length + 1);
      line.splice(
        at,
        dice.int(2),
        dice.pick([mutateText(dice, line[at] ?? ''), '--', '-', '--x', '-xyz', '--json=1', '']),
      );
    }
    const { command, args, flags } = parseCommandLine(line);
    holds(
      args.every((arg) => line.includes(arg)),
      'no argument is made up',
    );
    const text = Object.values(flags).filter((value) => typeof value === 'string');
    holds(
      text.every((value) => line.some((word) => word.endsWith(value))),
      'no value is made up',
    );
    holds(command !== undefined || args.length === 0, 'words without a command are refused');
  },
};

/** The rows that every schema is tested with, in memory. */
export const smallStore = (): Database => {
  const db = openDatabase(':memory:');
  db.exec('PRAGMA foreign_keys = OFF');
  db.exec('CREATE TABLE schema_meta (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT');
  db.exec(readFileSync('test/compat/schema-1.sql', 'utf8'));
  db.exec(readFileSync('test/compat/schema-1-rows.sql', 'utf8'));
  db.exec('INSERT INTO schema_meta (id, version) VALUES (1, 1)');
  migrate(db);
  return db;
};

const store = smallStore();
// Ids that begin alike, so that a prefix can fit more than one.
store.exec(`INSERT INTO messages (id, conversation_id, message_id, mine, body, state, reason, sent_at, received_at, delivered_at, read_at, unread,
  reply_to, edit_number, edited_at, deleted_at, expires_ms, expires_from, expires_at, pinned_at, file_id)
  SELECT 90 + id, conversation_id, X'1066bc34dfc700000000000000000000', mine, body, state,
  reason, sent_at, received_at, delivered_at, read_at, unread, reply_to, edit_number, edited_at, deleted_at, expires_ms,
  expires_from, expires_at, pinned_at, file_id FROM messages WHERE id = 1`);

const searches: Target = {
  name: 'search queries',
  parsers: ['src/store/search.ts searchMessages'],
  codes: ['params.invalid'],
  play: (dice) => {
    const query = dice.pick([
      'first text',
      'text',
      '"first text"',
      'ans*',
      'NEAR(a b)',
      'body : x',
      'a AND b OR NOT c',
      '',
    ]);
    const words = dice.chance(0.7) ? mutateText(dice, query) : query;
    const options = { after: 0, before: Number.MAX_SAFE_INTEGER, limit: 3 };
    const hits = searchMessages(store, { words, ...options, ...(dice.chance(0.3) ? { side: 'me' as const } : {}) });
    holds(
      hits.length <= 3 && hits.every(({ row }) => row.deletedAt === null),
      'only messages that are there are found',
    );
    if (words === 'first text') holds(hits.length > 0, 'what is there is found');
  },
};

const references: Target = {
  name: 'names and ids of things',
  parsers: [
    'src/core/names.ts findContact',
    'src/core/names.ts findConversation',
    'src/core/names.ts findMessage',
    'src/core/names.ts findFile',
  ],
  codes: [
    'contact.unknown',
    'contact.notAccepted',
    'conversation.unknown',
    'message.unknown',
    'file.unknown',
    'name.ambiguous',
    'channel.unknown',
    'server.unknown',
  ],
  play: (dice) => {
    const { name: known = '' } = store.get<{ name: string }>('SELECT name FROM contacts WHERE id = 1') ?? {};
    const { name: asking = '', uid = new Uint8Array() } =
      store.get<{ name: string; uid: Uint8Array }>('SELECT name, uid FROM contacts WHERE id = 2') ?? {};
    const hex = toHex(uid);
    const text = dice.pick([
      known,
      asking,
      hex,
      hex.slice(0, 8),
      '1066bc34dfc7',
      '1066bc34dfc7182f',
      '0ba78cfacd63',
      '#general',
      '#general@home',
      'someone@home',
      '',
    ]);
    const given = dice.chance(0.4) ? mutateText(dice, text) : text;
    // A contact that was removed has no conversation any more.
    if (dice.chance(0.1)) store.exec(`UPDATE contacts SET state = 'removed' WHERE id = 2`);
    try {
      dice.pick([findContact, findConversation, findMessage, findFile])(store, given);
    } finally {
      store.exec(`UPDATE contacts SET state = 'incoming' WHERE id = 2`);
    }
  },
};

const rpcPath = scratch('rpc');
const rpc = (async () => {
  const bugs: unknown[] = [];
  const socket = new RpcSocket({
    path: rpcPath,
    greeting: () => ({ sotto: '0', rpc: 1, account: 'a', locked: false, cursor: '0' }) as never,
    handle: async (_connection, method, params) => ({ method, params }),
    left: () => {},
    gone: () => {},
    bug: (error) => bugs.push(error),
  });
  await socket.listen();
  return { socket, bugs };
})();

type Reply = { readonly result?: unknown; readonly error?: { readonly code: number; readonly data: { code: string } } };

/** The answers to what is sent on a connection of its own, greeting and all; the other side ends it, or a last ping does. */
const exchange = (sent: string): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path: rpcPath });
    let text = '';
    const done = (): void => {
      socket.destroy();
      resolve(text.split('\n').filter((line) => line !== ''));
    };
    socket.on('data', (chunk) => {
      text += chunk;
      // The answer to a batch may come behind the last one's.
      if (text.includes('"id":"the end"') && text.endsWith('\n')) done();
    });
    socket.on('error', () => {});
    socket.on('close', done);
    socket.setTimeout(3000, () => reject(new Error('no answer')));
    socket.write(`${sent}\n${JSON.stringify({ jsonrpc: '2.0', id: 'the end', method: 'contact.list' })}\n`);
  });

const CALLS: Readonly<Record<string, object>> = {
  'account.nickname': { nickname: 'me' },
  'contact.add': { address: 'sotto:x.onion', name: 'x', note: 'hello' },
  'contact.list': { all: true },
  'contact.show': { contact: 'bob' },
  'contact.rename': { contact: 'bob', name: 'bob' },
  'contact.note': { contact: 'bob', note: 'a note' },
  'contact.verify': { contact: 'bob', verified: true },
  'contact.why': { contact: 'bob' },
  'contact.ping': { contact: 'bob', timeoutMs: 100 },
  'message.send': { conversation: 'bob', text: 'hello', replyTo: 'ID', expiresMs: 600_000, expiresFrom: 'read' },
  'message.list': { conversation: 'bob', limit: 5, before: 'ID' },
  'message.unread': { conversation: 'bob', limit: 5, markRead: true },
  'message.show': { id: 'ID' },
  'message.edit': { id: 'ID', text: 'other' },
  'message.react': { id: 'ID', emoji: '👍' },
  'message.unreact': { id: 'ID', emoji: '👍' },
  'message.pin': { id: 'ID' },
  'message.resend': { id: 'ID' },
  'message.cancel': { id: 'ID' },
  'message.delete': { id: 'ID' },
  'message.search': { query: 'hello', from: 'bob', limit: 5 },
  'conversation.list': { archived: true },
  'conversation.markRead': { conversation: 'bob', to: 'ID' },
  'conversation.mute': { conversation: 'bob', until: NOW },
  'conversation.archive': { conversation: 'bob', archived: true },
  'conversation.draft': { conversation: 'bob', text: 'dra' },
  'conversation.typing': { conversation: 'bob', on: true },
  'config.set': { key: 'notify.quietHours', value: '22:00-07:00', conversation: 'bob' },
  'config.get': { key: 'privacy.typing', conversation: 'bob' },
  'config.unset': { key: 'privacy.typing' },
  'file.open': { conversation: 'bob', name: 'file.txt' },
  'file.show': { id: 'ID' },
  'file.read': { id: 'ID', index: 0 },
};

const rpcLines: Target = {
  name: 'lines of JSON-RPC',
  parsers: ['src/daemon/socket.ts RpcSocket', 'src/protocol/rpc.ts METHODS'],
  codes: ['rpc.invalid', 'rpc.tooLarge', 'method.unknown', 'params.invalid'],
  play: async (dice) => {
    const { bugs } = await rpc;
    const [method, params] = dice.pick(Object.entries(CALLS));
    const request = { jsonrpc: '2.0', id: dice.int(1e9), method, params };
    const good = JSON.stringify(request);
    const bad = dice.pick([
      () => good,
      () => JSON.stringify({ ...request, method: dice.pick([mutateText(dice, method), 'toString', '__proto__']) }),
      () => good.replace(/"params":.*/, `"params":${mutateJson(dice, params)}}`),
      () => mutateJson(dice, request),
      () => mutateJson(dice, [request, request]),
      () => (dice.chance(0.1) ? 'x'.repeat(RPC_LINE_BYTES_MAX + 1) : `[${`${good},`.repeat(dice.int(200))}${good}]`),
    ])();
    const lines = (await exchange(bad.replaceAll('\n', ' '))).slice(1);
    holds(bugs.length === 0, `no bug: ${bugs[0]}`);
    const replies = lines.flatMap((line) => JSON.parse(line) as Reply | Reply[]);
    holds(lines.length <= 2 && replies.length > 0, 'a line has one answer at most, and the next line has its own');
    for (const { result, error } of replies) {
      holds((result === undefined) !== (error === undefined), 'an answer is a result or an error');
      if (error !== undefined) throw new SottoError(error.data.code as ErrorCode);
    }
  },
};

const answersPath = scratch('answers');
const answering = (async () => {
  const { createServer } = await import('node:net');
  const manners = { greet: '', answer: '' };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(manners.greet);
    socket.on('data', () => socket.end(manners.answer));
  }).unref();
  await new Promise<void>((resolve) => server.listen(answersPath, resolve));
  return manners;
})();

const rpcAnswers: Target = {
  name: 'answers of a daemon',
  parsers: ['src/client/rpc-client.ts RpcClient'],
  codes: ['daemon.absent', 'daemon.gone', 'contact.unknown', 'internal.bug'],
  play: async (dice) => {
    const manners = await answering;
    const greeting = { sotto: '0', rpc: 1 };
    const error = {
      code: -32003,
      message: 'no',
      data: { code: dice.pick(['contact.unknown', 'x']), details: { a: 1 } },
    };
    const reply = dice.pick<object>([
      { jsonrpc: '2.0', id: 1, result: { a: 1 } },
      { jsonrpc: '2.0', id: 1, error },
      { jsonrpc: '2.0', method: 'event', params: { kind: 'link.up' } },
    ]);
    const greets = dice.chance(0.1) ? { ...greeting, error } : greeting;
    manners.greet = `${dice.chance(0.2) ? mutateJson(dice, greets) : JSON.stringify(greets)}\n`;
    manners.answer = `${dice.chance(0.6) ? mutateJson(dice, reply) : JSON.stringify(reply)}\n`;
    const client = await RpcClient.open(answersPath);
    try {
      await client.call('account.show', {});
    } finally {
      client.close();
    }
  },
};

const callAll = async (dice: Dice, world: World, alice: Person, done: unknown[]): Promise<SottoError | undefined> => {
  const { id } = await alice.send('bob', 'hello');
  let last: SottoError | undefined;
  for (let calls = 0; calls < 25; calls++) {
    const [method, sample] = dice.pick(Object.entries(CALLS)) as [AccountMethod, object];
    const named = JSON.parse(JSON.stringify(sample).replaceAll('"ID"', JSON.stringify(id))) as object;
    let given: unknown;
    try {
      given = JSON.parse(dice.chance(0.6) ? mutateJson(dice, named) : JSON.stringify(named));
    } catch {
      continue;
    }
    if (!ACCOUNT_METHODS[method].params.safeParse(given).success) continue;
    done.push([method, given]);
    try {
      const call = alice.call(method, given as never);
      call.catch(() => {});
      await world.settle(200);
      await call;
      last = undefined;
    } catch (error) {
      if (!(error instanceof SottoError)) throw new Error(`${method} ${JSON.stringify(given)}`, { cause: error });
      last = error;
    }
  }
  return last;
};

const calls: Target = {
  name: 'calls between two people',
  parsers: [
    'src/protocol/rpc-account.ts ACCOUNT_METHODS',
    'src/core/settings.ts setSetting',
    'src/core/messages.ts checkText',
  ],
  codes: [],
  others: ERROR_CODES.filter((code) => code !== 'internal.bug'),
  play: async (dice) => {
    await using world = new World(dice.int(1e9));
    const { alice, bob } = await world.friends();
    const done: unknown[] = [];
    const last = await callAll(dice, world, alice, done);
    await world.settle(60_000);
    for (const person of [alice, bob]) {
      holds(
        Object.keys(person.account.status().refused).length === 0,
        `${person.name} takes what the other one sends: ${JSON.stringify(done)}`,
      );
      holds(person.log.unclaimed().length === 0, `${person.name} warns of ${person.log.unclaimed()[0]?.event}`);
    }
    if (last !== undefined) throw last;
  },
};

/** Everything that people and front ends write, and what is shown to them. */
export const TYPED_TARGETS: readonly Target[] = [
  addresses,
  phrases,
  times,
  screen,
  commandLines,
  searches,
  references,
  rpcLines,
  rpcAnswers,
  calls,
];
