// The built program as a server, as its operator has it: configuration, administration, signals, backup, metrics.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { serverCertificate } from '../../src/crypto/server-certificate.ts';
import { freePorts } from '../../src/lab/tor-lab.ts';
import { type EventId, timedId } from '../../src/protocol/ids.ts';
import { parseInviteLink } from '../../src/protocol/invite-link.ts';
import type { Result } from '../../src/protocol/rpc.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { readyText } from '../../src/server/foreground.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { Stage } from '../e2e/stage.ts';
import { Program, sotto } from './program.ts';
import type { Member } from './scene.ts';

let server: Program;
let owner: Member;

beforeAll(async () => {
  server = new Program();
  const { invite = '' } = await server.start('--name', 'house', '--registration', 'open');
  owner = server.member('olga');
  await owner.join(parseInviteLink(invite).token);
});

afterAll(() => server[Symbol.asyncDispose]());

const texts = (events: readonly { readonly kind: number; readonly body: Uint8Array }[]): string[] =>
  events.filter(({ kind }) => kind === EVENT.content).map(({ body }) => Buffer.from(body).toString());

const admin = (...words: string[]) => sotto(['serve', 'admin', ...words, '--data-dir', server.data]);

test('an address that leads nowhere from elsewhere is told to who starts a server', () => {
  const ready = { kind: 'ready', dataDir: '', fingerprint: '', admin: '', connectionsMax: 1e6 } as const;
  for (const url of ['wss://0.0.0.0:7443', 'wss://[::]:7443'])
    expect(readyText({ ...ready, url })).toContain('--origin');
  expect(readyText({ ...ready, url: 'wss://127.0.0.1:7443' })).not.toContain('--origin');
});

