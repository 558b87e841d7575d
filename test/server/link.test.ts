import { readFileSync } from 'node:fs';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, setDefaultCACertificates } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { wayOf } from '../../src/core/room-objects.ts';
import { addressOf } from '../../src/crypto/address.ts';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { serverCertificate } from '../../src/crypto/server-certificate.ts';
import { parseOrigin } from '../../src/net/server-dial.ts';
import { wayTo } from '../../src/net/server-network.ts';
import { LINK_BUFFER_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX, SERVER_UNSENT_BYTES_MAX } from '../../src/protocol/limits.ts';
import { binaryFrame, closeFrame, maskedFrame, pingFrame, textFrame } from '../../src/protocol/websocket.ts';
import { buildRefusal, buildUpgradeResponse, parseUpgradeRequest } from '../../src/protocol/websocket-upgrade.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { dial, folder, Heard, listenWith, SEED, SERVER_KEY, Serving, socksTo } from './ends.ts';

const CA_SIGNED = {
  cert: readFileSync(join(import.meta.dirname, 'localhost.pem')),
  key: readFileSync(join(import.meta.dirname, 'localhost.key')),
};
const OTHER_KEY = ed25519Public(Buffer.alloc(32, 8));

describe('both ends', () => {
  const talk = async (serving: Serving, client: Awaited<ReturnType<typeof dial>>): Promise<void> => {
    client.link.text('echo hello');
    client.link.text('ünïcödé');
    client.link.binary(Buffer.from('00ff', 'hex'));
    await client.heard.line('text hello');
    serving.opened[0]?.send(binaryFrame(Buffer.from('0102', 'hex')));
    expect(await client.heard.line('binary')).toBe('binary 0102');
    expect(serving.heard.lines).toEqual(['c1 opened /v1', 'c1 text echo hello', 'c1 text ünïcödé', 'c1 binary 00ff']);
    serving.opened[0]?.close(4999, 'enough');
    expect(await client.heard.line('closed')).toBe('closed 4999 enough');
    await serving.empty();
    expect(client.link.text('late')).toBe(false);
  };

  test('in the clear, on this machine', async () => {
    const serving = await Serving.plain();
    const client = await dial({ origin: `ws://127.0.0.1:${serving.port}` });
    expect([client.link.binding, serving.opened[0]?.binding()]).toEqual([undefined, undefined]);
    await talk(serving, client);
  });

  test('with TLS, to the key that was pinned; both know the same 32 bytes, new for each connection', async () => {
    const serving = await Serving.tls();
    const client = await dial({ origin: `wss://localhost:${serving.port}` });
    const binding = Buffer.from(client.link.binding ?? []);
    expect(binding).toHaveLength(32);
    expect(binding.equals(serving.opened[0]?.binding() ?? Buffer.alloc(0))).toBe(true);
    const again = await dial({ origin: `wss://127.0.0.1:${serving.port}` });
    expect(binding.equals(again.link.binding ?? binding)).toBe(false);
    again.link.close(1000, 'bye');
    await serving.heard.line('c2 closed 1000 bye');
    serving.heard.lines.splice(1);
    await talk(serving, client);
  });

  test('with a certificate that authorities vouch for', async () => {
    setDefaultCACertificates([CA_SIGNED.cert.toString()]);
    onTestFinished(() => setDefaultCACertificates([]));
    const serving = await Serving.at([{ kind: 'tcp', host: '127.0.0.1', port: 0, tls: CA_SIGNED }]);
    const client = await dial({ origin: `wss://localhost:${serving.port}`, trust: 'authorities' });
    await talk(serving, client);
    // What cannot be used changes nothing; another certificate is for connections to come.
    const mixed = { cert: CA_SIGNED.cert, key: serverCertificate(SEED).key };
    expect(() => serving.listener.setTls(mixed)).toThrow(expect.objectContaining({ code: 'config.invalid' }));
    await dial({ origin: `wss://localhost:${serving.port}`, trust: 'authorities' });
    serving.listener.setTls(serverCertificate(SEED));
    await dial({ origin: `wss://localhost:${serving.port}` });
  });

  test('to an onion service, through SOCKS, to the path of calls', async () => {
    const path = join(folder(), 'onion');
    const serving = await Serving.at([{ kind: 'unix', path, circuits: false }]);
    const { socksPath, asked } = await socksTo(path);
    const host = addressOf(SERVER_KEY);
    const client = await dial(
      { origin: `ws://${host}` },
      { tor: { socksPath, isolation: 'home-1' }, path: '/v1/call' },
    );
    expect(asked.lines).toEqual(['login home-1', `to ${host}:80`]);
    expect([serving.opened[0]?.path, serving.opened[0]?.source]).toEqual(['/v1/call', undefined]);
    client.link.close(1000, '');
    await serving.heard.line('c1 closed 1000');
  });

  test('with TLS through SOCKS', async () => {
    const path = join(folder(), 'inner');
    const inner = createTlsServer(serverCertificate(SEED), (socket) => {
      socket.once('data', (request: Buffer) => {
        const head = request.toString().trimEnd();
        socket.write(
          Buffer.concat([Buffer.from(buildUpgradeResponse(parseUpgradeRequest(head))), textFrame('at once')]),
        );
      });
    });
    await new Promise<void>((resolve) => inner.listen(path, resolve));
    onTestFinished(() => void inner.close());
    const { socksPath, asked } = await socksTo(path);
    const client = await dial({ origin: 'wss://example.net:7443' }, { tor: { socksPath, isolation: 'x' } });
    await client.heard.line('text at once');
    expect(asked.lines.at(-1)).toBe('to example.net:7443');
    client.link.close(1000, '');
  });
});

