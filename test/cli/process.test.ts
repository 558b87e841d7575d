// How commands and daemons behave as processes: signals, races, streams and the terminal.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { furnish } from '../daemon/furnished.ts';
import { run, Stage, type User } from '../e2e/stage.ts';
import { onTerminal } from './terminal.ts';

const OFFLINE = '[tor]\noffline = true\n';

let stage: Stage;
let alice: User;
beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage);
});
afterAll(() => stage[Symbol.asyncDispose]());

type Line = { msg: string; changed?: boolean; message?: string };

describe('a daemon', () => {
  test('that two commands start at once is one, and both commands succeed', async () => {
    const both = await Promise.all([alice.run('status'), alice.run('status'), alice.run('id')]);
    expect(both.map((one) => one.code)).toEqual([0, 0, 0]);
    const pids = both.slice(0, 2).map((one) => (one.items[0] as { daemon: { pid: number } }).daemon.pid);
    expect(pids[0]).toBe(pids[1]);
    expect(await alice.pid()).toBe(pids[0]);
  });

  test('reads config.toml again at SIGHUP; a bad one is refused whole and said in the log', async () => {
    const pid = await alice.pid();
    const last = async (msg: string): Promise<Line> =>
      alice.until(msg, async () => (await alice.items<Line>('daemon', 'logs')).findLast((line) => line.msg === msg));
    stage.configure(`${OFFLINE}[log]\nlevel = "loud"\n`);
    process.kill(pid, 'SIGHUP');
    expect((await last('config.refused')).message).toContain('log.level');
    expect((await alice.one<{ tor: { state: string } }>('status')).tor.state).toBe('off');
    expect((await alice.run('daemon', 'reload')).error).toMatchObject({ code: 'config.invalid' });
    stage.configure('[tor]\nbinary = "/nowhere/tor"\n');
    process.kill(pid, 'SIGHUP');
    expect((await last('config.reloaded')).changed).toBe(true);
    await alice.until(
      'tor to be missed',
      async () => (await alice.one<{ tor: { state: string } }>('status')).tor.state === 'failed',
    );
    stage.configure(OFFLINE);
    await alice.ok('daemon', 'reload');
    expect(await alice.pid()).toBe(pid);
  });

  test('ends at SIGTERM and SIGINT, and leaves no socket', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.kill(await alice.pid(), signal);
      await alice.until('the end', async () => !(await alice.one<{ running: boolean }>('daemon', 'status')).running);
      expect((await alice.run('--no-start', 'status')).error).toMatchObject({ code: 'daemon.absent', exit: 4 });
    }
  });
});

describe('a command', () => {
  test('shows progress on stderr of a terminal only, and never on stdout', async () => {
    const send = `head -c 100000 /dev/zero | bin/sotto --data-dir ${stage.dir} file send bob - --name zeros`;
    const { shown } = await onTerminal(`${send} > /dev/null`, []);
    expect(shown).toContain('reading stdin');
    const quiet = await onTerminal(`${send} --quiet > /dev/null`, []);
    expect(quiet.shown).toBe('');
    const piped = await run(['--data-dir', stage.dir, 'file', 'send', 'bob', '-'], { input: 'zeros' });
    expect([piped.code, piped.err]).toEqual([0, '']);
    expect(piped.out.toString()).not.toMatch(/reading|\u001b/);
  });

  test('uses colour on a terminal, and none with NO_COLOR', async () => {
    const make = (name: string) =>
      `bin/sotto --data-dir ${stage.dir} --account ${name} init --no-passphrase > /dev/null < /dev/null`;
    const coloured = await onTerminal(make('one'), []);
    const plain = await onTerminal(make('two'), [], { NO_COLOR: '1' });
    expect(coloured.shown).toMatch(/\u001b\[2mwarning:/);
    expect(plain.shown).toMatch(/^warning:/);
    for (const name of ['one', 'two']) await stage.stranger(name).ok('daemon', 'stop');
  });

  test('exits as the contract says', async () => {
    const exits = async (...words: string[]) => (await alice.run(...words)).code;
    expect(await exits('status')).toBe(0);
    expect(await exits('nonsense')).toBe(2);
    expect(await exits('contact', 'show', 'nobody')).toBe(3);
    expect(await exits('contact', 'ping', 'bob')).toBe(4);
    expect(await exits('send', 'bob', 'late', '--wait', 'sent')).toBe(4);
    expect(await exits('listen', '--timeout', '50ms')).toBe(5);
    expect(await exits('contact', 'rename', 'bob', '')).toBe(2);
    expect(await exits('contact', 'add', 'sotto:nonsense')).toBe(8);
  });
});