describe('a configuration', () => {
  const check = async (toml: string, ...flags: string[]) => {
    const path = join(server.dir, 'check.toml');
    writeFileSync(path, toml);
    return sotto(['serve', '--check-config', '--config', path, '--data-dir', join(server.dir, 'none'), ...flags]);
  };

  test('is told to be valid', async () => {
    const toml =
      'name = "home"\nregistration = "closed"\nlisten = "[::1]:7443"\nmetrics = "[::1]:9100"\nproxies = ["10.0.0.0/8"]\n[log]\nlevel = "warn"\n';
    expect(await check(toml)).toMatchObject({ code: 0, out: 'The configuration is valid.\n' });
  });

  test('is refused with every mistake and its place', async () => {
    const toml =
      'name = 5\nlisten = "nowhere"\nmetrics = "0.0.0.0:9"\nproxies = ["10.0.0.1", "a proxy"]\nmetric = "x"\n[tls]\ncert = "/none"\n[rates]\nburst = { burst = 0, perHour = 1 }\ntalk = 1\n';
    const { code, err } = await check(toml, '--json');
    expect(code).toBe(2);
    const { problems } = (JSON.parse(err) as { details: { problems: { place: string }[] } }).details;
    expect(problems.map(({ place }) => place).sort()).toEqual([
      'listen',
      'metric',
      'metrics',
      'name',
      'proxies.1',
      'rates.burst.burst',
      'rates.talk',
      'tls.key',
    ]);
    expect((await check('name = ')).err).toMatch(/line 1, column \d+: /);
    const files = await check('origins = ["wss://a.example"]\n[tls]\ncert = "/none"\nkey = "/nothing"\n');
    expect(files.err).toBe('sotto: tls.cert: there is no file /none\ntls.key: there is no file /nothing\n');
    const both = await check('nmae = "x"\norigins = ["wss://a.example"]\n[tls]\ncert = "/none"\nkey = "/nothing"\n');
    expect(both.err).toBe(
      'sotto: nmae: there is no such setting\ntls.cert: there is no file /none\ntls.key: there is no file /nothing\n',
    );
    expect((await check('listen = "x"\n[tor]\nnetwork = "/none"\n')).err).toMatch(/^sotto: listen: .*\ntor.network: /);
    const one = await check('listen = "127.0.0.1:7444"\nmetrics = "127.0.0.1:7444"\n');
    expect([one.code, one.err]).toEqual([2, 'sotto: metrics: 127.0.0.1:7444 is where the server listens\n']);
    expect((await check('', '--metrics', '127.0.0.1:7443')).code).toBe(2);
    expect((await check('', '--listen', '127.0.0.1:0', '--metrics', '127.0.0.1:0')).code).toBe(0);
    expect((await check('', '--listen', 'x')).code).toBe(2);
    expect((await check('', '--lisen', 'x')).err).toBe("sotto: Unknown option '--lisen': see sotto serve --help\n");
    // An invite could not name it.
    for (const origin of ['wss://A.example', 'wss://a@b.example', 'wss://a.example?b', 'wss://a.example:99999'])
      expect((await check('', '--origin', origin)).err, origin).toContain('origins.0: must be wss://NAME[:PORT]');
    for (const origin of ['wss://a.example', 'wss://[::1]:7443', 'ws://a-b.example:80'])
      expect((await check('', '--origin', origin)).code, origin).toBe(0);
    expect((await check('', '--tls-cert', 'x')).err).toContain('go together');
  });

  test('has a name of one line that shows what it is', async () => {
    for (const name of ['evil\nname', 'red \x1b[31m', 'left\u202eright', ' at its ends ', 'tab\there', '\u200b'])
      expect(await check('', '--name', name), JSON.stringify(name)).toMatchObject({
        code: 2,
        err: expect.stringMatching(/^sotto: name: must be one line [^\n]+\n$/),
      });
    expect((await check('name = "two\\nlines"')).err).toMatch(/^sotto: name: must be one line /);
    expect((await check('', '--name', 'x'.repeat(65))).err).toBe('sotto: name: is longer than 64 characters\n');
    expect((await check('', '--name', '')).err).toBe('sotto: name: is empty\n');
    for (const name of ['x'.repeat(64), 'Zoë’s “house” 🏠', 'Zoe\u0308', '家'])
      expect(await check('', '--name', name), name).toMatchObject({ code: 0, err: '' });
  });

  test('has a port that there is', async () => {
    for (const flag of ['listen', 'metrics'])
      expect((await check('', `--${flag}`, '127.0.0.1:99999')).err).toBe(
        `sotto: ${flag}: must be HOST:PORT, the port from 0 to 65535\n`,
      );
    expect((await check('', '--listen', '127.0.0.1:65535')).code).toBe(0);
  });

  test('becomes a unit that systemd takes', async () => {
    const { cert, key } = serverCertificate(new Uint8Array(32).fill(3));
    const [certFile, keyFile] = [join(server.dir, 'unit.pem'), join(server.dir, 'unit.key')];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key);
    const given = [
      ['listen', '0.0.0.0:7443'],
      ['name', '-a "house" for $5'],
      ['origin', 'wss://a.example'],
      ['origin', 'wss://b.example:7443'],
      ['tls-cert', certFile],
      ['tls-key', keyFile],
      ['registration', 'open'],
    ].map(([flag, value]) => `--${flag}=${value}`);
    const words = ['--data-dir', join(server.dir, 'a folder 100%'), ...given, '--encrypt-at-rest'];
    const { code, out } = await sotto(['serve', 'install', '--print', ...words]);
    expect(code).toBe(0);
    const path = join(server.dir, 'sotto-server.service');
    writeFileSync(path, out);
    try {
      execFileSync('systemd-analyze', ['verify', '--man=no', path], { stdio: 'pipe' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // No systemd here: what it would be asked is what its manual wants, % doubled and the space in quotes.
    }
    const [start = ''] = /^ExecStart=.*$/m.exec(out) ?? [];
    const [program, ...rest] = [...start.matchAll(/"((?:\\.|[^"\\])*)"/g)].map(([, word]) => word);
    expect(program).toMatch(/\/bin\/sotto$/);
    expect(rest).toEqual([
      'serve',
      expect.stringMatching(/^--data-dir=\S+\/a folder 100%%$/),
      ...given.map((word) => word.replaceAll('"', '\\"').replace('$', '$$$$')),
      '--encrypt-at-rest',
    ]);
  });
});

