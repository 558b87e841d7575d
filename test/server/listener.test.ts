import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/protocol/errors.ts';
import {
  CALL_FRAME_BYTES_MAX,
  SERVER_MESSAGE_BYTES_MAX,
  SERVER_UNPROVEN_PER_SOURCE_MAX,
  SERVER_UNSENT_BYTES_MAX,
} from '../../src/protocol/limits.ts';
import { binaryFrame, closeFrame, maskedFrame, pingFrame, pongFrame, textFrame } from '../../src/protocol/websocket.ts';
import { CALL_REQUEST, folder, Raw, REQUEST, Serving } from './ends.ts';

const MASK = Buffer.from('37fa213d', 'hex');
const masked = (frame: Buffer): Buffer => maskedFrame(frame, MASK);
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('what a client sends', () => {
  test('may come in any pieces, several messages at once, together with the request', async () => {
    const serving = await Serving.plain();
    const raw = await serving.raw();
    const all = Buffer.concat([
      Buffer.from(REQUEST),
      masked(textFrame('one')),
      masked(binaryFrame(hex('00ff'))),
      masked(textFrame('echo two')),
    ]);
    for (let at = 0; at < all.length; at += 11) raw.write(all.subarray(at, at + 11));
    await raw.heard.line('text two');
    expect(serving.heard.lines).toEqual(['c1 opened /v1', 'c1 text one', 'c1 binary 00ff', 'c1 text echo two']);
    raw.write(masked(closeFrame(1000, 'bye')));
    await raw.heard.line('gone');
    expect(raw.heard.lines).toEqual(['head 101', 'text two', 'close 1000', 'end', 'gone']);
    expect(serving.heard.lines.at(-1)).toBe('c1 closed 1000 bye');
  });

  test.each([
    ['an unmasked frame', textFrame('x'), 1002, 'frame.invalid'],
    ['a reserved bit', hex('c18000000000'), 1002, 'frame.invalid'],
    ['an unknown opcode', hex('838000000000'), 1002, 'frame.invalid'],
    ['no UTF-8', masked(hex('8101ff')), 1007, 'frame.invalid'],
    ['a message that is too large', hex('82ff0000000000010001'), 1009, 'frame.tooLarge'],
    ['a long ping', hex('89fe007e'), 1002, 'frame.invalid'],
  ])('is refused when it is %s', async (_name, bytes, code, reason) => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    raw.write(masked(textFrame('before')), bytes, masked(textFrame('after')));
    await raw.heard.line('gone');
    expect(raw.heard.lines.slice(2)).toEqual([`close ${code} ${reason}`, 'end', 'gone']);
    expect(serving.heard.lines.slice(2)).toEqual([
      'c1 text before',
      `refused ${reason}`,
      `c1 closed ${code} ${reason}`,
    ]);
  });

  test('is refused when its owner finds it wrong, and nothing after it is taken', async () => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    serving.onText = (connection, text) => {
      if (text === 'wrong') throw new ProtocolError('frame.invalid', { details: { why: 'syntax' } });
      if (text === 'enough') connection.close(1008, 'enough');
    };
    raw.write(masked(textFrame('wrong')), masked(textFrame('more')));
    await raw.heard.line('close 1002 frame.invalid');
    const other = await serving.raw();
    other.write(REQUEST, masked(textFrame('enough')), masked(textFrame('more')));
    await other.heard.line('close 1008 enough');
    await serving.heard.line('c2 closed 1008 enough');
    expect(serving.heard.lines.filter((line) => line.includes('more'))).toEqual([]);
  });

  test('may break off anywhere', async () => {
    const serving = await Serving.plain();
    const cuts = [
      REQUEST.slice(0, 20),
      REQUEST,
      Buffer.concat([Buffer.from(REQUEST), masked(textFrame('x')).subarray(0, 5)]),
    ];
    for (const cut of cuts) {
      const raw = await serving.raw();
      raw.write(cut);
      if (cut !== cuts[0]) await raw.heard.line('head 101');
      raw.socket.resetAndDestroy();
    }
    await serving.heard.line('c1 closed 1006');
    await serving.heard.line('c2 closed 1006');
    const raw = await serving.rawOpen();
    raw.socket.destroy();
    await serving.heard.line('c3 closed 1006 connection lost');
    await serving.empty();
    expect(serving.listener.unprovenCount).toBe(0);
  });

  test.each([
    ['another path', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', '404'],
    ['a POST', 'POST /v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', '405'],
    ['an old version', REQUEST.replace('13', '12'), '426'],
    ['one with a body', REQUEST.replace('\r\n', '\r\nContent-Length: 4\r\n'), '400'],
    ['endless', `GET /v1 HTTP/1.1\r\nX: ${'x'.repeat(9000)}`, '431'],
    ['TLS', Buffer.concat([hex('160301'), Buffer.alloc(9000)]), '431'],
  ])('is no request of ours when it is %s', async (_name, bytes, status) => {
    const serving = await Serving.plain();
    const raw = await serving.raw();
    raw.write(bytes);
    await raw.heard.line('gone');
    expect(raw.heard.lines).toEqual([`head ${status}`, 'end', 'gone']);
    expect(serving.heard.lines).toHaveLength(1);
  });

  test('pings are answered with their bytes', async () => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    raw.write(masked(pingFrame(hex('010203'))), masked(pongFrame(hex('00'))));
    expect(await raw.heard.line('pong')).toBe('pong 3');
  });
});