test('the way to a server is Tor but to this machine, where the user says so, or without Tor; it is shown as it is', () => {
  const tor = { socksPath: '/socks', failed: () => {} };
  const onion = `ws://${addressOf(SERVER_KEY)}`;
  for (const [origin, clearnet, offline, through] of [
    ['wss://chat.example.org:7443', 0, false, 'tor'],
    ['wss://chat.example.org:7443', 1, false, 'clearnet'],
    ['wss://chat.example.org:7443', 0, true, 'clearnet'],
    ['wss://203.0.113.7', 0, false, 'tor'],
    ['wss://127.example.org', 0, false, 'tor'],
    ['wss://localhost.example.org', 0, false, 'tor'],
    [onion, 0, false, 'tor'],
    [onion, 1, false, 'tor'],
    ['wss://localhost:7443', 0, false, 'loopback'],
    ['wss://127.0.0.1:7443', 1, false, 'loopback'],
    ['wss://[::1]:7443', 0, true, 'loopback'],
  ] as const) {
    const target = { origin, clearnet: clearnet === 1 };
    const word = wayOf({ origin, clearnet }, offline);
    expect([origin, wayTo(target, offline ? false : tor), word]).toEqual([
      origin,
      through === 'tor' ? tor : undefined,
      through,
    ]);
    // Who wants Tor waits for it.
    if (through === 'tor')
      expect(() => wayTo(target, undefined)).toThrow(expect.objectContaining({ code: 'tor.failed' }));
  }
});

