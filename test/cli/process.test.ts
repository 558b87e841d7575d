// How commands and daemons behave as processes: signals, races, streams and the terminal.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventText } from '../../src/cli/show-state.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { makeVault } from '../../src/crypto/vault.ts';
import { RPC_CONNECTIONS_MAX } from '../../src/protocol/limits.ts';
import { UPGRADING } from '../../src/protocol/version.ts';
import { writeDurably } from '../../src/sqlite/durable.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { migrate } from '../../src/store/migrations.ts';
import { SCHEMA_1 } from '../../src/store/schema-1.ts';
import { KEY } from '../../src/testing/people.ts';
import { furnish, pathsOf } from '../daemon/furnished.ts';
import { run, Stage, type User } from '../e2e/stage.ts';
import { argumentsOf, daemonsOf } from './daemons.ts';
import { interrupt } from './interrupt.ts';
import { onTerminal } from './terminal.ts';

const OFFLINE = '[tor]\noffline = true\n';

let stage: Stage;
let alice: User;
beforeAll(async () => {
  stage = new Stage({ offline: true, processes: true });
  alice = await furnish(stage);
});
afterAll(() => stage[Symbol.asyncDispose]());

type Event = { kind: string; cursor?: string };
type Line = { msg: string; changed?: boolean; message?: string };

const daemons = (): number[] => daemonsOf(stage.dir);