describe('deadlines', () => {
  test('who says nothing, or a byte a second, is gone after 5 s, a second more at most', async () => {
    const serving = await Serving.plain();
    const silent = await serving.raw();
    const slow = await serving.raw();
    for (const letter of REQUEST.slice(0, 5)) {
      slow.write(letter);
      serving.pass(1000);
    }
    expect(serving.listener.connections.size).toBe(2);
    serving.pass(1000);
    await Promise.all([silent.heard.line('gone'), slow.heard.line('gone')]);
    expect(serving.heard.lines).toEqual(['refused late', 'refused late']);
  });

  test('the first message comes within 5 s of the upgrade, and the log-in within 10 s; pings do not count', async () => {
    const serving = await Serving.plain();
    const silent = await serving.raw();
    silent.write(REQUEST, masked(pingFrame()));
    await silent.heard.line('pong');
    const talking = await serving.rawOpen();
    const proven = await serving.rawOpen();
    serving.opened[2]?.prove();
    serving.pass(5000);
    silent.write(masked(pingFrame()));
    await silent.heard.line('pong', 2);
    serving.pass(1000);
    await silent.heard.line('close 4001 first message');
    serving.pass(4000);
    expect(serving.opened[1]?.isOpen).toBe(true);
    serving.pass(1000);
    await talking.heard.line('close 4001 log-in');
    serving.pass(3000);
    proven.write(masked(textFrame('echo still here')));
    await proven.heard.line('text still here');
  });

  test('what had come while the server stood still is in time', async () => {
    const serving = await Serving.plain();
    const [greeting, silent, talking, living] = [
      await serving.raw(),
      await serving.raw(),
      await serving.rawOpen(),
      await serving.rawOpen(),
    ];
    silent.write(REQUEST);
    await silent.heard.line('head');
    const standStill = (ms: number) => {
      serving.clock.moveTo(serving.clock.monotonic() + ms);
      serving.clock.step(serving.clock.monotonic());
    };
    serving.opened[1]?.prove();
    serving.pass(2000);
    greeting.write(REQUEST, masked(textFrame('echo greeted')));
    for (const raw of [silent, talking]) raw.write(masked(textFrame('echo here')));
    standStill(120_000);
    expect(serving.heard.lines.filter((line) => /closed|refused/.test(line))).toEqual([]);
    await greeting.heard.line('text greeted');
    for (const raw of [silent, talking]) await raw.heard.line('text here');
    // Who says nothing afterwards is as late as ever.
    serving.pass(9000);
    await silent.heard.line('close 4001 log-in');
    serving.pass(80_000);
    expect(await living.heard.line('close')).toBe('close 4002 no sign of life');
  });

  test('who does not answer pings is found, whoever answers stays', async () => {
    const serving = await Serving.plain();
    // Nothing answers for a socket that is only read.
    const deaf = await serving.rawOpen();
    const living = await serving.rawOpen();
    for (const connection of serving.opened) connection.prove();
    for (let beat = 1; beat <= 2; beat++) {
      serving.pass(30_000);
      await deaf.heard.line('ping', beat);
      await living.heard.line('ping', beat);
      living.write(masked(pongFrame(new Uint8Array())), masked(textFrame(`echo ${beat}`)));
      await living.heard.line(`text ${beat}`);
    }
    serving.pass(29_000);
    expect(serving.opened[0]?.isOpen).toBe(true);
    serving.pass(1000);
    expect(await serving.heard.line('c1 closed')).toBe('c1 closed 4002 no sign of life');
    expect(serving.opened[1]?.isOpen).toBe(true);
  });

  test('one for calls is asked after 10 s, and gone after 30 s without a sign of life', async () => {
    const serving = await Serving.plain();
    const [deaf, living] = [await serving.raw(), await serving.raw()];
    for (const [i, raw] of [deaf, living].entries()) {
      raw.write(CALL_REQUEST, masked(binaryFrame(hex('00'))));
      await serving.heard.line('c', 2 * (i + 1));
      serving.opened[i]?.prove();
    }
    for (let beat = 1; beat <= 2; beat++) {
      serving.pass(10_000);
      await deaf.heard.line('ping', beat);
      living.write(masked(pongFrame(new Uint8Array())), masked(binaryFrame(hex('01'))));
      await serving.heard.line('c2 binary 01', beat);
    }
    serving.pass(9_000);
    expect(serving.opened[0]?.isOpen).toBe(true);
    serving.pass(1_000);
    expect(await serving.heard.line('c1 closed')).toBe('c1 closed 4002 no sign of life');
    expect(serving.opened[1]?.isOpen).toBe(true);
    // The header of a message that is too large for it is enough.
    living.write(masked(binaryFrame(new Uint8Array(CALL_FRAME_BYTES_MAX + 1))).subarray(0, 8));
    expect(await serving.heard.line('c2 closed')).toBe('c2 closed 1009 frame.tooLarge');
  });

  test('a socket that is closed and not let go is taken away', async () => {
    const serving = await Serving.plain();
    const socket = connect({ port: serving.port, host: '127.0.0.1', allowHalfOpen: true });
    const raw = await Raw.to(socket);
    raw.write(REQUEST, masked(textFrame('x')));
    await serving.heard.line('c1 text');
    serving.opened[0]?.close(1008, 'go');
    await raw.heard.line('end');
    serving.pass(5000);
    expect(serving.listener.connections.size).toBe(1);
    serving.pass(1000);
    await serving.empty();
  });
});