describe('a server that is not the right one is told nothing', () => {
  /** A TLS server; what it was told beyond the handshake, which the client may have left before its end. */
  const listen = async (
    keys: { cert: string | Buffer; key: string | Buffer; maxVersion?: 'TLSv1.2' },
    host = '127.0.0.1',
  ) => {
    const heard = new Heard();
    const server = createTlsServer(
      {
        ...keys,
        SNICallback: (name, answer) => {
          heard.add(`name ${name}`);
          answer(null);
        },
      },
      (socket) => {
        socket.on('data', () => heard.add('data'));
        socket.on('close', () => heard.add('gone'));
        socket.on('error', () => {});
      },
    );
    server.on('tlsClientError', () => heard.add('gone'));
    return { port: await listenWith(server, host), heard };
  };

  test.each([
    ['another key', serverCertificate(Buffer.alloc(32, 8)), 'server.certificateChanged'],
    ['a certificate of authorities instead', CA_SIGNED, 'server.certificateChanged'],
  ])('%s', async (_name, keys, code) => {
    const { port, heard } = await listen(keys);
    await expect(dial({ origin: `wss://localhost:${port}` })).rejects.toMatchObject({ code });
    await heard.line('gone');
    // Not even a name.
    expect(heard.lines).toEqual(['gone']);
  });

  test.each([
    ['a certificate that nobody vouches for', 'localhost', ['name localhost', 'gone']],
    ['one for another name', '127.0.0.2', ['gone']],
  ])('%s', async (_name, host, told) => {
    setDefaultCACertificates(host === 'localhost' ? [] : [CA_SIGNED.cert.toString()]);
    onTestFinished(() => setDefaultCACertificates([]));
    const { port, heard } = await listen(CA_SIGNED, host);
    const dialled = dial({ origin: `wss://${host}:${port}`, trust: 'authorities' });
    await expect(dialled).rejects.toMatchObject({ code: 'server.certificateRefused' });
    await heard.line('gone');
    expect(heard.lines).toEqual(told);
  });

  test('an onion address of another key', async () => {
    const tor = { socksPath: '/nonexistent', isolation: 'x' };
    const target = { origin: `ws://${addressOf(OTHER_KEY)}` };
    await expect(dial(target, { tor })).rejects.toMatchObject({ code: 'server.certificateChanged' });
    const right = { origin: `ws://${addressOf(SERVER_KEY)}` };
    await expect(dial(right, { tor })).rejects.toMatchObject({ code: 'tor.failed' });
    await expect(dial(right)).rejects.toMatchObject({ code: 'tor.offline' });
  });

  test('an old TLS, none at all, something that is no server of ours', async () => {
    const old = await listen({ ...serverCertificate(SEED), maxVersion: 'TLSv1.2' });
    await expect(dial({ origin: `wss://localhost:${old.port}` })).rejects.toMatchObject({ code: 'server.invalid' });
    const answering = (answer: string | Buffer) =>
      listenWith(createTcpServer((socket) => socket.once('data', () => socket.end(answer))));
    const cases = [
      ['wss', 'SSH-2.0-x\r\n', 'server.invalid'],
      ['ws', 'HTTP/1.1 200 OK\r\n\r\n', 'server.invalid'],
      ['ws', Buffer.alloc(10_000, 'x'), 'server.invalid'],
      ['ws', buildRefusal(503), 'server.refused'],
      ['ws', '', 'server.unreachable'],
    ] as const;
    for (const [scheme, answer, code] of cases) {
      const origin = `${scheme}://127.0.0.1:${await answering(answer)}`;
      await expect(dial({ origin })).rejects.toMatchObject({ code });
    }
  });
});

