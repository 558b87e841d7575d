// Hooks as their owner writes them: real scripts, run for what really comes in.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runChild } from '../../src/daemon/child.ts';
import { Hooks } from '../../src/daemon/hooks.ts';
import { systemClock } from '../../src/machine.ts';
import { type Person, World } from '../../src/testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;
let hooks: Hooks | undefined;
let logged: { readonly event: string; readonly output: unknown }[] = [];
const folder = () => join(world.dir, 'hooks/on-message.d');

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  mkdirSync(folder(), { recursive: true });
  logged = [];
});
afterEach(async () => {
  vi.unstubAllEnvs();
  hooks?.[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const open = (): Hooks => {
  hooks?.[Symbol.dispose]();
  hooks = new Hooks({
    account: bob.account,
    db: bob.db,
    dir: join(world.dir, 'hooks'),
    clock: systemClock,
    log: { ...quiet, info: (event, fields) => void logged.push({ event, output: fields?.output }) },
  });
  return hooks;
};
const hook = (name: string, script: string, mode = 0o700): void => {
  writeFileSync(join(folder(), name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder(), name), mode);
};
const out = (name: string) => join(world.dir, name);
const linesOf = (name: string): string[] =>
  existsSync(out(name)) ? readFileSync(out(name), 'utf8').split('\n').filter(Boolean) : [];
const until = async (what: () => boolean): Promise<void> => {
  for (let i = 0; i < 3_000 && !what(); i++) await new Promise((done) => setTimeout(done, 20));
  expect(what()).toBe(true);
};
const say = async (...texts: string[]): Promise<void> => {
  for (const text of texts) await alice.send(bob, text);
  await world.settle();
};
const bodiesOf = (name: string) => linesOf(name).map((line) => JSON.parse(line).message.body);

describe('a hook', () => {
  test('gets each event as JSON on stdin, in order; nothing of it in arguments or environment', async () => {
    hook('a', `cat >> ${out('got')}; echo "$# $*" >> ${out('argv')}; env >> ${out('env')}`);
    open();
    const texts = ['one', '$(touch pwned)', 'three "quoted"\nand a second line'];
    await say(...texts);
    await until(() => linesOf('got').length === 3);
    expect(bodiesOf('got')).toEqual(texts);
    expect(JSON.parse(linesOf('got')[0] ?? '')).toMatchObject({ kind: 'message.received', message: { from: 'alice' } });
    expect(new Set(linesOf('argv'))).toEqual(new Set(['0 ']));
    expect(readFileSync(out('env'), 'utf8')).not.toMatch(/pwned|alice/);
  });

  test('gets what others do with messages, and nothing of what I do', async () => {
    hook('a', `cat >> ${out('got')}`);
    open();
    await say('one', 'two');
    await bob.send(alice, 'mine');
    await world.settle();
    const [one, two, mine] = await bob.call('message.list', { conversation: 'alice' }).then(({ messages }) => messages);
    const ids = { id: mine?.id ?? '' };
    await bob.call('message.react', { id: one?.id ?? '', emoji: '👍' });
    await bob.call('message.edit', { ...ids, text: 'mine still' });
    await alice.call('message.edit', { id: one?.id ?? '', text: 'one more' });
    await alice.call('message.react', { ...ids, emoji: '👀' });
    await alice.call('message.delete', { id: two?.id ?? '' });
    await world.settle();
    const got = () =>
      linesOf('got').map((line) => {
        const { kind, message } = JSON.parse(line);
        return `${kind} ${message.body}`;
      });
    await until(() => got().length === 5);
    expect(got().slice(2)).toEqual(['message.edited one more', 'message.reacted mine still', 'message.deleted ']);
  });

  test('gets what finds programs and the desktop, and nothing else of the shell that started the daemon', async () => {
    const shell = { SOTTO_PASSPHRASE_FILE: '/secret/file', CLOUD_KEY: 'hunter2', DISPLAY: ':7', LC_TIME: 'C' };
    for (const [name, value] of Object.entries(shell)) vi.stubEnv(name, value);
    hook('a', `env > ${out('env')}; cat >> ${out('got')}`);
    open();
    await say('one');
    await until(() => linesOf('got').length === 1);
    const names = linesOf('env').map((line) => line.split('=')[0]);
    expect(names).toEqual(expect.arrayContaining(['PATH', 'HOME', 'DISPLAY', 'LC_TIME']));
    expect(readFileSync(out('env'), 'utf8')).not.toMatch(/SOTTO|secret|hunter2/);
  });

  test('goes on where it was after a restart, and a new one begins with what comes next', async () => {
    await say('before');
    hook('a', `cat >> ${out('got')}`);
    open()[Symbol.dispose]();
    await say('while down');
    open();
    await until(() => linesOf('got').length === 1);
    expect(bodiesOf('got')).toEqual(['while down']);
  });

  test('that fails is tried three times, then the event is given up, told, and the next one comes', async () => {
    hook(
      'a',
      `read line; echo "$line" >> ${out('tries')}; case "$line" in *bad*) exit 3;; esac; echo "$line" >> ${out('got')}`,
    );
    const all = open();
    await say('bad', 'good');
    await until(() => linesOf('got').length === 1);
    expect(bodiesOf('tries')).toEqual(['bad', 'bad', 'bad', 'good']);
    hook('b', 'exit 4');
    open();
    await say('again');
    await until(() =>
      all.list().some(({ name, detail }) => name === 'b' && /gave up on event \d+ after 3 tries/.test(detail)),
    );
    expect(all.list()).toMatchObject([
      { name: 'a', ok: true },
      { name: 'b', ok: false },
    ]);
  });

  test('is refused while others can change it or it cannot be run, and runs once that is mended', async () => {
    hook('a', `cat >> ${out('got')}`, 0o722);
    hook('b', `cat >> ${out('got')}`, 0o600);
    const all = open();
    await say('one');
    expect(all.list().map(({ detail }) => detail)).toEqual([
      'can be changed by others: chmod go-w',
      'is not executable: chmod u+x',
    ]);
    expect(linesOf('got')).toEqual([]);
    chmodSync(join(folder(), 'a'), 0o700);
    await say('two');
    await until(() => linesOf('got').length === 2);
    expect(bodiesOf('got')).toEqual(['one', 'two']);
  });

  test('runs beside three others at most, and none is forgotten', async () => {
    const go = `while [ ! -e ${out('go')} ]; do sleep 0.05; done`;
    const track = `echo + >> ${out('now')}; ${go}; echo - >> ${out('now')}; cat >> ${out('got')}`;
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) hook(name, track);
    open();
    await say('one');
    await until(() => linesOf('now').length === 4);
    // Time for a fifth.
    await new Promise((done) => setTimeout(done, 300));
    expect(linesOf('now')).toEqual(['+', '+', '+', '+']);
    writeFileSync(out('go'), '');
    await until(() => linesOf('got').length === 6);
    let [running, most] = [0, 0];
    for (const line of linesOf('now')) {
      running += line === '+' ? 1 : -1;
      most = Math.max(most, running);
    }
    expect(most).toBe(4);
  });

  test('has 64 KiB of its output in the log and no more', async () => {
    hook('a', `cat > /dev/null; head -c 200000 /dev/zero | tr '\\0' x`);
    open();
    await say('one');
    await until(() => logged.length === 1);
    expect(logged).toEqual([{ event: 'hook.ran', output: 'x'.repeat(64 * 1024) }]);
  });

  test('fills no memory with what it writes beyond that', async () => {
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const looking = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }, 5);
    const many = ['-c', '1G', '/dev/zero'];
    const ran = await runChild('head', many, {
      input: '',
      ms: 60_000,
      outputBytes: 1_000,
      clock: systemClock,
      cwd: '/',
    });
    clearInterval(looking);
    expect([ran.ok, ran.output.length]).toEqual([true, 1_000]);
    expect(most).toBeLessThan(200 * 1024 * 1024);
  });
});