describe('limits', () => {
  test('20 that have not logged in per source; who has logged in leaves room', async () => {
    const serving = await Serving.plain();
    const raws: Raw[] = [];
    for (let n = 0; n < SERVER_UNPROVEN_PER_SOURCE_MAX; n++) raws.push(await serving.rawOpen());
    const refused = await serving.raw();
    await refused.heard.line('gone');
    expect(serving.heard.lines.at(-1)).toBe('refused too many');
    serving.opened[0]?.prove();
    serving.opened[0]?.prove();
    const next = await serving.rawOpen();
    await (await serving.raw()).heard.line('gone');
    next.socket.destroy();
    await serving.heard.line('c21 closed');
    await serving.rawOpen();
    expect(serving.listener.unprovenCount).toBe(SERVER_UNPROVEN_PER_SOURCE_MAX);
  });

  test('when all places are taken somebody who has not logged in makes room; else there is none', async () => {
    const serving = await Serving.plain({ connectionsMax: 3 });
    for (let n = 0; n < 3; n++) await serving.rawOpen();
    serving.opened[0]?.prove();
    serving.opened[1]?.prove();
    await serving.rawOpen();
    await serving.heard.line('c3 closed 1006');
    serving.opened[3]?.prove();
    await (await serving.raw()).heard.line('gone');
    expect(serving.heard.lines.at(-1)).toBe('refused too many');
    expect(serving.opened.filter((one) => one.isOpen)).toHaveLength(3);
  });

  const forwarded = (value: string): string => REQUEST.replace('\r\n', `\r\nX-Forwarded-For: ${value}\r\n`);
  const sourceFor = async (serving: Serving, request: string): Promise<string | undefined> => {
    const raw = await serving.raw();
    raw.write(request);
    await raw.heard.line('head 101');
    return serving.opened.at(-1)?.source;
  };

  test('a proxy of ours tells the source, nobody else', async () => {
    const open = await Serving.plain();
    expect(await sourceFor(open, forwarded('192.0.2.9'))).toBe('127.0.0.1');
    const behind = await Serving.plain({ proxies: ['127.0.0.0/8', '10.0.0.1'] });
    expect(await sourceFor(behind, forwarded('192.0.2.9'))).toBe('192.0.2.9');
    expect(await sourceFor(behind, forwarded('6.6.6.6, 192.0.2.9, 10.0.0.1'))).toBe('192.0.2.9');
    expect(await sourceFor(behind, forwarded('2001:DB8::0:1'))).toBe('2001:db8:0:0::/64');
    expect(await sourceFor(behind, forwarded('::ffff:192.0.2.9'))).toBe('192.0.2.9');
    expect(await sourceFor(behind, forwarded('192.0.2.9, evil'))).toBe('127.0.0.1');
    expect(await sourceFor(behind, REQUEST)).toBe('127.0.0.1');
    const counted = await Serving.plain({ proxies: ['::ffff:127.0.0.1'] });
    for (let n = 0; n < SERVER_UNPROVEN_PER_SOURCE_MAX; n++) await sourceFor(counted, forwarded('192.0.2.9'));
    const raw = await counted.raw();
    raw.write(forwarded('192.0.2.9'));
    await raw.heard.line('head 503');
    expect(await sourceFor(counted, forwarded('192.0.2.8'))).toBe('192.0.2.8');
    await expect(Serving.plain({ proxies: ['10.0.0.0/33'] })).rejects.toMatchObject({ code: 'config.invalid' });
    await expect(Serving.plain({ proxies: ['proxy'] })).rejects.toMatchObject({ code: 'config.invalid' });
  });

  test('at a Unix socket Tor tells the circuit, and has to', async () => {
    const path = join(folder(), 'onion');
    const serving = await Serving.at([{ kind: 'unix', path, circuits: true }]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const line = 'PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 666 80\r\n';
    const raw = await Raw.to(connect({ path }));
    raw.write(line, REQUEST);
    await raw.heard.line('head 101');
    expect(serving.opened[0]?.source).toBe('fc00:dead:beef:4dad::0:29');
    const bare = await Raw.to(connect({ path }));
    bare.write(REQUEST);
    await bare.heard.line('head 400');
  });
});

describe('what is sent', () => {
  test('in one turn leaves together and in order, to each his own', async () => {
    const serving = await Serving.plain();
    const [one, other] = [await serving.rawOpen(), await serving.rawOpen()];
    const shared = textFrame('for both');
    for (const connection of serving.opened) {
      connection.send(shared);
      connection.send(textFrame(`for ${connection.state?.name}`));
    }
    serving.opened[0]?.close(1000, 'over');
    expect(serving.opened[0]?.send(shared)).toBe(false);
    await one.heard.line('gone');
    await other.heard.line('text for c2');
    expect(one.heard.lines.slice(2)).toEqual(['text for both', 'text for c1', 'close 1000 over', 'end', 'gone']);
    expect(other.heard.lines.slice(2)).toEqual(['text for both', 'text for c2']);
  });

  test('a burst of one turn goes to whoever reads, however large', async () => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    const frame = binaryFrame(Buffer.alloc(SERVER_MESSAGE_BYTES_MAX));
    const count = (4 * SERVER_UNSENT_BYTES_MAX) / SERVER_MESSAGE_BYTES_MAX;
    const room = Array.from({ length: count }, () => serving.opened[0]?.send(frame));
    expect(room).not.toContain(true);
    await raw.heard.line('binary', count);
    await serving.heard.line('c1 drained');
    expect(serving.opened[0]?.unsentBytes).toBe(0);
  });

  test('who does not read is closed, keeps little waiting, and disturbs nobody', async () => {
    const serving = await Serving.plain();
    const [slow, quick] = [await serving.rawOpen(), await serving.rawOpen()];
    const [toSlow, toQuick] = serving.opened;
    slow.socket.pause();
    const frame = binaryFrame(Buffer.alloc(SERVER_MESSAGE_BYTES_MAX));
    let sent = 0;
    for (; toSlow?.isOpen === true; sent++) {
      toSlow.send(frame);
      toQuick?.send(frame);
      await quick.heard.line('binary', sent + 1);
    }
    await serving.heard.line('c1 closed 4000 slow');
    expect(toSlow?.unsentBytes).toBeLessThan(SERVER_UNSENT_BYTES_MAX + 100);
    // It reads after all: what was sent before is whole, and it learns why it has ended.
    slow.socket.resume();
    await slow.heard.line('gone');
    expect(slow.heard.lines.slice(-3)).toEqual(['close 4000 slow', 'end', 'gone']);
    expect(slow.heard.lines.filter((line) => line.startsWith('binary'))).toHaveLength(sent - 1);
    quick.write(masked(textFrame('echo fine')));
    await quick.heard.line('text fine');
  });

  test('a reader that is closed and still does not read is gone 5 s later', async () => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    raw.socket.pause();
    const frame = binaryFrame(Buffer.alloc(SERVER_UNSENT_BYTES_MAX));
    while (serving.opened[0]?.isOpen === true) {
      serving.opened[0].send(frame);
      await new Promise(setImmediate);
    }
    expect(serving.listener.connections.size).toBe(1);
    serving.pass(6000);
    await serving.empty();
  });

  test('reading stops and goes on as the owner wishes; silence of that kind is none', async () => {
    const serving = await Serving.plain();
    const raw = await serving.rawOpen();
    const [connection] = serving.opened;
    connection?.prove();
    serving.pass(60_000);
    await raw.heard.line('ping', 2);
    connection?.pause();
    serving.pass(200_000);
    expect(connection?.isOpen).toBe(true);
    connection?.resume();
    serving.pass(30_000);
    await raw.heard.line('ping', 3);
    connection?.pause();
    raw.write(masked(textFrame('later')));
    const other = await serving.rawOpen();
    other.write(masked(textFrame('echo now')));
    await other.heard.line('text now');
    expect(serving.heard.lines).not.toContain('c1 text later');
    connection?.resume();
    await serving.heard.line('c1 text later');
  });
});

