// The `ws` package as the other end, over real sockets: what others understand by RFC 6455.
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { expect, onTestFinished, test } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { serverCertificate } from '../../src/crypto/server-certificate.ts';
import { SERVER_MESSAGE_BYTES_MAX } from '../../src/protocol/limits.ts';
import { binaryFrame, pingFrame, textFrame } from '../../src/protocol/websocket.ts';
import { dial, Heard, listenWith, SEED, Serving } from './ends.ts';

const open = async (url: string, protocols: string[], deflate = false) => {
  const heard = new Heard();
  const socket = new WebSocket(url, protocols, { perMessageDeflate: deflate, rejectUnauthorized: false });
  onTestFinished(() => socket.terminate());
  socket.on('message', (bytes: Buffer, isBinary) => heard.add(isBinary ? `binary ${bytes.length}` : `text ${bytes}`));
  socket.on('ping', (bytes: Buffer) => heard.add(`ping ${bytes}`));
  socket.on('pong', (bytes: Buffer) => heard.add(`pong ${bytes}`));
  socket.on('close', (code, reason) => heard.add(`close ${code} ${reason}`.trim()));
  socket.on('error', (error) => heard.add(`error ${error.message}`));
  socket.on('open', () => heard.add(`open ${socket.protocol} ${socket.extensions}`.trim()));
  await heard.line('');
  return { socket, heard };
};

test.each(['ws', 'wss'])('their client, our server: %s', async (scheme) => {
  const serving = scheme === 'ws' ? await Serving.plain() : await Serving.tls();
  const { socket, heard } = await open(`${scheme}://127.0.0.1:${serving.port}/v1`, ['other', 'sotto.v1'], true);
  expect(heard.lines).toEqual(['open sotto.v1']);
  socket.send('echo hällo');
  await heard.line('text hällo');
  socket.send(Buffer.alloc(SERVER_MESSAGE_BYTES_MAX));
  socket.send('frag', { fin: false });
  socket.ping('between');
  socket.send('ments', { fin: true });
  socket.send('');
  await serving.heard.line('c1 text', 3);
  expect(serving.heard.lines.map((line) => line.slice(0, 20))).toEqual([
    'c1 opened /v1',
    'c1 text echo hällo',
    `c1 binary ${'0'.repeat(10)}`,
    'c1 text fragments',
    'c1 text ',
  ]);
  await heard.line('pong between');
  const [connection] = serving.opened;
  for (const size of [0, 125, 126, 65_535, 65_536, 200_000]) connection?.send(binaryFrame(Buffer.alloc(size)));
  connection?.send(Buffer.concat([textFrame('two in'), textFrame('one'), pingFrame(Buffer.from('p'))]));
  await heard.line('ping p');
  expect(heard.lines.slice(3)).toEqual([
    ...[0, 125, 126, 65_535, 65_536, 200_000].map((size) => `binary ${size}`),
    'text two in',
    'text one',
    'ping p',
  ]);
  connection?.close(4000, 'slow');
  expect(await heard.line('close')).toBe('close 4000 slow');
  const other = await open(`${scheme}://127.0.0.1:${serving.port}/v1/call`, ['sotto.call.v1']);
  other.socket.close(3000, 'bye');
  await serving.heard.line('c2 closed 3000 bye');
  expect(await other.heard.line('close')).toBe('close 3000');
});

test('their client is refused by us with what it asks for wrongly', async () => {
  const serving = await Serving.plain();
  const cases = [
    ['/v1', 'sotto.v2', '400'],
    ['/', 'sotto.v1', '404'],
  ] as const;
  for (const [path, protocol, status] of cases) {
    const { heard } = await open(`ws://127.0.0.1:${serving.port}${path}`, [protocol]);
    expect(heard.lines[0]).toBe(`error Unexpected server response: ${status}`);
  }
  const large = await open(`ws://127.0.0.1:${serving.port}/v1`, ['sotto.v1']);
  large.socket.send(Buffer.alloc(SERVER_MESSAGE_BYTES_MAX + 1));
  expect(await large.heard.line('close')).toBe('close 1009 frame.tooLarge');
});

test.each(['ws', 'wss'])('our client, their server: %s', async (scheme) => {
  const heard = new Heard();
  const http = scheme === 'ws' ? createServer() : createTlsServer(serverCertificate(SEED));
  const server = new WebSocketServer({ server: http, path: '/v1', perMessageDeflate: true });
  onTestFinished(() => server.close());
  const sockets: WebSocket[] = [];
  server.on('connection', (socket) => {
    sockets.push(socket);
    heard.add(`open ${socket.protocol} ${socket.extensions}`.trim());
    socket.on('message', (bytes: Buffer, isBinary) => heard.add(isBinary ? `binary ${bytes.length}` : `text ${bytes}`));
    socket.on('pong', (bytes: Buffer) => heard.add(`pong ${bytes}`));
    socket.on('close', (code, reason) => heard.add(`close ${code} ${reason}`.trim()));
  });
  const origin = `${scheme}://127.0.0.1:${await listenWith(http)}`;
  const client = await dial({ origin });
  client.link.text('hällo');
  for (const size of [0, 125, 126, 65_535, 65_536]) client.link.binary(Buffer.alloc(size));
  await heard.line('binary 65536');
  expect(heard.lines).toEqual([
    'open sotto.v1',
    'text hällo',
    ...[0, 125, 126, 65_535, 65_536].map((size) => `binary ${size}`),
  ]);
  const [theirs] = sockets;
  theirs?.ping('p');
  theirs?.send('frag', { fin: false });
  theirs?.send('ments', { fin: true });
  theirs?.send(Buffer.alloc(200_000));
  await client.heard.line('binary');
  await heard.line('pong p');
  expect(client.heard.lines[0]).toBe('text fragments');
  theirs?.close(4001, 'late');
  await client.heard.line('closed 4001 late');
  await heard.line('close 4001');
  const again = await dial({ origin });
  again.link.close(1001, 'leaving');
  await heard.line('close 1001 leaving');
});
