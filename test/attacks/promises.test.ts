// What SECURITY promises of a server that lies, and what went wrong in systems before this one: each has a test that is there.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EVENT_BODY_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX, WIRE_PART_BYTES } from '../../src/protocol/limits.ts';
import { EVENT, encodeEvent, encodePart, encodePublish } from '../../src/protocol/server-frames.ts';

const titlesOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^ *(?:test|describe)(?:\.[a-z]+)*(?:\(.*\))?\(\s*['`](.*?)['`],/gm)].map(
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

/** What shipped wrong in earlier servers and clients of this kind, and the tests that fail on it here. */
const LESSONS: Readonly<Record<string, readonly (readonly [file: string, title: string])[]>> = {
  'a plaintext went beside the ciphertext': [
    ['test/rooms/memory.test.ts', 'of what is said in encrypted channels and directly nothing is in the memory'],
  ],
  'any member could read what is between two others, and a ban did not stop reading': [
    ['test/rooms/authorization.test.ts', 'nobody is answered more than the table says'],
    ['test/rooms/order.test.ts', 'reading ends with the event that ends it'],
  ],
  'client and server declared their frames apart and disagreed': [
    ['test/attacks/promises.test.ts', 'both ends import one wire, whose largest messages fit its limit'],
    ['test/rooms/files.test.ts', 'many at once, sent while the server is away, go up when it is back'],
    ['test/rooms/faults.test.ts', 'a server that is killed under load'],
  ],
  'the identity key was made anew at every start': [
    ['test/rooms/server.test.ts', 'is found again by its members after a restart, with everything that it answered'],
  ],
  'history came from a cache, and search read only so far': [
    ['test/rooms/server.test.ts', 'is found again by its members after a restart, with everything that it answered'],
    ['test/server/log-model.test.ts', 'whatever is appended, erased, pruned and restarted, the log is what a log is'],
    ['test/rooms/jobs.test.ts', 'gives the newest first, page by page, of what its reader may see'],
  ],
  'no heartbeat, no deadline for a log-in, and slow readers lost messages unseen': [
    ['test/server/listener.test.ts', 'who does not answer pings is found, whoever answers stays'],
    ['test/server/listener.test.ts', 'the first message comes within 5 s of the upgrade, and the log-in within 10 s'],
    ['test/server/listener.test.ts', 'who does not read is closed, keeps little waiting, and disturbs nobody'],
    ['test/rooms/order.test.ts', 'who comes back to more than a socket takes gets it as they read it'],
  ],
  'each message cost processes, statements and flushes of its own': [
    ['test/server/lane.test.ts', 'makes one batch of a turn, the next of what comes meanwhile'],
    ['test/server/event-log-contract.ts', 'changes commit with their event, or neither does and the batch goes on'],
  ],
  'a lockout could be turned on anybody, errors told who exists, and a second factor was replaced without the old code':
    [
      ['test/rooms/members.test.ts', 'counts tries of one member, and locks nobody else, nor a known device'],
      [
        'test/rooms/members.test.ts',
        'is asked of another device, each code once, and changed only with the present one',
      ],
      ['test/rooms/authorization.test.ts', 'at a log-in that proves nothing, or something else'],
    ],
  'health, metrics and shutdown were open to everybody': [
    ['test/rooms/serve.test.ts', 'numbers and health are on a local address, without a name'],
  ],
  'errors were sentences, without request ids, cursors or a choice of version': [
    ['test/rooms/frames.test.ts', 'every frame gets one typed error, an answer or the end of its connection'],
    ['test/attacks/server-people.test.ts', 'speaks another version'],
    ['test/server/event-log-contract.ts', 'a reader resumes from where it is, or is told that it cannot'],
  ],
  'features vanished while tests looked at tables only': [
    ['test/commands.test.ts', 'reaches every RPC method'],
    [
      'test/architecture.test.ts',
      'every clause of PROTOCOL is cited by a test, and a test cites none that is not there',
    ],
  ],
  'documents described what was not there': [['scripts/check', 'scripts/docs.ts --check']],
  'gaps in the history that nobody noticed': [
    ['test/attacks/server-channels.test.ts', 'drops'],
    ['test/attacks/server-channels.test.ts', 'leaves a hole'],
    [
      'test/rooms/devices.test.ts',
      'a device that comes is the same member, is in the channels, and says what it cannot read',
    ],
  ],
  'slower and larger with the months': [
    ['test/sim/soak.test.ts', 'take no more memory'],
    ['test/rooms/order.test.ts', 'what nobody hears any more is not kept in memory, whoever ended it'],
    ['test/rooms/order.test.ts', 'what is full again is forgotten'],
  ],
  'no search over an encrypted history': [
    ['test/rooms/talk.test.ts', 'search finds what is there, and not what was deleted'],
  ],
};

test.each(Object.entries(LESSONS))('%s: not here', (_, tests) => {
  for (const [file, words] of tests) {
    // A script has no titles: there it is what it runs.
    const said = file.endsWith('.ts') ? titlesOf(file) : readFileSync(file, 'utf8').split('\n');
    expect(
      said.filter((one) => one.includes(words)),
      `${file}: ${words}`,
    ).not.toEqual([]);
  }
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