describe('a daemon', () => {
  test('that two commands start at once is one, and both commands succeed', async () => {
    const both = await Promise.all([alice.run('status'), alice.run('status'), alice.run('id')]);
    expect(both.map((one) => one.code)).toEqual([0, 0, 0]);
    const pids = both.slice(0, 2).map((one) => (one.items[0] as { daemon: { pid: number } }).daemon.pid);
    expect(pids[0]).toBe(pids[1]);
    // Who lost the race ends, soon after its command.
    await alice.until('one daemon', async () => daemons().length === 1);
    expect([await alice.pid(), ...daemons()]).toEqual([pids[0], pids[0]]);
    expect(readFileSync(`/proc/${pids[0]}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 /m);
    const flags = '--disable-sigusr1 --max-semi-space-size=4 --max-old-space-size=512';
    expect(argumentsOf(pids[0] ?? 0)).toContain(flags);
  });

  test('of an account that an older version has written says that it takes a while, to who waits for it', async () => {
    const old = stage.stranger('old');
    const paths = pathsOf(old);
    mkdirSync(paths.dir, { recursive: true, mode: 0o700 });
    writeDurably(paths.vault, await makeVault(KEY, undefined));
    const db = openDatabase(paths.database, KEY);
    migrate(db, { migrations: [SCHEMA_1] });
    db.exec(readFileSync('test/compat/schema-1-rows.sql', 'utf8'));
    db[Symbol.dispose]();
    const { code, err } = await old.run('contact', 'list', { json: false });
    expect([code, err]).toEqual([0, expect.stringContaining(UPGRADING)]);
    expect((await old.run('contact', 'list', { json: false })).err).not.toContain(UPGRADING);
    await old.ok('account', 'remove', '--confirm', 'old');
  });

  test('goes on when two commands make an account at once, of which one has made it', async () => {
    const pair = stage.stranger('pair');
    const made = await Promise.all([1, 2].map(() => pair.run('init', '--no-passphrase')));
    expect(made.map(({ code }) => code).sort()).toEqual([0, 7]);
    expect((await pair.one<{ running: boolean }>('daemon', 'status')).running).toBe(true);
    await pair.ok('account', 'remove', '--confirm', 'pair');
  });

  test('reads config.toml again at SIGHUP; a bad one is refused whole and said in the log', async () => {
    const pid = await alice.pid();
    const last = async (msg: string): Promise<Line> =>
      alice.until(msg, async () => (await alice.items<Line>('daemon', 'logs')).findLast((line) => line.msg === msg));
    stage.configure(`${OFFLINE}[log]\nlevel = "loud"\n`);
    process.kill(pid, 'SIGHUP');
    expect((await last('config.refused')).message).toContain('log.level');
    expect((await alice.one<{ tor: { state: string } }>('status')).tor.state).toBe('off');
    expect((await alice.run('daemon', 'reload')).error?.message).toMatch(
      /config\.toml: log\.level must be one of debug, info, warn, error$/,
    );
    stage.configure(`${OFFLINE}ofline = true\n`);
    expect((await alice.run('daemon', 'reload')).error).toMatchObject({
      code: 'config.invalid',
      message: expect.stringMatching(/config\.toml: tor\.ofline: there is no such setting$/),
    });
    stage.configure('[tor]\nbinary = "/nowhere/tor"\n');
    process.kill(pid, 'SIGHUP');
    expect((await last('config.reloaded')).changed).toBe(true);
    await alice.until(
      'tor to be missed',
      async () => (await alice.one<{ tor: { state: string } }>('status')).tor.state === 'failed',
    );
    const told = async () => (await alice.items<Line>('daemon', 'logs')).filter(({ msg }) => msg === 'config.reloaded');
    for (const [level, more] of [
      ['error', 0],
      ['info', 1],
    ] as const) {
      const before = (await told()).length;
      stage.configure(`${OFFLINE}[log]\nlevel = "${level}"\n`);
      await alice.ok('daemon', 'reload');
      expect((await told()).length - before).toBe(more);
    }
    expect(await alice.pid()).toBe(pid);
  });

  test('ends also while its Tor takes the control connection and says nothing', async () => {
    stage.useFalseTor('silent');
    await alice.ok('daemon', 'reload');
    const asked = join(stage.dir, 'accounts/alice/tor/torrc.asked');
    await alice.until('Tor to be asked', () => Promise.resolve(existsSync(asked)));
    await alice.ok('daemon', 'stop', '--timeout', '20s');
    stage.configure(OFFLINE);
  });

  test('of an account that was made for rooms only starts no Tor, until its setting is another', async () => {
    stage.configure('[tor]\nbinary = "/nowhere/tor"\n');
    const tor = async (user: User) => (await user.one<{ tor: { state: string } }>('status')).tor.state;
    const rea = stage.stranger('rea');
    const { recoveryPhrase } = await rea.one<{ recoveryPhrase: string }>('init', '--no-passphrase', '--no-tor');
    expect((await rea.run('daemon', 'start', '--wait', 'online')).error).toMatchObject({ code: 'tor.offline' });
    const bill = stage.stranger('bill');
    await bill.ok('restore', '-', '--no-passphrase', '--no-tor', { input: recoveryPhrase });
    expect([await tor(rea), await tor(bill)]).toEqual(['off', 'off']);
    await rea.ok('config', 'set', 'network.tor', 'on');
    expect(await tor(rea)).toBe('off');
    await rea.ok('daemon', 'reload');
    await rea.until('tor to be missed', async () => (await tor(rea)) === 'failed');
    stage.configure(OFFLINE);
    await Promise.all([rea, bill].map((user) => user.ok('account', 'remove', '--confirm', user.name)));
  });

  test('ends when its socket is taken away, and the next command finds another', async () => {
    const pid = await alice.pid();
    const { socket, pid: told } = await alice.one<{ socket: string; pid: number }>('daemon', 'status');
    expect(told).toBe(pid);
    rmSync(dirname(socket), { recursive: true });
    await alice.until('its end', () => Promise.resolve(!daemons().includes(pid)));
    expect(await alice.pid()).not.toBe(pid);
    expect((await alice.items<Line>('daemon', 'logs')).some(({ msg }) => msg === 'socket.gone')).toBe(true);
  });

  test('has so many front ends, and tells one more; with one less there is room again', async () => {
    await alice.ok('conversations');
    const { socket } = pathsOf(alice);
    const clients = await Promise.all(Array.from({ length: RPC_CONNECTIONS_MAX }, () => RpcClient.open(socket)));
    const refused = await alice.run('conversations');
    expect([refused.code, refused.error]).toMatchObject([4, { code: 'daemon.busy' }]);
    clients.pop()?.close();
    await alice.until('room', async () => (await alice.run('conversations')).code === 0);
    for (const client of clients) client.close();
  });

  test('ends also when it cannot put away what it has, and the next one begins', async () => {
    const pid = await alice.pid();
    const told = join(stage.dir, 'accounts', 'alice', 'sockets');
    rmSync(told);
    mkdirSync(join(told, 'in the way'), { recursive: true });
    process.kill(pid, 'SIGTERM');
    await alice.until('its end', () => Promise.resolve(!daemons().includes(pid)));
    rmSync(told, { recursive: true });
    expect(await alice.pid()).not.toBe(pid);
  });

  test('that does not end in the time it is given is not told as stopped', async () => {
    await alice.pid();
    const { code, out, error } = await alice.run('daemon', 'stop', '--timeout', '1ms');
    expect([code, out, error?.code]).toEqual([5, '', 'wait.timeout']);
  });

  test('that another command has told to end just now is stopped, as this one says', async () => {
    await alice.ok('daemon', 'stop');
    const { socket } = pathsOf(alice);
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    const ending = createServer((connection) => {
      connection.write('{"sotto":"0.1.0","rpc":1,"account":"alice","locked":false,"exists":true,"passphrase":false}\n');
      connection.once('data', () => connection.destroy());
    }).listen(socket);
    await once(ending, 'listening');
    expect(await alice.run('daemon', 'stop')).toMatchObject({ code: 0, items: [{ stopped: true }] });
    ending.close();
    await once(ending, 'close');
  });

  test('that cannot run in the foreground says so as any command does: an object with --json only', async () => {
    const pid = await alice.pid();
    const said = await alice.run('daemon', 'run', { json: false });
    expect([said.code, said.err]).toEqual([7, 'sotto: Another program runs this account\n']);
    expect((await alice.run('daemon', 'run')).error).toMatchObject({ code: 'account.running' });
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
    const wait = `bin/sotto --data-dir ${stage.dir} send bob late --wait sent`;
    expect((await onTerminal(wait, [])).shown).toMatch(/waiting until it is sent\S*\r\u001b\[2K\d{4}-/);
    expect((await onTerminal(`${wait} --quiet`, [])).shown).not.toContain('waiting');
    const quiet = await onTerminal(`${send} --quiet > /dev/null`, []);
    expect(quiet.shown).toBe('');
    const piped = await run(['--data-dir', stage.dir, 'file', 'send', 'bob', '-'], { input: 'zeros' });
    expect([piped.code, piped.err]).toEqual([0, expect.not.stringMatching(/reading|\u001b/)]);
    expect(piped.out.toString()).not.toMatch(/reading|\u001b/);
  });

  test('finds its place by flags anywhere, or by the environment; the flag wins', async () => {
    const whose = async (words: string[], env = {}) =>
      JSON.parse((await run(words, { env })).out.toString()) as { account?: string; version?: string };
    const env = { SOTTO_DATA_DIR: stage.dir, SOTTO_ACCOUNT: 'nobody' };
    expect((await whose(['--json', '--account', 'alice', 'id', `--data-dir=${stage.dir}`])).account).toBe('alice');
    expect((await whose(['id', '--account', 'alice', '--json'], env)).account).toBe('alice');
    expect((await whose(['id', '--json'], { ...env, SOTTO_ACCOUNT: 'alice' })).account).toBe('alice');
    expect((await whose(['id', '--json'], { ...env, SOTTO_ACCOUNT: '' })).account).toBe('alice');
    const strange = { SOTTO_DATA_DIR: '', HOME: stage.dir, XDG_DATA_HOME: '', XDG_RUNTIME_DIR: 'here' };
    const home = join(stage.dir, '.local/share/sotto');
    mkdirSync(join(home, 'accounts/alice'), { recursive: true });
    writeFileSync(join(home, 'accounts/alice/vault'), '');
    const socket = join(home, 'run/alice/rpc');
    expect(await whose(['daemon', 'status', '--json', '--account', 'alice'], strange)).toMatchObject({ socket });
    expect((await run(['--data-dir', '', 'status'])).code).toBe(2);
    const versions = { version: expect.stringMatching(/^\d+\.\d+\.\d+$/), rpc: 1, wire: 1, schema: expect.any(Number) };
    expect(await whose(['--version', '--json'])).toEqual(versions);
  });

  test('finds a daemon that was started where the runtime folder was another, and not that of a copy', async () => {
    const [home, copy, runtime] = ['home', 'copy', 'runtime'].map((name) => join(stage.dir, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(runtime, { mode: 0o700 });
    const env = { SOTTO_DATA_DIR: '', HOME: home, XDG_DATA_HOME: '', XDG_CONFIG_HOME: '', XDG_RUNTIME_DIR: runtime };
    expect((await run(['init', '--no-passphrase', '--no-tor'], { env })).code).toBe(0);
    const bare = { ...env, XDG_RUNTIME_DIR: '' };
    const status = async (where: NodeJS.ProcessEnv) =>
      JSON.parse((await run(['daemon', 'status', '--json'], { env: where as Record<string, string> })).out.toString());
    expect((await run(['id'], { env: bare })).code).toBe(0);
    expect(await status(bare)).toMatchObject({ running: true, socket: join(runtime, 'sotto/default/rpc') });
    cpSync(home, copy, { recursive: true });
    expect(await status({ ...bare, HOME: copy })).toMatchObject({ running: false });
    expect((await run(['daemon', 'stop'], { env: bare })).code).toBe(0);
    expect(await status(bare)).toMatchObject({
      running: false,
      socket: join(home, '.local/share/sotto/run/default/rpc'),
    });
  });

  test('about an account that is not there starts no daemon and leaves no folder', async () => {
    const daemon = ['start', 'status', 'stop'].map((word) => ['daemon', word]);
    for (const words of [
      ['status'],
      ['send', 'bob', 'x'],
      ['account', 'unlock'],
      ['passwd'],
      ['--no-start', 'id'],
      ...daemon,
    ])
      expect((await stage.stranger('nobody').run(...words)).error).toMatchObject({ code: 'account.unknown', exit: 3 });
    const checks = (await stage.stranger('nobody').run('doctor')).items;
    expect(checks).toMatchObject([
      { check: 'daemon', ok: false, fix: expect.stringMatching(/^sotto .*--account nobody init$/) },
    ]);
    const env = { SOTTO_PASSPHRASE_FILE: '/dev/null' };
    for (const words of [
      ['init', '--nickname', ''],
      ['restore', '-', '--no-passphrase'],
    ])
      expect((await stage.stranger('nobody').run(...words, { env })).error?.exit).toBeGreaterThan(1);
    const pid = await alice.pid();
    await alice.until('no other daemon', async () => daemons().every((one) => one === pid));
    expect(readdirSync(join(stage.dir, 'accounts'))).toEqual(['alice']);
    expect((await alice.items<{ account: string }>('account', 'list')).map(({ account }) => account)).toEqual([
      'alice',
    ]);
  });

  test('explains with -v what it tries, in JSON too, and says nothing more with --quiet', async () => {
    await alice.ok('daemon', 'stop');
    const { err } = await alice.ok('-v', 'status');
    expect(err).toMatch(/^connecting to \S+\/rpc\nnobody answers: starting .*daemon run\ncalling status.show\n$/);
    expect((await alice.ok('search', 'nothing', { json: false })).err).toBe('Nothing.\n');
    expect((await alice.ok('search', 'nothing', '--quiet', { json: false })).err).toBe('');
  });

  test('ends when its time is over, when it is interrupted, and when nobody reads on', async () => {
    for (const wrong of ['5', '1h30m'])
      expect((await alice.run('status', `--timeout=${wrong}`)).error).toMatchObject({ code: 'time.invalid', exit: 2 });
    expect((await alice.run('status', '--timeout', '1m')).code).toBe(0);
    for (const words of [['listen'], ['daemon', 'logs', '--follow']])
      expect((await alice.run(...words, '--timeout', '100ms')).error).toMatchObject({ code: 'wait.timeout', exit: 5 });
    expect((await alice.run('contact', 'ping', 'bob', '--timeout', '0')).code).toBe(4);
    // What is here already is no wait; where much else runs, that may take more than its moment now and then.
    for (const words of [['status'], ['unread'], ['read', 'bob', '--limit', '1']])
      await alice.until(`${words}`, async () => (await alice.run(...words, '--timeout', '0')).code === 0);
    const told = await alice.until('events', async () => {
      const ran = await alice.run('listen', '--since', '0', '--timeout', '0');
      return ran.items.length > 0 && ran;
    });
    expect(told).toMatchObject({ code: 5, err: expect.stringMatching(/^\{.*\}\n$/), error: { code: 'wait.timeout' } });
    const sotto = `bin/sotto --data-dir ${stage.dir} --account`;
    const prompts = [{ on: /Passphrase/, type: '\u0003' }];
    expect(await onTerminal(`${sotto} tess init --nickname tess`, prompts)).toMatchObject({
      code: 130,
      shown: expect.not.stringContaining('Error'),
    });
  });

  test('that waits for a daemon which starts, or does not answer, ends as any other', async () => {
    await alice.ok('daemon', 'stop');
    const begun = { signal: 'SIGINT', when: () => daemons().length > 0 } as const;
    expect([130, 'SIGINT']).toContain(await interrupt(alice, ['status'], begun));
    const pid = await alice.pid();
    process.kill(pid, 'SIGSTOP');
    const late = await Promise.all([
      alice.run('status', '--timeout', '200ms'),
      alice.run('listen', '--since', '0', '--timeout', '0'),
      alice.run('send', 'bob', 'x', '--wait', 'sent', '--timeout', '0'),
    ]);
    process.kill(pid, 'SIGCONT');
    for (const one of late) expect(one).toMatchObject({ out: '', error: { code: 'wait.timeout', exit: 5 } });
  });

  test('in a folder that is gone says so where it needs one', async () => {
    const gone = join(stage.dir, 'gone');
    const line = `mkdir ${gone} && cd ${gone} && rmdir ${gone} && ${resolve('bin/sotto')} --data-dir ${stage.dir} --account alice`;
    expect((await onTerminal(`${line} id > /dev/null`, [])).code).toBe(0);
    const backup = await onTerminal(`${line} backup here`, []);
    expect([backup.code, backup.shown]).toEqual([6, expect.stringContaining('cd to another one')]);
  });

  test('that has a fault of its own shows where, and nothing that a terminal obeys', async () => {
    const fault = join(stage.dir, 'fault.cjs');
    writeFileSync(fault, `Date.now = () => { throw new Error('a fault \\u001b[2J'); };\n`);
    const ran = await alice.run('read', 'bob', '--before', '14:00', { env: { NODE_OPTIONS: `--require=${fault}` } });
    expect([ran.code, ran.error?.code]).toEqual([1, 'internal.bug']);
    expect(ran.err).toMatch(/a fault .*\n +at /);
    expect(ran.err).not.toContain('\u001b');
  });

  test('whose reader is gone ends without a word', async () => {
    const piped = (command: string) => {
      const child = spawn('bash', ['-c', `set -o pipefail; ${command}`], { stdio: ['ignore', 'pipe', 'pipe'] });
      const said = Promise.all([child.stdout, child.stderr].map((stream) => text(stream)));
      return { child, ended: once(child, 'close'), said };
    };
    const sotto = `bin/sotto --data-dir ${stage.dir} --account alice --json`;
    const { child, ended, said } = piped(`${sotto} listen --since 0 | head -n 1`);
    // It hears of that when it writes again.
    for (let i = 0; child.exitCode === null; i++) await alice.ok('config', 'set', 'notify.command', `show${i}`);
    const [out = '', err] = await said;
    expect([JSON.parse(out).cursor, err, await ended]).toEqual(['1', '', [141, null]]);
    expect((await piped(`${sotto} daemon logs --limit 5000 | head -n 1`).said)[1]).toBe('');
  });

  test('listens to kinds that exist, replays after a cursor, and tells of a gap', async () => {
    expect((await alice.run('listen', '--kinds', 'message.received,nonsense')).error).toMatchObject({
      code: 'params.invalid',
    });
    expect((await alice.run('listen', '--since', 'now')).error).toMatchObject({ code: 'usage.invalid' });
    for (const hours of [22, 23, 20]) await alice.ok('config', 'set', 'notify.quietHours', `${hours}:00-07:00`);
    const all = await alice.hears<Event>(['--since', '0'], (events) => events.length > 3);
    const again = await alice.hears<Event>(['--since', all[1]?.cursor ?? ''], (events) => events.length > 1);
    expect(again.slice(0, 2)).toEqual(all.slice(2, 4));
    const [gap] = await alice.hears(['--since', '999999'], (events) => events.length > 0);
    expect(gap).toEqual({ kind: 'gap', fromCursor: '999999', toCursor: expect.stringMatching(/^\d+$/) });
    const later = await alice.run('listen', '--since', '999999', '--timeout', '300ms', { json: false });
    expect(later.out).toMatch(
      /^gap: there is no event 999999 here, the last is \d+: the cursor is of another account, or of before a restore\n$/,
    );
    const gone = { kind: 'gap', fromCursor: '9', toCursor: '10' } as const;
    expect(eventText(gone)).toBe('gap: events after 9 up to 10 are gone');
  });

  test('tells of Tor what has changed', () => {
    const tor = { state: 'online', bootstrapPercent: 100, private: false } as const;
    const told = [
      { descriptorUploads: 0, reachable: false },
      { descriptorUploads: 3, reachable: true },
    ].map((more) => eventText({ kind: 'tor.changed', at: 1, tor: { ...tor, ...more } }));
    expect(told).toEqual([
      'tor.changed  online, 100 %, not reachable now, 0 uploads',
      'tor.changed  online, 100 %, reachable, 3 uploads',
    ]);
  });

  test('shows the recovery phrase once, on a terminal or in JSON only', async () => {
    const words = /^(\w+ ){11}\w+$/m;
    const piped = await run(['--data-dir', stage.dir, '--account', 'pia', 'init', '--no-passphrase']);
    expect([piped.code, words.test(`${piped.out}${piped.err}`)]).toEqual([0, false]);
    expect(piped.err).toContain('--json');
    const max = stage.stranger('max');
    const [made] = (await max.ok<{ recoveryPhrase: string }>('init', '--no-passphrase')).items;
    expect(made?.recoveryPhrase).toMatch(words);
    expect(await max.one('id')).not.toHaveProperty('recoveryPhrase');
    expect((await max.run('init', '--no-passphrase')).error).toMatchObject({ code: 'account.exists', exit: 7 });
    expect((await stage.stranger('eve').run('init')).error).toMatchObject({ code: 'passphrase.needed', exit: 6 });
    await stage.stranger('pia').ok('daemon', 'stop');
  });

  test('asks for the passphrase on the terminal, also when the text comes through a pipe', async () => {
    const sotto = `bin/sotto --data-dir ${stage.dir} --account vera`;
    const twice = ['Passphrase', 'The same again'].map((on) => ({ on: new RegExp(on), type: 'tulip mania\n' }));
    expect((await onTerminal(`${sotto} init --no-tor > /dev/null`, twice)).code).toBe(0);
    const locking = `${sotto} config set notify.level count; ${sotto} listen --since 0 --json | { read -r; ${sotto} account lock; cat; }`;
    const listened = spawnSync('bash', ['-c', `set -o pipefail; ${locking}`], { encoding: 'utf8' });
    expect([listened.status, listened.stderr]).toEqual([6, expect.stringContaining('"account.locked"')]);
    const { code, shown } = await onTerminal(`echo piped in | ${sotto} send nobody -`, [
      { on: /Passphrase of vera: $/, type: 'tulip mania\n' },
    ]);
    expect(code).toBe(3);
    expect(shown).toMatch(/^Passphrase of vera: \r\nsotto: There is no contact "nobody"/);
    await stage.stranger('vera').ok('daemon', 'stop');
  });

  test('uses colour on a terminal, and none with NO_COLOR', async () => {
    const make = (name: string) =>
      `bin/sotto --data-dir ${stage.dir} --account ${name} init --no-passphrase > /dev/null < /dev/null`;
    const coloured = await onTerminal(make('one'), [], { TERM: 'xterm' });
    const plain = await onTerminal(make('two'), [], { TERM: 'xterm', NO_COLOR: '1' });
    expect(coloured.shown).toMatch(/\u001b\[33mwarning:\u001b\[0m /);
    expect(plain.shown).toMatch(/^warning:/);
    for (const name of ['one', 'two']) await stage.stranger(name).ok('daemon', 'stop');
  });

  test('asks before it erases what cannot be had again, on a terminal only', async () => {
    const remove = `bin/sotto --data-dir ${stage.dir} --account alice contact remove`;
    const refused = await onTerminal(`${remove} bob`, [{ on: /End bob as a contact\? \[y\/N\] $/, type: '\n' }]);
    expect(refused.code).toBe(2);
    expect(refused.shown).toContain('Nothing was changed: y, or --yes, says that it is meant');
    for (const { line, type } of [
      { line: remove, type: 'y\n' },
      { line: `${remove} --yes`, type: undefined },
    ]) {
      const asked = type === undefined ? [] : [{ on: /\[y\/N\] $/, type }];
      // Nobody of that name: it went on to the daemon.
      expect((await onTerminal(`${line} nobody`, asked)).code).toBe(3);
    }
  });

  test('says that what it says could not be written, which is no reason to do it again, and ends in silence when nobody reads on', async () => {
    const shell = async (line: string) =>
      onTerminal(`${line.replace('sotto', `bin/sotto --data-dir ${stage.dir} --account alice`)}`, []);
    const full = await shell('sotto config list > /dev/full');
    expect(full.code).toBe(1);
    expect(full.shown).toMatch(/^sotto: .*could not be written: what it did is done \(ENOSPC\)/);
    const events = await shell('sotto listen --since 0 > /dev/full');
    expect(events).toEqual({ ...full, shown: expect.stringMatching(/^sotto: [^\n]*ENOSPC[^\n]*\n$/) });
    const sent = await shell('sotto send bob once --json > /dev/full');
    expect(JSON.parse(sent.shown)).toMatchObject({ code: 'output.failed', exit: 1, retry: 'never' });
    expect((await alice.bodies('bob')).at(-1)).toBe('once');
    expect((await onTerminal('bin/sotto serve --help > /dev/full', [])).shown).toContain('(ENOSPC)');
    const { shown } = await shell(
      '(code=0; while [ $code = 0 ]; do sotto config list; code=$?; done; echo "exit $code" >&2) | head -n 1',
    );
    expect(shown).toMatch(/^privacy\.readReceipts.*\r\nexit 141\r\n$/);
  });

  test('says what it did and what comes next; a name that is a command is none there', async () => {
    const two = stage.stranger('two');
    const { link } = await two.one<{ link: string }>('id');
    const evil = link.replace(/=.*/, `=${encodeURIComponent("x'; reboot #")}`);
    const asked = await alice.ok('contact', 'add', evil, { json: false });
    expect(asked.err).toContain('warning: Tor is off in config.toml: nothing goes to contacts until');
    expect(asked.err).toMatch(/sotto --data-dir \S+ --account alice why 'x'\\''; reboot #'/);
    const expire = async (duration: string) => (await alice.ok('expire', 'bob', duration, { json: false })).out;
    expect(await expire('read+30s')).toBe('New messages with bob end 30s after they are read.\n');
    expect(await alice.one('conversation', 'show', 'bob')).toMatchObject({ expiresMs: 30_000, expiresFrom: 'read' });
    const list = await alice.ok('conversations', { json: false });
    expect(list.out).toContain('new ones end 30s after they are read');
    expect(await alice.one('send', 'bob', 'stays', '--expires', 'never')).not.toHaveProperty('expiresMs');
    for (const none of ['never', '0']) expect(await expire(none)).toBe('New messages with bob do not end.\n');
    expect((await alice.run('expire', 'bob', 'read+500ms')).error?.code).toBe('params.invalid');
    expect(await alice.one('config', 'get', 'messages.expiresFrom', '--in', 'bob')).toMatchObject({
      value: 'delivery',
    });
    expect((await alice.run('config', 'set', 'notify.quietHours', '25:00-07:00')).error?.message).toBe(
      'notify.quietHours: empty, or as 22:00-07:00, from one time to another',
    );
    expect((await alice.run('config', 'set', 'notify.quietHours', '07:00-07:00')).error?.code).toBe('params.invalid');
    for (const elsewhere of [['conversation.mutedUntil'], ['outbox.expiresMs', '--in', 'bob']])
      expect((await alice.run('config', 'unset', ...elsewhere)).error).toMatchObject({
        code: 'params.invalid',
        message: expect.stringContaining(`is set for ${elsewhere.length === 1 ? 'conversation' : 'account'} only`),
      });
    expect(await alice.one('config', 'get', 'outbox.expiresMs')).toMatchObject({ values: 'a minute to 90 days' });
    const told = ['listen', '--since', '0', '--kinds', 'config.changed', '--timeout', '300ms'] as const;
    expect((await alice.run(...told, { json: false })).out).toContain('config.changed  messages.expiresMs  bob\n');
    expect((await alice.run<Event>(...told)).items.at(-1)).toMatchObject({ conversation: 'bob' });
    const set = async (key: string, value: string) =>
      (await alice.ok('config', 'set', key, value, { json: false })).out;
    for (const [said, shown] of [
      ['yes', 'on'],
      ['no', 'off'],
      ['true', 'on'],
      ['off', 'off'],
    ] as const)
      expect(await set('privacy.typing', said)).toMatch(new RegExp(`^privacy\\.typing = ${shown} `));
    expect((await alice.ok('config', 'get', 'outbox.expiresMs', { json: false })).out).toContain('.expiresMs = 30d ');
    expect(await alice.one('config', 'get', 'outbox.expiresMs')).toMatchObject({ value: 30 * 86_400_000 });
    const typing = `bin/sotto --data-dir ${stage.dir} --account alice send bob`;
    const { code, shown } = await onTerminal(typing, [{ on: /Ctrl-D/, type: 'typed\n\u0004' }]);
    expect([code, shown]).toEqual([0, expect.stringMatching(/bob: typed|alice: typed/)]);
    expect((await alice.ok('send', 'bob', '-', { input: 'a line\n', json: false })).out).toMatch(
      /a line {2}\[queued\]\n$/,
    );
    await two.ok('daemon', 'stop');
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
    const flag = await alice.run('status', '--timeout', '-1s');
    expect(flag.error).toMatchObject({ code: 'usage.invalid', message: expect.not.stringMatching(/\n|ambiguous\.\./) });
    // A slip in a flag becomes no text.
    const slip = { code: 'usage.invalid', message: expect.stringContaining("Unknown option '-q-typo': what") };
    expect((await alice.run('send', 'bob', '-q-typo')).error).toMatchObject(slip);
    expect((await alice.run('send', 'bob', '--wait', 'queued', '--', '-q-typo')).error?.code).not.toBe('usage.invalid');
    const { id } = await alice.one<{ id: string }>('send', 'bob', 'look');
    for (const emoji of ['👍', '❤', '👩‍👩‍👧‍👦', '🇩🇪']) expect(await exits('react', id, emoji)).toBe(0);
    for (const none of ['👍👍', 'ok', ' ', '\n']) expect(await exits('react', id, none)).toBe(2);
    expect(await exits('contact', 'add', 'sotto:nonsense')).toBe(8);
    for (const who of ['contact', 'member']) expect(await exits(who, 'verify', 'bob', '--same', '--undo')).toBe(2);
    expect(await exits('draft', 'bob', 'a text', '--clear')).toBe(2);
    expect(await exits('unread', '--after', '1h ago', '--mark-read')).toBe(2);
    expect(await exits('read', 'bob', '--after', '1970-01-01T00:00Z')).toBe(0);
    const shell = (text: string) =>
      onTerminal(`bin/sotto --data-dir ${stage.dir} --account alice --json draft bob ${text}`, []);
    const [latin, char] = await Promise.all([shell('"$(printf "caf\\351")"'), shell('\ufffd')]);
    expect([latin.code, latin.shown, char.code]).toEqual([2, expect.stringContaining('"text.notUtf8"'), 0]);
  });
});