describe('a dial', () => {
  test('to nobody', async () => {
    const server = createTcpServer();
    const port = await listenWith(server);
    server.close();
    await expect(dial({ origin: `ws://127.0.0.1:${port}` })).rejects.toMatchObject({
      code: 'server.unreachable',
      details: { why: 'ECONNREFUSED' },
    });
  });

  test('to a server that says nothing ends in time, or when it is called off', async () => {
    const heard = new Heard();
    const port = await listenWith(
      createTcpServer((socket) => {
        heard.add('here');
        socket.on('close', () => heard.add('gone'));
        socket.resume();
      }),
    );
    for (const scheme of ['ws', 'wss']) {
      const clock = new ManualClock();
      heard.lines.length = 0;
      const late = dial({ origin: `${scheme}://127.0.0.1:${port}` }, { clock });
      await heard.line('here');
      while (clock.step());
      await expect(late).rejects.toMatchObject({ code: 'server.timeout' });
      await heard.line('gone');
      const abort = new AbortController();
      const stopped = dial({ origin: `${scheme}://127.0.0.1:${port}` }, { signal: abort.signal });
      await heard.line('here', 2);
      abort.abort();
      await expect(stopped).rejects.toMatchObject({ code: 'server.unreachable' });
      await heard.line('gone', 2);
    }
    const origin = `ws://127.0.0.1:${port}`;
    await expect(dial({ origin }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'server.unreachable',
    });
  });

  test.each([
    'wss://',
    'https://host',
    'wss://host/',
    'wss://host:0',
    'wss://host:65536',
    'wss://HOST',
    'wss://user@host',
    'wss://host_1',
    'wss://-a.net',
    'wss://a..net',
    'ws://127.1',
    'wss://a.0x7f',
    'wss://[::1',
    'wss://[127.0.0.1]',
    'ws://host',
    'ws://10.0.0.1',
    'ws://127.evil.net',
    'ws://localhost.evil.net',
    'ws://x.onion.net',
  ])('%s is no origin', (origin) => {
    expect(() => parseOrigin(origin)).toThrow(expect.objectContaining({ code: 'link.invalid' }));
  });

  test('origins and what they mean', () => {
    expect(parseOrigin('wss://chat.example.net')).toMatchObject({ host: 'chat.example.net', port: 443, isTls: true });
    expect(parseOrigin('wss://[2001:db8::1]:7443')).toMatchObject({ host: '2001:db8::1', port: 7443 });
    expect(parseOrigin('ws://[::1]')).toMatchObject({ host: '::1', port: 80, isTls: false, authority: '[::1]' });
  });
});