describe('the administration', () => {
  test('tells people and programs what is there', async () => {
    const [status] = await server.admin('status');
    expect(status).toMatchObject({ name: 'house', registration: 'open', members: 1, online: 1 });
    expect((await admin('members')).out).toMatch(
      /^name +role +banned +joined +id\nolga +owner +no +20\S+Z +[0-9a-f]{32}\n$/,
    );
    expect((await admin('status')).out).toMatch(/^name +house\n/);
    expect((await admin('channels')).out).toBe('No channels.\n');
    for (const [words, code] of [
      [['member', 'nobody'], 3],
      [['member'], 2],
      [['role', 'olga', 'king'], 2],
      [['what'], 2],
      [['audit', '--limit', '-1'], 2],
      [['revoke', 'ab'], 3],
      [['member', 'olga', 'carol'], 2],
    ] as const)
      expect((await admin(...words)).code, words.join(' ')).toBe(code);
    expect((await admin('member', '0'.repeat(32))).code).toBe(3);
    const nowhere = await sotto(['serve', 'admin', 'status', '--data-dir', join(server.dir, 'none')]);
    expect([nowhere.code, nowhere.err]).toEqual([4, expect.stringContaining('start sotto serve')]);
  });

  test('keeps who did what to whom', async () => {
    const carol = server.member('carol');
    await carol.join();
    expect(await server.admin('member', carol.id)).toMatchObject([{ id: carol.id, name: 'carol' }]);
    const [made] = await server.admin('invite', '--uses', '2', '--expires', '1d');
    expect(made).toMatchObject({ uses: 2, usesLeft: 2, expiresAt: expect.any(Number), link: expect.any(String) });
    await server.admin('revoke', String(made?.id));
    expect(await server.admin('invites')).toEqual([]);
    for (const _time of [1, 2]) await server.admin('role', 'carol', 'admin');
    const gone = carol.closed;
    await server.admin('ban', 'carol');
    expect((await gone).code).toBe('server.banned');
    expect(await server.admin('ban', 'carol')).toMatchObject([{ name: 'carol', banned: true }]);
    await server.admin('unban', 'carol');
    // What is so already is answered, and is no deed.
    expect(await server.admin('unban', 'carol')).toMatchObject([{ name: 'carol', banned: false }]);
    await owner.client.request('member.ban', { member: carol.id, banned: false });
    await owner.client.request('member.role', { member: carol.id, role: 'member' });
    const kinds = async (...filter: string[]) => (await server.admin('audit', ...filter)).map(({ kind }) => kind);
    expect(await kinds('--target', 'carol')).toEqual([
      'member.role',
      'member.unbanned',
      'member.banned',
      'member.role',
      'member.joined',
    ]);
    expect(await kinds('--target', 'carol', '--actor', 'olga')).toEqual(['member.role']);
    expect(await kinds('--kind', 'invite.revoked', '--actor', 'admin')).toEqual(['invite.revoked']);
    expect(await kinds('--kind', 'invite.created', '--since', '1h ago')).toEqual(['invite.created', 'invite.created']);
    expect(await kinds('--limit', '2')).toHaveLength(2);
    const [line] = await server.admin('audit', '--kind', 'member.banned');
    expect(line).toMatchObject({ actor: 'admin', kind: 'member.banned', target: 'carol' });
    await owner.client.request('member.profile', { status: '\u009b31m\u202e' });
    expect((await admin('members', '--json')).out).toContain('\\u009b31m\\u202e');
    expect((await admin('audit', '--kind', 'member.banned')).out).toMatch(/\n\S+ +admin +member\.banned +carol/);
    // A member who is called so is not taken for the administration.
    const named = server.member('admin');
    await named.join();
    named.leave();
    await expect.poll(async () => (await server.admin('status'))[0]).toMatchObject({ connections: 1 });
    expect((await server.admin('audit', '--kind', 'member.banned')).map(({ actor }) => actor)).toEqual(['(admin)']);
    expect(await kinds('--kind', 'member.joined', '--actor', 'admin')).toEqual(['member.joined']);
    expect(await kinds('--kind', 'member.banned', '--actor', '(admin)')).toEqual(['member.banned']);
  });

  test('refuses flags that mean nothing there, numbers beyond what there can be, and waits no longer than it is told', async () => {
    for (const words of [
      ['admin', 'members', '--limit', '1'],
      ['admin', 'ban', 'carol', '--uses', '3'],
      ['admin', 'status', '--check-config'],
      ['admin', 'invite', '--uses', '10001'],
      ['admin', 'invite', '--expires', '14400000w'],
      ['admin', 'audit', '--limit', '10001'],
      ['install', '--check-config'],
      ['install', 'extra', '--print'],
      ['--print'],
      ['--owner'],
      ['--timeout', '1s'],
    ])
      expect((await sotto(['serve', ...words, '--data-dir', server.data])).code, words.join(' ')).toBe(2);
    const { pid } = server;
    process.kill(pid, 'SIGSTOP');
    const late = await sotto(['serve', 'admin', 'status', '--timeout', '300ms', '--json', '--data-dir', server.data]);
    process.kill(pid, 'SIGCONT');
    expect([late.code, JSON.parse(late.err)]).toMatchObject([5, { code: 'wait.timeout' }]);
  });

  test('does not back up half of what another program reads', async () => {
    const folder = join(server.dir, 'not half');
    using reader = openDatabase(serverPaths(server.data).database);
    reader.exec('BEGIN');
    // What it reads stands still from here on.
    reader.all('SELECT 1 FROM event LIMIT 1');
    const half = await owner.create('half');
    await owner.say(half.channel, 'only in the log');
    const refused = await admin('backup', folder);
    expect([refused.code, refused.err]).toEqual([4, expect.stringContaining('Another program')]);
    reader.exec('COMMIT');
    await server.admin('backup', folder);
    using copy = openDatabase(serverPaths(folder).database);
    expect(copy.get("SELECT 1 FROM event WHERE body = CAST('only in the log' AS BLOB)")).toBeDefined();
  });

  test('backs up a server that goes on, and a server made of it has what was there', async () => {
    const ops = await owner.create('ops');
    await owner.say(ops.channel, 'before the backup');
    const folder = join(server.dir, 'copy');
    await server.admin('backup', folder);
    await owner.say(ops.channel, 'after the backup');
    expect((await admin('backup', folder)).code).toBe(7);
    expect((await admin('backup', '/proc/none/here')).code).toBe(6);
    expect(await server.admin('check', '--deep')).toMatchObject([{ wrong: [] }]);
    await using other = new Program();
    const restored = await sotto(['serve', 'admin', 'restore', folder, '--data-dir', other.data]);
    expect([restored.code, restored.err]).toEqual([0, '']);
    expect((await sotto(['serve', 'admin', 'restore', folder, '--data-dir', other.data])).code).toBe(7);
    const { fingerprint, invite } = await other.start();
    expect([fingerprint, invite]).toEqual([server.ready?.fingerprint, undefined]);
    const [status] = await other.admin('status');
    expect(Number(status?.epoch)).toBeGreaterThan(Number((await server.admin('status'))[0]?.epoch));
    expect(await other.admin('check', '--deep')).toMatchObject([{ wrong: [] }]);
    const channel = (await other.admin('channels')).find(({ name }) => name === 'ops');
    // With the note that it was restored.
    expect(channel).toMatchObject({ name: 'ops', events: 3, members: 1 });
    expect(await other.stop()).toBe(0);
    using db = openDatabase(serverPaths(other.data).database);
    const bodies = db.all<{ body: Uint8Array }>('SELECT body FROM event ORDER BY channel, seq');
    const said = bodies.map(({ body }) => Buffer.from(body).toString()).filter((body) => body.endsWith('the backup'));
    expect(said).toEqual(['before the backup']);
  });
});

