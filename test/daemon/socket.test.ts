// The RPC socket of a real daemon, byte by byte: what is not a good request gets one typed error and changes nothing.
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { RpcSocket } from '../../src/daemon/socket.ts';
import { VERSION } from '../../src/protocol/version.ts';
import { takeLock } from '../../src/sqlite/lock.ts';
import { pruneEvents } from '../../src/store/events.ts';
import { getSelf } from '../../src/store/self.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { databaseOf, furnish, pathsOf } from './furnished.ts';

const LONG = 'x'.repeat(16_000);
const EVENTS = 600;

let stage: Stage;
let alice: User;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (_alice, bob, world) => {
    for (let i = 0; i < EVENTS; i++) await bob.send('alice', `${i} ${i < 500 ? LONG : ''}`);
    await world.settle(60_000);
  });
  await alice.ok('daemon', 'start');
});

afterAll(() => stage[Symbol.asyncDispose]());

type Line = {
  readonly id?: number | string | null;
  readonly error?: { readonly code: number; readonly data: { readonly code: string; readonly exit: number } };
  readonly result?: Record<string, unknown>;
  readonly params?: { readonly kind: string; readonly cursor?: string; readonly toCursor?: string };
};

/** A front end that sees every line. */
class Wire {
  readonly socket: Socket;
  readonly lines: (Line | Line[])[] = [];
  readonly closed: Promise<void>;
  #rest = '';
  #tell: () => void = () => {};

  constructor(options: { readonly allowHalfOpen?: boolean } = {}) {
    this.socket = connect({ path: pathsOf(alice).socket, ...options });
    this.socket.setEncoding('utf8');
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    this.socket.on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.lines.push(JSON.parse(line));
      this.#tell();
    });
  }

  send(value: unknown): void {
    this.socket.write(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value));
    this.socket.write('\n');
  }

  /** Resolves once `seen` holds for the lines. */
  async until(seen: (lines: readonly Line[]) => boolean): Promise<readonly Line[]> {
    while (!seen(this.lines as Line[]))
      await new Promise<void>((resolve) => {
        this.#tell = resolve;
      });
    return this.lines as Line[];
  }

  /** The first answer to one line. */
  async ask(value: unknown): Promise<Line> {
    this.send(value);
    return (await this.until((lines) => lines.length > 1))[1] as Line;
  }

  close(): void {
    this.socket.destroy();
  }
}

const request = (id: number, method: string, params: unknown = {}) => ({ jsonrpc: '2.0', id, method, params });
const problem = (line: Line | undefined) => [
  line?.id,
  line?.error?.code,
  line?.error?.data.code,
  line?.error?.data.exit,
];

const asked = async (value: unknown): Promise<unknown> => {
  const wire = new Wire();
  const answer = problem(await wire.ask(value));
  wire.close();
  return answer;
};

describe('the socket', () => {
  test('is the user’s alone, and so is its folder', () => {
    const { socket } = pathsOf(alice);
    expect([statSync(socket).mode & 0o777, statSync(dirname(socket)).mode & 0o777]).toEqual([0o600, 0o700]);
  });

  test('of a daemon that says nothing keeps no front end for ever', async () => {
    const path = join(stage.dir, 'silent');
    const silent = createServer().listen(path);
    await once(silent, 'listening');
    await expect(RpcClient.open(path, 100)).rejects.toMatchObject({ code: 'wait.timeout' });
    silent.close();
  });

  test('greets first, then answers', async () => {
    const wire = new Wire();
    await wire.ask(request(7, 'rpc.methods'));
    expect(wire.lines[0]).toEqual({
      sotto: VERSION,
      rpc: 1,
      account: 'alice',
      locked: false,
      exists: true,
      passphrase: false,
      pid: expect.any(Number),
    });
    expect(wire.lines[1]).toMatchObject({ jsonrpc: '2.0', id: 7 });
    wire.close();
  });

  test.each([
    ['no JSON', '{"jsonrpc": ', [null, -32700, 'rpc.invalid', 8]],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), [null, -32700, 'rpc.invalid', 8]],
    ['a text that is no request', '"status.show"', [null, -32600, 'rpc.invalid', 8]],
    ['no request', { id: 1, method: 'status.show' }, [null, -32600, 'rpc.invalid', 8]],
    ['an id that is an object', { ...request(1, 'status.show'), id: {} }, [null, -32600, 'rpc.invalid', 8]],
    ['an empty batch', [], [null, -32600, 'rpc.invalid', 8]],
    ['a batch of 101', Array(101).fill(request(1, 'rpc.methods')), [null, -32600, 'rpc.invalid', 8]],
    ['an unknown method', request(2, 'status.nothing'), [2, -32601, 'method.unknown', 3]],
    ['a method of the prototype', request(2, '__proto__'), [2, -32601, 'method.unknown', 3]],
    ['wrong parameters', request(3, 'contact.show', { contact: 5 }), [3, -32602, 'params.invalid', 2]],
    ['parameters by position', request(3, 'contact.show', ['bob']), [3, -32602, 'params.invalid', 2]],
    ['a name nobody has', request(4, 'contact.show', { contact: 'zoe' }), [4, -32003, 'contact.unknown', 3]],
  ])('%s gets one typed error', async (_what, value, expected) => {
    expect(await asked(value)).toEqual(expected);
  });

  test('a batch is answered in one line, in order, notifications without an answer', async () => {
    const wire = new Wire();
    const answer = (await wire.ask([
      request(1, 'config.get', { key: 'privacy.typing' }),
      { jsonrpc: '2.0', method: 'rpc.methods' },
      request(2, 'nothing.there'),
      5,
      request(3, 'conversation.list'),
    ])) as unknown as Line[];
    expect(answer.map((one) => [one.id, one.error?.data.code ?? 'result'])).toEqual([
      [1, 'result'],
      [2, 'method.unknown'],
      [null, 'rpc.invalid'],
      [3, 'result'],
    ]);
    wire.close();
  });

  test('a line over 1 MiB gets one error and the end, whatever follows it', async () => {
    const wire = new Wire({ allowHalfOpen: true });
    wire.socket.write('x'.repeat(1024 * 1024 + 1));
    await once(wire.socket, 'end');
    wire.send('');
    wire.send(request(1, 'conversation.draft', { conversation: 'bob', text: 'after the long line' }));
    expect((await alice.one<{ draft?: string }>('conversation', 'show', 'bob')).draft).toBeUndefined();
    expect(wire.lines.slice(1).map((line) => problem(line as Line))).toEqual([[null, -32008, 'rpc.tooLarge', 8]]);
    wire.close();
  });
});

