// What SECURITY promises of a server that lies, what went wrong in systems before this one, and what must always be true: each
// has a test that is there.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EVENT_BODY_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX, WIRE_PART_BYTES } from '../../src/protocol/limits.ts';
import { EVENT, encodeEvent, encodePart, encodePublish } from '../../src/protocol/server-frames.ts';
import { DIRECT_LESSONS, INVARIANTS, SERVER_LESSONS } from './lessons.ts';

const titlesOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^ *(?:test|describe)(?:\.[a-zA-Z]+)*(?:\(.*\))?\(\s*['`](.*?)['`],/gm)].map(
    ([, title = '']) => title,
  );

test('every row of a server that lies names its tests, and every such test has a row', () => {
  const [, table = ''] = /## A server that lies\n(.*?)\n## /s.exec(readFileSync('SECURITY.md', 'utf8')) ?? [];
  const rows = table.split('\n').filter((line) => line.startsWith('| ') && line.includes('`server-'));
  expect(rows.length).toBeGreaterThan(20);
  const named: string[] = [];
  for (const row of rows) {
    const tests = row.split(' | ').at(-1)?.replace(/ \|$/, '') ?? '';
    let file = '';
    for (const one of tests.split(', ')) {
      const [, inFile, words = one] = /^`([a-z-]+)` (.*)$/.exec(one) ?? [];
      file = inFile ?? file;
      const found = titlesOf(`test/attacks/${file}.test.ts`).filter((title) => title.startsWith(words));
      // A title may have commas: what begins none goes on with the one before.
      if (found.length === 0 && inFile === undefined) continue;
      expect([one, found.length]).toEqual([one, 1]);
      named.push(`${file} ${found[0]}`);
    }
  }
  const all = ['server-channels', 'server-people'].flatMap((file) =>
    titlesOf(`test/attacks/${file}.test.ts`).map((title) => `${file} ${title}`),
  );
  // That one is no lie.
  expect(all.filter((one) => !named.includes(one))).toEqual([
    'server-people speaks another version: who asks is told which work',
  ]);
});

const LESSONS = { ...SERVER_LESSONS, ...DIRECT_LESSONS };

test.each([
  ...Object.entries(LESSONS).map(([what, tests]) => [`${what}: not here`, tests] as const),
  ...Object.entries(INVARIANTS),
])('%s', (_, tests) => {
  for (const [file, words] of tests) {
    // A script has no titles: there it is what it runs.
    const said = file.endsWith('.ts') ? titlesOf(file) : readFileSync(file, 'utf8').split('\n');
    expect(
      said.filter((one) => one.includes(words)),
      `${file}: ${words}`,
    ).not.toEqual([]);
  }
});

// Limits of one function's own work, of what it tells or waits for, of a standard, or that follow from those of the wires.
const ELSEWHERE = `
  core/channel-json KNOWN_MAX  core/missing MISSING_MAX  core/references CANDIDATES_MAX SAID_MAX  core/room-apply IDS_TAKEN_MAX
  core/room-control REACH_MS_MAX EVENT_MS_MAX RATE_MS_MAX  core/room-messages ERASED_MS_MAX  core/room-outbox ID_MS_MAX
  core/room-places DATE_MS_MAX  core/room-receipts WAIT_MS_MAX  core/room-send STUCK_TOLD_MAX  crypto/member SERIAL_MAX
  crypto/signal-stores ADDRESSES_KEPT_MAX  daemon/doctor PUBLISHED_MS_MAX  daemon/notify SHOW_MS_MAX
  net/records CELLS_MAX CONTENT_BYTES_MAX JOINED_BYTES_MAX  net/server-link HEADER_BYTES_MAX  net/tor-process STOP_MS_MAX
  protocol/invite-link LINK_CHARS_MAX  protocol/near SLIPS_MAX NEAR_MAX  protocol/room-history HISTORY_SIGNED_BYTES_MAX
  protocol/safe-text MARKS_MAX  protocol/search-words TERMS_MAX  protocol/websocket CONTROL_BYTES_MAX
  protocol/word-list NEIGHBOURS_MAX  server/check WRONG_MAX  server/connection COPIED_BYTES_MAX GATHERED_MAX
  server/serve-config RATE_MAX PORT_MAX  sqlite/open RECALLED_MAX`;

test('a limit that is not in the file of limits is one of these, and both ends of each wire import that file', () => {
  const found = (readdirSync('src', { recursive: true }) as string[])
    .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|^(cli|client|lab|testing)\/|\/limits\.ts$/.test(name))
    .flatMap((name) => {
      const text = readFileSync(join('src', name), 'utf8');
      return [...text.matchAll(/^(?:export )?const (?!U\d+_)(\w+_MAX)\b/gm)].map(
        ([, limit]) => `${name.slice(0, -3)} ${limit}`,
      );
    });
  let file = '';
  const known = ELSEWHERE.trim()
    .split(/\s+/)
    .flatMap((word) => {
      if (!word.includes('/')) return [`${file} ${word}`];
      file = word;
      return [];
    });
  expect(found.sort()).toEqual(known.sort());
  for (const end of ['daemon/socket', 'client/rpc-client', 'net/link', 'server/connection', 'net/server-link'])
    expect(readFileSync(`src/${end}.ts`, 'utf8')).toMatch(/from '\.\.\/protocol\/limits\.ts'/);
});

test('both ends import one wire, whose largest messages fit its limit', () => {
  for (const file of ['src/core/server-client.ts', 'src/server/session.ts'])
    expect(readFileSync(file, 'utf8')).toMatch(/from '\.\.\/protocol\/server\.ts'/);
  const [id, body] = ['ab'.repeat(16), new Uint8Array(EVENT_BODY_BYTES_MAX)];
  const event = {
    request: 1,
    channel: id,
    epoch: 1,
    seq: 1,
    id,
    member: id,
    at: 1,
    kind: EVENT.content,
    erased: false,
  };
  for (const bytes of [
    encodeEvent({ ...event, body }),
    encodePublish({ request: 1, channel: id, id, kind: EVENT.content, checkedAt: 1, ttlSeconds: 0, sealed: 0, body }),
    encodePart({ request: 1, upload: id, offset: 0, body: new Uint8Array(WIRE_PART_BYTES) }),
  ])
    expect(bytes.length).toBeLessThan(SERVER_MESSAGE_BYTES_MAX);
});
