import { describe, expect, test } from 'vitest';
import { SottoError } from './errors.ts';
import { UPGRADE_BYTES_MAX } from './limits.ts';
import {
  buildRefusal,
  buildUpgradeRequest,
  buildUpgradeResponse,
  HeadReader,
  parseUpgradeRequest,
  parseUpgradeResponse,
} from './websocket-upgrade.ts';

const OFFER = { host: 'example.net:7443', path: '/v1', key: 'dGhlIHNhbXBsZSBub25jZQ==' } as const;
const head = (text: string): string => text.slice(0, -4);
const REQUEST = head(buildUpgradeRequest(OFFER));
const RESPONSE = head(buildUpgradeResponse(parseUpgradeRequest(REQUEST)));

const errorOf = (act: () => unknown): SottoError => {
  try {
    act();
  } catch (error) {
    if (error instanceof SottoError) return error;
    throw error;
  }
  throw new Error('taken');
};

describe('a request', () => {
  test('gets the answer of RFC 6455, section 1.3', () => {
    expect(parseUpgradeRequest(REQUEST)).toEqual({ path: '/v1', key: OFFER.key, forwarded: [] });
    expect(RESPONSE).toContain('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    expect(RESPONSE).toContain('Sec-WebSocket-Protocol: sotto.v1');
    parseUpgradeResponse(RESPONSE, OFFER);
  });

  test('as other programs and proxies write it', () => {
    const text = [
      'GET /v1/call HTTP/1.1',
      'host:x',
      'CONNECTION: keep-alive, UPGRADE',
      'upgrade: h2c, WebSocket',
      'sec-websocket-key:\tdGhlIHNhbXBsZSBub25jZQ== ',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
      'Sec-WebSocket-Protocol: other',
      'Sec-WebSocket-Protocol: sotto.v1, sotto.call.v1',
      'X-Forwarded-For: 192.0.2.1, 10.0.0.1',
      'X-Forwarded-For: 10.0.0.2',
      'Cookie: \u00e4',
      'Empty:',
    ].join('\r\n');
    const request = parseUpgradeRequest(text);
    expect(request).toMatchObject({ path: '/v1/call', forwarded: ['192.0.2.1', '10.0.0.1', '10.0.0.2'] });
    const answer = buildUpgradeResponse(request);
    expect(answer).toContain('sotto.call.v1');
    expect(answer).not.toContain('Extensions');
  });

  test.each([
    [404, 'GET /v1', 'GET /'],
    [404, 'GET /v1', 'GET /v1?x=1'],
    [404, 'GET /v1', 'GET //v1'],
    [404, 'GET /v1', 'GET /toString'],
    [404, 'GET /v1', 'GET https://example.net/v1'],
    [405, 'GET /v1', 'POST /v1'],
    [400, 'GET /v1', 'get /v1'],
    [400, 'GET /v1', 'GET  /v1'],
    [400, 'HTTP/1.1', 'HTTP/1.0'],
    [400, 'HTTP/1.1', 'HTTP/1.1 '],
    [400, 'Host: example.net:7443\r\n', ''],
    [400, 'Host:', 'Host: a\r\nHost:'],
    [400, 'Host:', 'Host :'],
    [400, 'Host:', ' Host:'],
    [400, 'Host:', 'X: a\r\n b\r\nHost:'],
    [400, 'Host:', 'X: a\nHost:'],
    [400, 'Host:', 'X: \0\r\nHost:'],
    [400, 'Host:', 'X\r\nHost:'],
    [400, 'Host:', 'Content-Length: 0\r\nHost:'],
    [400, 'Host:', 'Transfer-Encoding: chunked\r\nHost:'],
    [400, 'Host:', `${'X: a\r\n'.repeat(64)}Host:`],
    [426, 'Upgrade: websocket\r\n', ''],
    [426, 'Upgrade: websocket', 'Upgrade: h2c'],
    [426, 'Connection: Upgrade', 'Connection: close'],
    [426, 'Version: 13', 'Version: 8'],
    [426, 'Version: 13', 'Version: 13\r\nSec-WebSocket-Version: 13'],
    [400, 'dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ'],
    [400, 'dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZR=='],
    [400, 'dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
    [400, 'Protocol: sotto.v1', 'Protocol: sotto.v2'],
    [400, 'Protocol: sotto.v1', 'Protocol: sotto.call.v1'],
  ])('is refused with %i: %j → %j', (status, from, to) => {
    expect(REQUEST).toContain(from);
    const error = errorOf(() => parseUpgradeRequest(REQUEST.replace(from, () => to)));
    expect([error.code, error.details.status]).toEqual(['handshake.failed', status]);
    expect(buildRefusal(status)).toMatch(
      new RegExp(`^HTTP/1\\.1 ${status} \\w.*\r\nConnection: close\r\nContent-Length: 0\r\n`),
    );
  });
});

describe('an answer', () => {
  test.each([
    ['server.refused', '101 Switching Protocols', '503 Service Unavailable'],
    ['server.refused', '101 Switching Protocols', '429 '],
    ['server.invalid', '101 Switching Protocols', '200 OK'],
    ['server.invalid', '101 Switching Protocols', '302 Found'],
    ['server.invalid', '101 Switching Protocols', '404 Not Found'],
    ['server.invalid', 'HTTP/1.1 101', 'HTTP/1.0 101'],
    ['server.invalid', 'HTTP/1.1 101', 'SSH-2.0-x'],
    ['server.invalid', 'Upgrade: websocket', 'Upgrade: h2c'],
    ['server.invalid', 'Connection: Upgrade', 'Connection: close'],
    ['server.invalid', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 's3pPLMBiTxaQ9kYGzzhZRbK+xOp='],
    ['server.invalid', 'Sec-WebSocket-Protocol: sotto.v1', 'X: y'],
    ['server.invalid', 'Sec-WebSocket-Protocol: sotto.v1', 'Sec-WebSocket-Protocol: sotto.call.v1'],
    ['server.invalid', 'Upgrade: websocket', 'Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate'],
    ['server.invalid', 'Upgrade: websocket', 'Upgrade: websocket\r\nno header'],
  ])('is %s: %j → %j', (code, from, to) => {
    expect(RESPONSE).toContain(from);
    expect(
      errorOf(() =>
        parseUpgradeResponse(
          RESPONSE.replace(from, () => to),
          OFFER,
        ),
      ).code,
    ).toBe(code);
  });
});

describe('the head', () => {
  test('is whole wherever the chunks end, and what follows is kept', () => {
    const bytes = Buffer.from(`${REQUEST}\r\n\r\nrest`);
    for (const size of [1, 2, 3, 7, 1000]) {
      const reader = new HeadReader();
      for (let at = 0, found = false; !found; at += size) {
        const taken = reader.take(bytes.subarray(at, at + size));
        if (taken === undefined) continue;
        found = true;
        expect(taken.text).toBe(REQUEST);
        expect(Buffer.concat([taken.rest, bytes.subarray(at + size)]).toString()).toBe('rest');
      }
    }
  });

  test('has a limit, whether it ends or not', () => {
    const long = 'x'.repeat(UPGRADE_BYTES_MAX + 1);
    expect(errorOf(() => new HeadReader().take(Buffer.from(long))).code).toBe('frame.tooLarge');
    expect(errorOf(() => new HeadReader().take(Buffer.from(`${long}\r\n\r\n`))).code).toBe('frame.tooLarge');
    const reader = new HeadReader();
    const drip = () => {
      for (let sent = 0; sent <= UPGRADE_BYTES_MAX; sent++) reader.take(Buffer.from('x'));
    };
    expect(errorOf(drip).code).toBe('frame.tooLarge');
  });
});
