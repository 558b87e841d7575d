// Desktop notifications: when one is shown and what it tells, by a real command that is run under a manual clock.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Notifier } from '../../src/daemon/notify.ts';
import type { Clock } from '../../src/ports.ts';
import { TestLog } from '../../src/testing/log.ts';
import { type Person, World } from '../../src/testing/people.ts';

/** How long the command of a notification takes at most. */
const COMMAND_MS = 60;
const SHOW_MS_MAX = 5_000;

let world: World;
let alice: Person;
let bob: Person;
let dir: string;
let focused: boolean;
let notifier: Notifier;
const log = new TestLog();

/** The world's clock, but for the end of a command that takes more than 5 s: it would come before a real process is done. */
const patient = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
  after: (ms, fire) => (ms === SHOW_MS_MAX ? () => {} : clock.after(ms, fire)),
});

beforeEach(async () => {
  world = new World();
  dir = mkdtempSync(join(tmpdir(), 'sotto-notify-'));
  focused = false;
  ({ alice, bob } = await world.friends());
  const { account } = alice;
  notifier = new Notifier({
    account,
    clock: patient(world.clock),
    log,
    focused: () => focused,
    platform: process.platform,
    cwd: dir,
  });
  await set('notify.command', 'echo "$# $(cat)" >> shown; env >> env');
});
afterEach(async () => {
  notifier[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

const set = (key: string, value: string | number, conversation?: string) =>
  alice.call('config.set', { key, value, ...(conversation === undefined ? {} : { conversation }) });

const say = async (text: string): Promise<void> => {
  await bob.send('alice', text);
  await world.settle(1_000);
};

/** Lets time pass, with moments of real time in between for the commands. */
const pass = async (ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= 4_000) {
    await new Promise((done) => setTimeout(done, COMMAND_MS));
    await world.settle(Math.min(left, 4_000));
  }
  await new Promise((done) => setTimeout(done, COMMAND_MS));
};

/** What was shown once `count` notifications came, each as it stood on stdin; a moment more for one too many. */
const shown = async (count: number): Promise<string[]> => {
  const lines = () =>
    existsSync(join(dir, 'shown')) ? readFileSync(join(dir, 'shown'), 'utf8').trimEnd().split('\n') : [];
  for (let tries = 0; tries < 400 && lines().length < count; tries++) await new Promise((done) => setTimeout(done, 5));
  await new Promise((done) => setTimeout(done, COMMAND_MS));
  return lines().map((line) => (JSON.parse(line.slice(2)) as { body: string }).body);
};

describe('notifications', () => {
  test('are off until set', async () => {
    await say('hello');
    expect(await shown(0)).toEqual([]);
  });

  test('tell how many, or who, and never a text', async () => {
    await set('notify.level', 'count');
    await say('canary');
    expect(await shown(1)).toEqual(['1 new message']);
    await set('notify.level', 'name');
    await pass(10_000);
    await say('canary');
    expect(await shown(2)).toEqual(['1 new message', '1 new message from bob']);
    for (const file of ['shown', 'env']) expect(readFileSync(join(dir, file), 'utf8')).not.toContain('canary');
    expect(readFileSync(join(dir, 'shown'), 'utf8')).toMatch(/^0 \{/);
  });

  test('are set for one conversation, and silent for one that is muted', async () => {
    const carol = await world.person('carol');
    await world.befriend(carol, alice);
    await set('notify.level', 'name', 'carol');
    await say('from bob');
    await carol.send('alice', 'from carol');
    await world.settle(1_000);
    expect(await shown(1)).toEqual(['1 new message from carol']);
    await alice.call('conversation.mute', { conversation: 'carol', until: world.clock.now() + 14_000 });
    await pass(12_000);
    await carol.send('alice', 'muted');
    await pass(12_000);
    await pass(4_000);
    await carol.send('alice', 'heard again');
    await world.settle(1_000);
    expect(await shown(2)).toHaveLength(2);
  });

  test('that could not be shown are told until one is', async () => {
    await set('notify.level', 'count');
    expect(notifier.trouble()).toBeUndefined();
    await set('notify.command', 'cat; exit 3');
    await say('one');
    await pass(4_000);
    expect(notifier.trouble()).toMatch(/3/);
    await set('notify.command', 'cat');
    await pass(10_000);
    await say('two');
    await pass(4_000);
    expect(notifier.trouble()).toBeUndefined();
  });

  test('come at most once in ten seconds; what came in between is told together', async () => {
    await set('notify.level', 'count');
    await say('one');
    expect(await shown(1)).toHaveLength(1);
    for (const text of ['two', 'three', 'four']) await say(text);
    await pass(5_000);
    expect(await shown(1)).toHaveLength(1);
    await pass(1_500);
    expect(await shown(2)).toEqual(['1 new message', '3 new messages']);
  });

  test('tell nothing that was read, muted or switched off while it waited for its turn', async () => {
    await set('notify.level', 'count');
    const quiet: (() => Promise<unknown>)[] = [
      () => alice.call('conversation.markRead', { conversation: 'bob' }),
      () => alice.call('conversation.mute', { conversation: 'bob' }),
      () => set('notify.level', 'none'),
    ];
    for (const [place, silence] of quiet.entries()) {
      await say('first');
      await say('waits');
      await silence();
      await pass(12_000);
      expect(await shown(place + 1)).toEqual(Array(place + 1).fill('1 new message'));
      await alice.call('conversation.unmute', { conversation: 'bob' });
    }
    await set('notify.level', 'name');
    await say('first');
    await say('waits');
    await set('notify.level', 'count');
    await pass(12_000);
    expect(await shown(5)).toEqual([...Array(3).fill('1 new message'), '1 new message from bob', '1 new message']);
  });

  test('do not come while a front end has the eyes of the user, neither then nor later', async () => {
    await set('notify.level', 'count');
    focused = true;
    await say('seen');
    await pass(12_000);
    focused = false;
    await say('unseen');
    focused = true;
    await say('seen');
    focused = false;
    await pass(12_000);
    await say('unseen');
    await say('waits for its turn');
    focused = true;
    await pass(12_000);
    await say('seen');
    focused = false;
    await pass(12_000);
    for (const text of ['one', 'two', 'three']) await say(text);
    await pass(12_000);
    expect((await shown(4)).sort()).toEqual([...Array(3).fill('1 new message'), '2 new messages']);
  });

  test('do not come in quiet hours, also over midnight', async () => {
    await set('notify.level', 'count');
    const hour = (offset: number) => {
      const date = new Date(world.clock.now() + offset * 3_600_000);
      return `${String(date.getHours()).padStart(2, '0')}:00`;
    };
    // The last goes over midnight at any time of the day.
    for (const quiet of [`${hour(-10)}-${hour(2)}`, `${hour(-1)}-${hour(1)}`, `${hour(-11)}-${hour(12)}`]) {
      await set('notify.quietHours', quiet);
      await say('quiet');
      await pass(12_000);
    }
    expect(await shown(0)).toEqual([]);
    await set('notify.quietHours', `${hour(2)}-${hour(12)}`);
    await say('loud');
    expect(await shown(1)).toEqual(['1 new message']);
  });

  test('are shown by what the system has: a name is on the command line of notify-send only', async () => {
    notifier[Symbol.dispose]();
    await set('notify.command', '');
    await set('notify.level', 'name');
    const path = process.env.PATH;
    process.env.PATH = `${dir}:${path}`;
    for (const program of ['notify-send', 'osascript'])
      writeFileSync(join(dir, program), `#!/bin/sh\necho "${program} $* $(cat)" >> system\n`, { mode: 0o700 });
    const { account } = alice;
    try {
      for (const platform of ['linux', 'darwin']) {
        notifier = new Notifier({
          account,
          clock: patient(world.clock),
          log,
          focused: () => false,
          platform,
          cwd: dir,
        });
        await say('hello');
        await pass(12_000);
        notifier[Symbol.dispose]();
      }
    } finally {
      process.env.PATH = path;
    }
    expect(readFileSync(join(dir, 'system'), 'utf8').trimEnd().split('\n')).toEqual([
      'notify-send --app-name=sotto sotto 1 new message from bob ',
      'osascript  display notification "1 new message from bob" with title "sotto"',
    ]);
  });
});
