// Real programs on machines that are not well: a clock that jumps, a disk that is slow. Nothing is lost or there twice.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';
import { Program } from './program.ts';

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
const dir = mkdtempSync(join(tmpdir(), 'sotto-machine-'));
const flushes = join(dir, 'flushes');
/** Runs a program whose flushes take 50 ms longer, and are noted with the names of their files. */
const SLOWLY = [
  ...['strace', '-D', '-f', '--seccomp-bpf', '-qq', '-y', '-o', flushes, '-e', 'signal=none'],
  ...['-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:delay_exit=50000'],
];
const canBeSlow = spawnSync('strace', [...SLOWLY.slice(1), 'true']).status === 0;

/** A clock that is off by what is set. */
class Watch {
  readonly #path: string;

  constructor(name: string) {
    this.#path = join(dir, name);
    this.set(0);
  }

  set(aheadMs: number): void {
    writeFileSync(`${this.#path}.new`, String(aheadMs));
    renameSync(`${this.#path}.new`, this.#path);
  }

  get environment(): Record<string, string> {
    return { NODE_OPTIONS: `--require=${resolve('test/rooms/clock.cjs')}`, SOTTO_TEST_CLOCK: this.#path };
  }
}

const [theirs, hers] = [new Watch('clock-of-server'), new Watch('clock-of-alice')];
const under = ['env', ...Object.entries(theirs.environment).map(([name, value]) => `${name}=${value}`)];
const server = new Program(join(dir, 'server'), under);
let house: House;
let alice: Guest;
let bob: Guest;

beforeAll(async () => {
  await server.start();
  ({ house, alice, bob } = await House.around(server, 'alice', 'bob'));
  alice.disconnect();
  await alice.user.ok('daemon', 'stop');
  await alice.user.ok('daemon', 'start', { env: hers.environment });
  await alice.connect();
  await alice.call('channel.create', { name: '#sick', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#sick', member: 'bob' });
  await bob.call('channel.join', { channel: '#sick' });
});
afterAll(async () => {
  await house[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

/** Both talk without a pause, until `end`, which looks whether all that was answered stands once, and the same for both. */
const talking = (name: string) => {
  let isOver = false;
  const answered: string[] = [];
  const talk = async (guest: Guest) => {
    for (let n = 0; !isOver; n++) {
      const text = `${name}: ${guest.name} ${n}`;
      const { reached } = await guest.call('message.send', { conversation: '#sick', text, wait: 'sent' });
      expect(reached, text).toBe(true);
      answered.push(text);
    }
  };
  const both = Promise.all([talk(alice), talk(bob)]);
  const more = (count: number) => {
    const wanted = answered.length + count;
    return Promise.race([both, alice.sees('more answers', async () => answered.length >= wanted)]);
  };
  const end = async () => {
    isOver = true;
    await both;
    for (const text of answered.slice(-2)) for (const guest of [alice, bob]) await guest.reads('#sick', text);
    const [mine, others] = [await alice.bodies('#sick'), await bob.bodies('#sick')];
    expect(others).toEqual(mine);
    expect(mine.filter((body) => body.startsWith(name)).sort()).toEqual([...answered].sort());
    for (const guest of [alice, bob]) expect((await guest.call('channel.show', { channel: '#sick' })).gaps).toEqual([]);
  };
  return { more, end };
};

test('a clock that jumps, the server’s or a member’s', async () => {
  const { more, end } = talking('clock');
  await more(4);
  for (const watch of [theirs, hers])
    for (const aheadMs of [40 * MINUTE, -2 * DAY, 0].map((ms) => (watch === theirs ? -ms : ms))) {
      watch.set(aheadMs);
      await more(4);
    }
  await end();
  // It has jumped; the times of the log never go back.
  expect((await bob.messages('#sick')).at(-1)?.sentAt).toBeGreaterThan(Date.now() + DAY);
});

test('who is ahead by more than a server takes an id can say everything all the same', async () => {
  hers.set(120 * MINUTE);
  for (const to of ['#sick', 'bob@home']) await alice.say(to, 'too early');
  // Under a key that is given anew.
  await alice.call('channel.rotate', { channel: '#sick' });
  await alice.say('#sick', 'still too early');
  await bob.reads('#sick', 'still too early');
  await bob.reads('alice@home', 'too early');
  await alice.call('channel.create', { name: '#early', encryption: 'open' });
  hers.set(0);
});

test('what waits longer than a server takes an id goes out under another one, and is there once', async () => {
  await alice.call('config.set', { key: 'outbox.expiresMs', value: 60 * DAY });
  await alice.say('bob@home', 'hello');
  await server.stop();
  await alice.sees('that it is away', async () => (await alice.call('server.list', {}))[0]?.state !== 'online');
  const send = async (conversation: string, text: string, more = {}) =>
    (await alice.call('message.send', { conversation, text, ...more })).message;
  const root = await send('#sick', 'long ago');
  await send('#sick', 'an answer to it', { replyTo: root.id, thread: root.id });
  const direct = await send('bob@home', 'long ago');
  for (const watch of [theirs, hers]) watch.set(40 * DAY);
  await server.start();
  for (const guest of [alice, bob]) await guest.call('server.retry', { server: 'home' });
  const answer = await bob.reads('#sick', 'an answer to it');
  await bob.reads('alice@home', 'long ago');
  const mine = (await alice.messages('#sick')).slice(-2);
  const others = (await bob.messages('#sick')).slice(-2);
  expect(mine.map(({ body, state }) => [body, state])).toEqual([
    ['long ago', 'sent'],
    ['an answer to it', 'sent'],
  ]);
  expect(mine.map(({ id }) => id)).toEqual(others.map(({ id }) => id));
  expect(mine[0]?.id).not.toBe(root.id);
  for (const one of [mine[1], answer]) expect([one?.replyTo, one?.thread]).toEqual([mine[0]?.id, mine[0]?.id]);
  expect((await bob.messages('alice@home')).map(({ id }) => id).at(-1)).toBe(direct.id);
  for (const watch of [theirs, hers]) watch.set(0);
});

test('a server’s clock that is put right by more than it takes an id: who is connected goes on', async () => {
  const steps = [
    () => alice.say('#sick', 'put right'),
    () => alice.say('bob@home', 'put right'),
    () => alice.call('channel.rotate', { channel: '#sick' }),
    () => alice.call('channel.create', { name: '#right', encryption: 'open' }),
  ];
  let [is, was] = [-4 * HOUR, 40 * DAY];
  for (const step of steps) {
    [is, was] = [was, is];
    theirs.set(was);
    await alice.say('#sick', 'by another time');
    theirs.set(is);
    await step();
  }
  await bob.reads('#sick', 'put right');
  await bob.reads('alice@home', 'put right');
  theirs.set(0);
});

test.skipIf(!canBeSlow)('a disk that is slow (by strace): each answer waits for it, who reads does not', async () => {
  await server.stop();
  under.push(...SLOWLY);
  await server.start();
  for (const guest of [alice, bob]) await guest.call('server.retry', { server: 'home' });
  const { more, end } = talking('disk');
  await more(4);
  for (let reads = 0; reads < 4; reads++) await bob.call('server.devices', {});
  await more(1);
  await server.stop('SIGKILL');
  await server.start();
  await more(4);
  await end();
  const done = () =>
    readFileSync(flushes, 'utf8')
      .split('\n')
      .filter((line) => line.includes('-wal>') && line.includes('= 0')).length;
  for (const text of ['one', 'two', 'three']) {
    const before = done();
    await alice.say('#sick', text);
    expect(done()).toBeGreaterThan(before);
  }
});