describe('a connection', () => {
  test('with too many calls at once is told to send them later', async () => {
    const wire = new Wire();
    wire.send(Array.from({ length: 70 }, (_, i) => JSON.stringify(request(i, 'doctor.check'))).join('\n'));
    const refused = await wire.until((lines) => lines.filter(({ error }) => error !== undefined).length >= 6);
    const [, ...told] = refused.filter(({ error }, i) => i === 0 || error !== undefined);
    for (const line of told)
      expect(line.error).toMatchObject({ code: -32004, data: { code: 'rate.limited', exit: 4, retry: 'later' } });
    wire.close();
  });

  test('whose front end sends nothing more is answered to the end, then closed', async () => {
    const wire = new Wire({ allowHalfOpen: true });
    wire.send(request(1, 'doctor.check'));
    wire.send(request(2, 'backup.create', { file: join(stage.dir, 'half'), passphrase: 'one' }));
    wire.socket.end();
    await wire.closed;
    const answered = wire.lines.slice(1) as Line[];
    expect(answered.map(({ id }) => id).sort()).toEqual([1, 2]);
    expect(answered.filter(({ error }) => error !== undefined)).toEqual([]);
  });

  test('whose front end is gone after that is held by no call', async () => {
    const path = join(stage.dir, 'endless');
    const socket = new RpcSocket({
      path,
      greeting: () => ({
        sotto: VERSION,
        rpc: 1,
        account: 'a',
        locked: false,
        exists: true,
        passphrase: false,
        pid: 1,
      }),
      handle: () => new Promise(() => {}),
      left: () => {},
      gone: () => {},
      bug: (error) => expect.fail(String(error)),
    });
    await socket.listen();
    const front = connect({ path, allowHalfOpen: true });
    await once(front, 'data');
    front.end(`${JSON.stringify(request(1, 'status.show'))}\n`);
    await expect.poll(() => socket.connections.map(({ signal }) => signal.aborted)).toEqual([false]);
    front.destroy();
    await expect.poll(() => socket.connections, { timeout: 5_000 }).toEqual([]);
    await socket.close(() => {});
  });
});