describe('a link', () => {
  /** A server of the test's own making, in the clear: what it was sent goes to `heard`. */
  const serverOf = async (take: (socket: Socket) => void): Promise<string> =>
    `ws://127.0.0.1:${await listenWith(
      createTcpServer((socket) => {
        socket.once('data', (request: Buffer) => {
          socket.write(buildUpgradeResponse(parseUpgradeRequest(request.toString().trimEnd())));
          take(socket);
        });
      }),
    )}`;

  test.each([
    ['a masked frame', maskedFrame(textFrame('x'), Buffer.alloc(4)), '1002 frame.invalid'],
    ['no UTF-8', Buffer.from('8101ff', 'hex'), '1007 frame.invalid'],
    ['a message that is too large', Buffer.from('827f0000000000040001', 'hex'), '1009 frame.tooLarge'],
    ['a lost connection', undefined, '1006 connection lost'],
  ])('ends by %s', async (_name, bytes, told) => {
    const origin = await serverOf((socket) => {
      socket.write(textFrame('before'));
      if (bytes === undefined) socket.end();
      else socket.write(Buffer.concat([bytes, textFrame('after')]));
    });
    const { heard } = await dial({ origin });
    await heard.line('closed');
    expect(heard.lines).toEqual(['text before', `closed ${told}`]);
  });

  test('does not wait for a server that says goodbye and stays', async () => {
    const held: Socket[] = [];
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      socket.once('data', (request: Buffer) => {
        held.push(socket);
        socket.write(buildUpgradeResponse(parseUpgradeRequest(request.toString().trimEnd())));
        socket.write(closeFrame(1012, 'restart'));
      });
    });
    const { heard, clock } = await dial({ origin: `ws://127.0.0.1:${await listenWith(server)}` });
    await heard.line('closed 1012 restart');
    while (clock.step());
    // What nobody reads any more is answered with a reset.
    while (held[0]?.destroyed === false) {
      held[0].write('x');
      await new Promise(setImmediate);
    }
  });

  test('takes what a server may leave unsent at most', async () => {
    const origin = await serverOf((socket) => void socket.write(binaryFrame(Buffer.alloc(SERVER_UNSENT_BYTES_MAX))));
    const { heard } = await dial({ origin });
    expect(await heard.line('binary')).toHaveLength('binary '.length + 2 * SERVER_UNSENT_BYTES_MAX);
  });

  test('pings, tells how long that takes, and finds a server that is gone without a word', async () => {
    const serving = await Serving.plain();
    const { link, clock, heard } = await dial({ origin: `ws://127.0.0.1:${serving.port}` });
    expect(link.rttMs).toBeUndefined();
    for (let beat = 1; beat <= 4; beat++) {
      clock.step();
      clock.moveTo(clock.monotonic() + 7);
      link.text(`echo ${beat}`);
      await heard.line(`text ${beat}`);
    }
    expect(link.rttMs).toBe(7);
    const silent = await dial({ origin: await serverOf((socket) => socket.pause()) });
    for (let beat = 1; beat <= 3; beat++) {
      expect(silent.heard.lines).toEqual([]);
      silent.clock.step();
    }
    expect(silent.heard.lines).toEqual(['closed 4002 no sign of life']);
  });

  test('answers no more pings of a server that reads nothing', async () => {
    const pings = Buffer.concat(Array(2 ** 17).fill(pingFrame(Buffer.alloc(125))));
    const { promise: accepted, resolve } = Promise.withResolvers<Socket>();
    const origin = await serverOf((socket) => {
      resolve(socket.pause());
      socket.write(Buffer.concat([pings, textFrame('after')]));
    });
    const { heard, link } = await dial({ origin });
    await heard.line('text after');
    link.close(1000, 'enough');
    let bytes = 0;
    for await (const chunk of await accepted) bytes += chunk.length;
    // Some of it the system keeps.
    expect(bytes).toBeLessThan(pings.length * 0.75);
  });

  test('reading stops and goes on as its owner wishes', async () => {
    const serving = await Serving.plain();
    const { link, heard, clock } = await dial({ origin: `ws://127.0.0.1:${serving.port}` });
    link.pause();
    link.text('echo later');
    await serving.heard.line('c1 text');
    for (let beat = 1; beat <= 5; beat++) clock.step();
    expect(heard.lines).toEqual([]);
    link.resume();
    await heard.line('text later');
    // From the beginning, too.
    const told = new Heard();
    const quiet = await dial(
      { origin: `ws://127.0.0.1:${serving.port}` },
      {
        attach: (one) => {
          one.pause();
          one.text('echo early');
          return { text: (text) => told.add(text), binary: () => {}, drained: () => {}, closed: () => {} };
        },
      },
    );
    await serving.heard.line('c2 text echo early');
    link.text('echo x');
    await heard.line('text x');
    expect(told.lines).toEqual([]);
    quiet.link.resume();
    await told.line('early');
  });

  test('says when enough waits, and when there is room again', async () => {
    const serving = await Serving.plain();
    const { link, heard } = await dial({ origin: `ws://127.0.0.1:${serving.port}` });
    serving.opened[0]?.pause();
    const message = Buffer.alloc(SERVER_MESSAGE_BYTES_MAX);
    let sent = 1;
    for (; link.binary(message); sent++) await new Promise(setImmediate);
    expect(sent * SERVER_MESSAGE_BYTES_MAX).toBeGreaterThan(LINK_BUFFER_BYTES_MAX);
    serving.opened[0]?.resume();
    await heard.line('drained');
    await serving.heard.line('c1 binary', sent);
    expect(() => link.binary(Buffer.alloc(SERVER_MESSAGE_BYTES_MAX + 1))).toThrow('65537 bytes');
    expect(() => link.text('x'.repeat(SERVER_MESSAGE_BYTES_MAX + 1))).toThrow();
  });

  test('a close of ours is told once, and the server hears why', async () => {
    const serving = await Serving.plain();
    const { link, heard } = await dial({ origin: `ws://127.0.0.1:${serving.port}` });
    link.text('last');
    link.close(1001, 'leaving');
    link.close(1000, 'again');
    await serving.heard.line('c1 closed 1001 leaving');
    expect(serving.heard.lines.slice(1)).toEqual(['c1 text last', 'c1 closed 1001 leaving']);
    await serving.empty();
    expect(heard.lines).toEqual(['closed 1001 leaving']);
  });
});