test('another program that writes to the database for a moment is waited for', async () => {
  const { channel } = await owner.create('patient');
  // Held by a process of its own: who holds it in this one cannot let go while the server waits.
  const holder = spawn(process.execPath, ['-e', HOLD, serverPaths(server.data).database], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(holder, 'close');
  await once(holder.stdout, 'data');
  const { seq } = await owner.say(channel, 'meanwhile');
  expect(seq).toBeGreaterThan(0);
  expect((await ended)[0]).toBe(0);
});
const HOLD = `
  const { Database } = require('@signalapp/sqlcipher');
  const db = new Database(process.argv[1]);
  db.exec('BEGIN IMMEDIATE');
  process.stdout.write('held');
  setTimeout(() => { db.exec('COMMIT'); db.close(); }, 700);
`;

test('numbers and health are on a local address, without a name', async () => {
  const { metrics } = server.ready ?? { metrics: '' };
  expect(new URL(metrics).hostname).toBe('127.0.0.1');
  const { channel } = await owner.create('spoken');
  const { call } = await owner.client.request('call.join', { channel });
  const text = await (await fetch(`${metrics}/metrics`)).text();
  expect(text).toMatch(/^sotto_connections 1$/m);
  expect(text).toMatch(/^sotto_publishes_total [1-9]\d*$/m);
  for (const line of ['calls 1', 'call_links 0', 'call_frames_total 0', 'call_frames_late_total 0'])
    expect(text).toContain(`\nsotto_${line}\n`);
  expect(text).not.toContain(call.call);
  expect((await server.admin('status'))[0]?.calls).toBe(1);
  await owner.client.request('call.leave', { channel });
  expect(text).not.toMatch(/olga|ops|spoken|house|[0-9a-f]{32}/);
  expect(text.split('\n').filter((line) => /^sotto_/.test(line)).length).toBeLessThan(40);
  for (const [path, status] of [
    ['/health', 200],
    ['/ready', 200],
    ['/else', 404],
  ] as const)
    expect((await fetch(metrics + path)).status).toBe(status);
});

test('a server that may open few files says how many connections it takes, and who does not log in makes room', async () => {
  await using small = new Program(undefined, ['sh', '-c', 'ulimit -n 160 && exec "$0" "$@"']);
  // Its metrics are on IPv6 where the machine has that.
  const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
  const { url, metrics, invite = '', connectionsMax } = await small.start(...(hasIpv6 ? ['--metrics', '[::1]:0'] : []));
  expect([connectionsMax, server.ready?.connectionsMax]).toEqual([32, 10_000]);
  const { hostname: host, port } = new URL(url);
  const strangers = Array.from({ length: 200 }, (_, i) => {
    const localAddress = `127.0.3.${1 + (i % 20)}`;
    return connectPlain({ host, port: Number(port), localAddress }).on('error', () => {});
  });
  await Promise.all(strangers.map((one) => once(one, 'connect')));
  const lea = small.member('lea');
  await lea.join(parseInviteLink(invite).token);
  const text = await (await fetch(`${metrics}/metrics`)).text();
  expect(Number(/^sotto_connections (\d+)$/m.exec(text)?.[1])).toBeLessThanOrEqual(32);
  lea.leave();
  for (const one of strangers) one.destroy();
});

describe('a signal', () => {
  test('to end drains: what was answered is there once, and what was not can be repeated', async () => {
    const ops = await owner.create('drained');
    await owner.hear(ops.channel);
    const answered = new Map<EventId, number>();
    const ids: EventId[] = [];
    let isOver = false;
    const gone = owner.closed.then(() => {
      isOver = true;
    });
    const publish = async (): Promise<void> => {
      while (!isOver) {
        const id = timedId<EventId>(Date.now(), new Uint8Array(Buffer.from(`${ids.length}`.padStart(10, '0'))));
        ids.push(id);
        const placed = await owner.say(ops.channel, id, id).catch(() => undefined);
        if (placed !== undefined) answered.set(id, placed.seq);
      }
    };
    const publishing = publish();
    while (answered.size < 3) await new Promise(setImmediate);
    // Who does not read the end is waited for: so long it drains.
    const deaf = new WebSocket(`${server.ready?.url}/v1`, 'sotto.v1', { rejectUnauthorized: false });
    await once(deaf, 'open');
    deaf.pause();
    const ready = async () => (await fetch(`${server.ready?.metrics}/ready`)).status;
    expect(await ready()).toBe(200);
    const stopping = server.stop();
    await expect.poll(ready).toBe(503);
    deaf.terminate();
    expect(await stopping).toBe(0);
    await Promise.all([gone, publishing]);
    expect(owner.notices).toContainEqual({ notice: 'moved', retryAfterMs: expect.any(Number) });
    const again = ids.slice(-5);
    const config = join(server.dir, 'rates.toml');
    writeFileSync(config, `[rates]\npublish = { burst = ${again.length + 1}, perHour = 1 }\n`);
    await server.start('--config', config);
    await owner.join();
    // A few of the last ones are enough: the new server has rates of its own.
    const repeated = new Map<string, number>(answered);
    for (const id of again) {
      const { seq } = await owner.say(ops.channel, id, id);
      if (answered.has(id)) expect(seq).toBe(answered.get(id));
      repeated.set(id, seq);
    }
    const { events } = await owner.client.events('log.page', { channel: ops.channel, after: 0 });
    const found = new Map(events.map((event) => [texts([event])[0] ?? '', event.seq]));
    found.delete('');
    expect(texts(events)).toHaveLength(found.size);
    for (const [id, seq] of repeated) expect(found.get(id), id).toBe(seq);
    expect([...found.keys()].filter((id) => !ids.includes(id as EventId))).toEqual([]);
    await owner.say(ops.channel, 'one more');
    await expect(owner.say(ops.channel, 'one too many')).rejects.toMatchObject({ code: 'rate.limited' });
  });

  test('to read again takes another certificate, name and registration, and nothing of a file with a mistake', async () => {
    await using other = new Program();
    const [config, cert, key] = ['c.toml', 'c.pem', 'k.pem'].map((name) => join(other.dir, name)) as [
      string,
      string,
      string,
    ];
    const keys = (fill: number) => {
      const made = serverCertificate(new Uint8Array(32).fill(fill));
      writeFileSync(cert, made.cert);
      writeFileSync(key, made.key);
    };
    const write = (more: string) =>
      writeFileSync(config, `${more}\norigins = ["wss://localhost"]\n[tls]\ncert = "${cert}"\nkey = "${key}"\n`);
    keys(1);
    write('name = "one"');
    const { url } = await other.start('--config', config);
    expect(url).toBe('wss://localhost');
    const [first] = await other.admin('status');
    const address = ((first?.urls ?? []) as string[]).find((one) => one.includes('127.0.0.1')) ?? '';
    const shown = (): Promise<string> =>
      new Promise((done, fail) => {
        const socket = connect(
          { port: Number(new URL(address).port), host: '127.0.0.1', rejectUnauthorized: false },
          () => {
            done(socket.getPeerCertificate().fingerprint256);
            socket.destroy();
          },
        );
        socket.on('error', fail);
      });
    const before = await shown();
    const refused = async (times: number, place: string) => {
      other.signal('SIGHUP');
      const lines = () => readFileSync(join(other.data, 'server.log'), 'utf8').split('\n');
      await expect.poll(() => lines().filter((line) => line.includes('config.notRead')).length).toBe(times);
      expect(lines().findLast((line) => line.includes('config.notRead'))).toContain(place);
      expect((await other.admin('status'))[0]).toMatchObject({ name: 'one', registration: 'invite' });
      expect(await shown()).toBe(before);
    };
    keys(2);
    write('name = 7\nregistration = "closed"');
    await refused(1, 'name');
    write('name = "two"\nregistration = "closed"');
    keys(1);
    using db = openDatabase(serverPaths(other.data).database);
    db.exec("CREATE TRIGGER full BEFORE UPDATE ON server BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
    await refused(2, 'disk is full');
    db.exec('DROP TRIGGER full');
    keys(2);
    write('name = "two"\nregistration = "closed"');
    other.signal('SIGHUP');
    await expect
      .poll(async () => (await other.admin('status'))[0])
      .toMatchObject({ name: 'two', registration: 'closed' });
    expect(await shown()).not.toBe(before);
    expect((await other.admin('audit', '--kind', 'server.settings')).length).toBe(1);
    expect(await other.stop('SIGINT')).toBe(0);
  });

  test('who may come in is what is said now: a door that was open for once is not left open', async () => {
    await using other = new Program();
    const registration = async () => (await other.admin('status'))[0]?.registration;
    await other.start('--name', 'den', '--registration', 'open');
    expect(await registration()).toBe('open');
    const link = other.ready?.link ?? '';
    expect(parseInviteLink(link).token).toBe('');
    expect((await other.admin('status'))[0]).toMatchObject({ link });
    await other.stop();
    expect(await other.start()).not.toHaveProperty('link');
    expect((await other.admin('status'))[0]).not.toHaveProperty('link');
    expect((await other.admin('status'))[0]).toMatchObject({ name: 'den', registration: 'invite' });
    const config = join(other.data, 'server.toml');
    for (const [toml, wanted] of [
      ['registration = "open"', 'open'],
      ['', 'invite'],
    ] as const) {
      writeFileSync(config, toml);
      other.signal('SIGHUP');
      await expect.poll(registration).toBe(wanted);
    }
  });
});

test('what stands in the way of a start is said, with an exit code of its own', async () => {
  const [folder, other] = [server.data, join(server.dir, 'other')];
  const at = new URL(server.ready?.url ?? '').host;
  const start = (...args: string[]) => sotto(['serve', ...args]);
  // As a variable that is not set gives it; the folder of the shell is no server's.
  for (const words of [[], ['admin', 'status'], ['install', '--print']])
    expect(await start(...words, '--data-dir', '')).toEqual({
      code: 2,
      out: '',
      err: 'sotto: --data-dir is empty\n',
    });
  expect(await start('--data-dir', folder, '--listen', '127.0.0.1:0')).toEqual({
    code: 7,
    out: '',
    err: 'sotto: Another program runs this server\n',
  });
  expect(await start('--data-dir', other, '--listen', at)).toEqual({
    code: 7,
    out: '',
    err: `sotto: ${at} is in use already\n`,
  });
  expect(await start('--data-dir', other, '--listen', '192.0.2.1:1')).toMatchObject({ code: 2 });
  // The folder is there then; who starts it next is told how its owner joins, until somebody has.
  await using late = new Program();
  expect(await start('--data-dir', late.data, '--listen', at)).toMatchObject({ code: 7 });
  // A name is a name in upper case, too.
  const { invite = '' } = await late.start('--listen', 'LocalHost:0');
  const lea = late.member('lea');
  await lea.join(parseInviteLink(invite).token);
  lea.leave();
  expect(await late.stop()).toBe(0);
  expect((await late.start()).invite).toBeUndefined();
  await late.admin('role', 'lea', 'member');
  const [anew] = await late.admin('invite', '--owner');
  expect(anew).toMatchObject({ id: expect.any(String), role: 'owner', uses: 1, expiresAt: expect.any(Number) });
  expect(parseInviteLink(String(anew?.link))).toMatchObject({ origin: late.ready?.url, trust: 'pinned' });
  for (const word of ['--what', 'what'])
    expect(await start(word)).toMatchObject({ code: 2, out: '', err: expect.stringContaining(word) });
  expect(await start('--help')).toMatchObject({ code: 0, err: '', out: expect.stringContaining('--check-config') });
  // The flags of every command are taken here, too.
  expect(await start('--check-config', '-q', '--data-dir', server.data)).toMatchObject({ code: 0, err: '' });
  expect(await start('--check-config', '-v', '--data-dir', server.data)).toMatchObject({
    code: 0,
    err: expect.stringContaining(server.data),
  });
});

test('a folder in which no socket can be is said before anything is made', async () => {
  const long = join(server.dir, 'l'.repeat(100));
  const odd = join(server.dir, 'a#b');
  for (const [dir, ...flags] of [[long], [odd, '--onion']] as const) {
    const { code, err } = await sotto(['serve', '--data-dir', dir, '--listen', '127.0.0.1:0', ...flags]);
    expect([code, err, existsSync(dir)]).toEqual([2, expect.stringMatching(/^sotto: data-dir: [^\n]+\n$/), false]);
  }
});

test('a database is encrypted from the beginning or never, by a flag or the file, and opens without either', async () => {
  const config = join(server.dir, 'encrypted.toml');
  writeFileSync(config, 'encryptAtRest = true\n');
  await using other = new Program();
  const { fingerprint } = await other.start('--config', config);
  const start = readFileSync(serverPaths(other.data).database).subarray(0, 15).toString('latin1');
  expect(start).not.toBe('SQLite format 3');
  expect(await other.stop()).toBe(0);
  expect((await other.start()).fingerprint).toBe(fingerprint);
  for (const flags of [['--encrypt-at-rest'], ['--config', config, '--check-config']])
    expect(await sotto(['serve', ...flags, '--data-dir', server.data])).toEqual({
      code: 2,
      out: '',
      err: expect.stringMatching(/^sotto: encryptAtRest: .* stays plain: only a new one, in another --data-dir/),
    });
});

describe('a certificate of an authority', () => {
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => resolve('test/rooms/localhost', name)) as [string, string];
  afterEach(() => vi.unstubAllEnvs());

  // An account whose daemon trusts that authority, on the server.
  const joins = async (server: Program): Promise<Result<'server.list'>> => {
    vi.stubEnv('NODE_EXTRA_CA_CERTS', cert);
    await using stage = new Stage({ offline: true });
    const pia = stage.stranger('pia');
    await pia.ok('init', '--nickname', 'pia', '--no-passphrase');
    await pia.ok('server', 'join', server.invite, '--as', 'pia', '--label', 'home');
    await pia.ok('channel', 'create', 'talk');
    await pia.ok('send', '#talk', 'hello', '--wait', 'sent');
    return pia.items('server', 'list');
  };

  test('is the server’s own', async () => {
    await using other = new Program();
    const [port] = await freePorts(1);
    await other.start(
      '--listen',
      `127.0.0.1:${port}`,
      '--origin',
      `wss://localhost:${port}`,
      '--tls-cert',
      cert,
      '--tls-key',
      key,
    );
    expect(await joins(other)).toMatchObject([{ state: 'online', through: 'loopback' }]);
  });

  test('is that of a proxy before it: TLS is not the server’s business', async () => {
    await using other = new Program();
    const [port = 0, behind = 0] = await freePorts(2);
    const proxy = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (outer) => {
      const inner = connectPlain(behind, '127.0.0.1');
      for (const one of [outer, inner]) one.on('error', () => [outer, inner].map((each) => each.destroy()));
      outer.pipe(inner).pipe(outer);
    });
    await new Promise<void>((done) => proxy.listen(port, '127.0.0.1', done));
    const origin = `wss://localhost:${port}`;
    await other.start('--listen', `127.0.0.1:${behind}`, '--behind-proxy', '127.0.0.1', '--origin', origin);
    expect(await joins(other)).toMatchObject([{ state: 'online', through: 'loopback' }]);
    proxy.close();
    expect(await other.stop()).toBe(0);
  });
});