describe('events', () => {
  const received = (lines: readonly Line[]) =>
    lines.filter((line) => line.params?.kind === 'message.received').map((line) => Number(line.params?.cursor));

  test('a replay of more than the buffer holds comes whole and in order to whoever reads', async () => {
    const wire = new Wire();
    wire.send(request(1, 'event.listen', { since: '0' }));
    const lines = await wire.until((all) => all.some((line) => line.id === 1));
    const cursors = received(lines);
    expect(cursors).toHaveLength(EVENTS);
    expect(cursors).toEqual([...cursors].sort((a, b) => a - b));
    wire.close();
  });

  test('a cursor resumes after itself; without one only what comes is told', async () => {
    const wire = new Wire();
    wire.send(request(1, 'event.listen', { since: '0', kinds: ['message.received'] }));
    const all = received(await wire.until((lines) => lines.some((line) => line.id === 1)));
    wire.close();
    const again = new Wire();
    again.send(request(1, 'event.listen', { since: String(all[EVENTS - 3]), kinds: ['message.received'] }));
    expect(received(await again.until((lines) => lines.some((line) => line.id === 1)))).toEqual(all.slice(-2));
    again.close();
  });

  test('who listens twice hears an event once, and who is gone is forgotten', async () => {
    const wire = new Wire();
    // The second comes while the first reads what was before.
    wire.send(request(1, 'event.listen', { since: '0', kinds: ['config.changed'] }));
    wire.send(request(2, 'event.listen'));
    await wire.until((lines) => [1, 2].every((id) => lines.some((line) => line.id === id)));
    const changed = (lines: readonly Line[]) => lines.filter((line) => line.params?.kind === 'config.changed');
    for (const value of ['count', 'name']) wire.send(request(3, 'config.set', { key: 'notify.level', value }));
    await wire.until((lines) => changed(lines).length >= 2);
    wire.send(request(4, 'event.listen'));
    expect(changed(await wire.until((lines) => lines.some((line) => line.id === 4)))).toHaveLength(2);
    wire.close();
  });

  test('a slow subscriber is cut off, and nobody waits for it', async () => {
    const slow = new Wire();
    slow.send(request(1, 'event.listen'));
    await slow.until((lines) => lines.some((line) => line.id === 1));
    slow.socket.pause();
    const wire = new Wire();
    const note = (i: number) => request(i, 'config.set', { key: 'notify.command', value: `${i}${'"'.repeat(4_000)}` });
    const count = 600;
    for (let from = 0; from < count; from += 50) wire.send(Array.from({ length: 50 }, (_, i) => note(from + i)));
    await wire.until((lines) => lines.length >= 1 + count / 50);
    slow.socket.resume();
    await slow.closed;
    expect(slow.lines.filter((line) => 'params' in line).length).toBeLessThan(count);
    wire.close();
  });

  test('a batch whose answers grow too large is answered to its end, and calls no more of it', async () => {
    const wire = new Wire();
    const page = (id: number) => request(id, 'message.list', { conversation: 'bob', limit: EVENTS });
    wire.send(Array.from({ length: 100 }, (_, i) => page(i)));
    const batch = (await wire.until((lines) => lines.length > 1))[1] as unknown as Line[];
    expect(batch.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    const refused = batch.filter(({ error }) => error !== undefined);
    expect([batch[0]?.error, refused.length > 0]).toEqual([undefined, true]);
    expect(refused.map((one) => problem(one)[2])).toEqual(Array(refused.length).fill('rpc.tooLarge'));
    wire.close();
  });

  test('a lock ends what was listened to, after its own answer', async () => {
    const wire = new Wire();
    wire.send(request(1, 'event.listen'));
    wire.send(request(2, 'account.lock'));
    await wire.closed;
    expect(wire.lines.at(-1)).toMatchObject({ id: 2, result: { locked: true } });
    const again = new Wire();
    const unlocked = await again.ask(request(1, 'account.unlock', { passphrase: '' }));
    expect(unlocked.result).toEqual({ locked: false });
    again.close();
  });

  test('when the last connection ends, the account is free; LINK-5: the next start has another install id', async () => {
    const installId = () => {
      using db = databaseOf(alice);
      return getSelf(db)?.installId;
    };
    const before = installId();
    const wire = new Wire();
    const isFree = wire.closed.then(() => {
      takeLock(pathsOf(alice).lock)[Symbol.dispose]();
      return true;
    });
    wire.send(request(1, 'daemon.stop'));
    expect(await isFree).toBe(true);
    await alice.ok('daemon', 'start');
    expect(installId()).not.toEqual(before);
  });

  test('a cursor that was pruned, or is of another store, gives one gap, then what there is', async () => {
    {
      using db = databaseOf(alice);
      pruneEvents(db, 0, 5);
    }
    for (const [since, kept] of [
      ['1', 5],
      ['999999', 0],
    ] as const) {
      const wire = new Wire();
      wire.send(request(1, 'event.listen', { since }));
      const lines = await wire.until((all) => all.some((line) => line.id === 1));
      const told = lines.flatMap((line) => (line.params === undefined ? [] : [line.params]));
      expect(told.map((one) => one.kind === 'gap')).toEqual([true, ...Array(kept).fill(false)]);
      if (kept > 0) expect(Number(told[1]?.cursor)).toBe(Number(told[0]?.toCursor) + 1);
      expect(lines.find((line) => line.id === 1)?.result?.cursor).toBe(told.at(-1)?.cursor ?? told[0]?.toCursor);
      wire.close();
    }
  });
});