test('a connection that is not read any more still ends well', async () => {
  const serving = await Serving.plain();
  const raw = await serving.rawOpen();
  serving.opened[0]?.pause();
  raw.write(masked(binaryFrame(Buffer.alloc(1000))));
  serving.opened[0]?.close(1008, 'enough');
  await raw.heard.line('gone');
  await serving.empty();
  expect(raw.heard.lines.slice(2)).toEqual(['close 1008 enough', 'end', 'gone']);
});

test('with TLS: no TLS at all, a handshake that breaks off, one that never ends', async () => {
  const serving = await Serving.tls();
  const plain = await serving.raw();
  plain.write(REQUEST);
  const silent = await serving.raw();
  const cut = await serving.raw();
  const hello = tlsConnect({ socket: (await serving.raw()).socket, rejectUnauthorized: false });
  await new Promise((resolve) => hello.once('secureConnect', resolve));
  hello.on('error', () => {});
  cut.write(hex('16030100c8010000c4'));
  cut.socket.resetAndDestroy();
  await plain.heard.line('gone');
  hello.write(REQUEST.slice(0, 10));
  serving.pass(6000);
  await silent.heard.line('gone');
  await serving.empty();
  expect(serving.heard.lines.filter((line) => line.startsWith('c'))).toEqual([]);
  const slow = tlsConnect({ port: serving.port, host: '127.0.0.1', rejectUnauthorized: false });
  const raw = await Raw.to(slow);
  raw.write(REQUEST, masked(textFrame('echo up')));
  await raw.heard.line('text up');
  slow.pause();
  for (const frame = binaryFrame(Buffer.alloc(SERVER_UNSENT_BYTES_MAX)); serving.opened[0]?.isOpen === true; ) {
    serving.opened[0].send(frame);
    await new Promise(setImmediate);
  }
  slow.resume();
  await raw.heard.line('close 4000 slow');
});

test('at the end everybody is told, and nobody new is taken', async () => {
  const serving = await Serving.plain();
  const [open, greeting] = [await serving.rawOpen(), await serving.raw()];
  const { port } = serving;
  serving.listener.stopAccepting();
  open.write(masked(textFrame('echo still')));
  await open.heard.line('text still');
  await serving.listener[Symbol.asyncDispose]();
  expect(open.heard.lines.slice(-3)).toEqual(['close 1012 restart', 'end', 'gone']);
  expect(greeting.heard.lines).toEqual(['end', 'gone']);
  const late = connect({ port, host: '127.0.0.1' });
  expect(await new Promise((resolve) => late.once('error', (error) => resolve('code' in error && error.code)))).toBe(
    'ECONNREFUSED',
  );
});
