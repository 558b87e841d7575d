import { argon2Sync, createDecipheriv, createHmac, hkdfSync } from 'node:crypto';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { describe, expect, test } from 'vitest';
import { toBase64, toHex } from '../protocol/bytes.ts';
import type { DeviceId, EventId, MemberId } from '../protocol/ids.ts';
import { SEALED_BUCKETS_BYTES } from '../protocol/limits.ts';
import type { KeyWrap } from '../protocol/room-content.ts';
import { outcome } from '../testing/code.ts';
import {
  generatePassphrase,
  type KeyPlace,
  makeKeyWrap,
  openBody,
  openKeyWrap,
  openPreviousKey,
  readBodyHead,
  sealBody,
} from './channel-key.ts';

const fill = (n: number, size = 32) => new Uint8Array(size).fill(n);
/** The cheapest that is taken. */
const cost = { memoryKib: 64 * 1024, passes: 3, lanes: 1 };
const event = '0190a0a0a0a070008000000000000001' as EventId;
const place: KeyPlace = { serverId: fill(5), event, epoch: 2 };
const [key, old] = [fill(1), fill(2)];
const salt = fill(3, 16);
const passphrase = 'tulip mania ﬁve';
const wrapped = makeKeyWrap(place, passphrase, { key, salt, previous: old, cost });

const aead = (secret: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array) => {
  const cipher = createDecipheriv('chacha20-poly1305', secret, nonce, { authTagLength: 16 });
  cipher.setAAD(aad, { plaintextLength: sealed.length - 16 });
  cipher.setAuthTag(sealed.subarray(-16));
  return toHex(Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]));
};

describe('KEY-1: the key of a passphrase channel', () => {
  test('is wrapped as it is written down, computed without us', async () => {
    const wrap = await wrapped;
    const stretched = argon2Sync('argon2id', {
      message: Buffer.from('tulip mania five'),
      nonce: Buffer.from(salt),
      parallelism: 1,
      tagLength: 32,
      memory: 64 * 1024,
      passes: 3,
    });
    const both = Buffer.from(hkdfSync('sha256', stretched, Buffer.alloc(0), 'sotto channel wrap 1', 64));
    expect(wrap.commitment).toBe(both.subarray(32).toString('base64'));
    const aad = `sotto channel key 1${'\x05'.repeat(32)}`;
    const rest = Buffer.from(`${event}00000002${'00010000'}0301${toHex(salt)}`, 'hex');
    const sealed = Buffer.from(wrap.wrapped, 'base64');
    expect(aead(both.subarray(0, 32), Buffer.alloc(12), sealed, Buffer.concat([Buffer.from(aad), rest]))).toBe(
      toHex(key),
    );
    expect([wrap.memoryKib, wrap.passes, wrap.lanes, wrap.salt]).toEqual([65536, 3, 1, toBase64(salt)]);
    expect(wrap.wrapped).toBe('0/ThFhAPP4vT5A17+qHsC1KWSTud3XUWkX+pkVkh7GymU47xhZoq7/cVHZenJoGl');
  });

  test('opens with the passphrase in any normal form, at its place only', async () => {
    const wrap = await wrapped;
    expect(await openKeyWrap(place, wrap, 'tulip mania five')).toEqual(key);
    const open = (given: Partial<KeyPlace>, other: KeyWrap = wrap) =>
      outcome(() => openKeyWrap({ ...place, ...given }, other, passphrase));
    expect(await outcome(() => openKeyWrap(place, wrap, 'tulip mania six'))).toBe('passphrase.wrong');
    expect(await open({ serverId: fill(6) })).toBe('event.invalid wrap');
    expect(await open({ event: '0190a0a0a0a070008000000000000002' as EventId })).toBe('event.invalid wrap');
    expect(await open({}, { ...wrap, salt: Buffer.alloc(16).toString('base64') })).toBe('passphrase.wrong');
    expect(await open({}, { ...wrap, commitment: 'x' })).toBe('event.invalid wrap');
  });

  test('is not tried at a cost that is cheap to guess at, or an attack on our memory', async () => {
    const wrap = await wrapped;
    const costs = [
      { memoryKib: 8 },
      { memoryKib: 64 * 1024 - 1 },
      { memoryKib: 2 ** 21 },
      { passes: 2 },
      { passes: 11 },
      { lanes: 0 },
      { lanes: 17 },
    ];
    for (const other of costs)
      expect(await outcome(() => openKeyWrap(place, { ...wrap, ...other }, passphrase))).toBe('event.invalid cost');
    expect(await outcome(() => makeKeyWrap(place, '', { key, salt }))).toBe('passphrase.empty');
  });

  test('costs 256 MiB, three passes and four lanes unless it is said otherwise', async () => {
    const wrap = await makeKeyWrap(place, passphrase, { key, salt });
    expect(wrap).toMatchObject({ memoryKib: 256 * 1024, passes: 3, lanes: 4 });
    expect(wrap).not.toHaveProperty('previous');
    expect(openPreviousKey(place, wrap, key)).toBeUndefined();
  });

  test('after a rotation gives the one before to who has the new one, where that was wanted', async () => {
    const wrap = await wrapped;
    expect(openPreviousKey(place, wrap, key)).toEqual(old);
    expect(await outcome(() => openPreviousKey(place, wrap, old))).toBe('event.invalid previous');
    expect(await outcome(() => openPreviousKey({ ...place, epoch: 3 }, wrap, key))).toBe('event.invalid previous');
  });
});

const said = { id: event, sender: 'aa'.repeat(16) as MemberId };
const body = { ...said, epoch: 2, device: 'dd'.repeat(16) as DeviceId };
const signed = new Uint8Array(Buffer.from('a signed event'));
const sealed = sealBody(key, body, signed);

describe('KEY-2: a sealed body', () => {
  test('is made as it is written down, computed without us', () => {
    expect(toHex(sealed.subarray(0, 21))).toBe(`0100000002${body.device}`);
    const info = Buffer.concat([
      Buffer.from('sotto room message 1'),
      Buffer.from(`00000002${said.sender}${body.device}`, 'hex'),
    ]);
    const both = Buffer.from(hkdfSync('sha256', key, Buffer.from(event, 'hex'), info, 64));
    const padded = Buffer.alloc(320);
    padded.writeUInt32BE(signed.length);
    padded.set(signed, 4);
    const nonce = createHmac('sha256', both.subarray(32)).update(padded).digest().subarray(0, 12);
    expect(toHex(sealed.subarray(21, 33))).toBe(toHex(nonce));
    expect(aead(both.subarray(0, 32), nonce, sealed.subarray(33), sealed.subarray(0, 33))).toBe(toHex(padded));
    expect(sealed.length).toBe(33 + 320 + 16);
  });

  test('opens for its event, sender, device, epoch and channel key only, and not when a bit is changed', async () => {
    expect(openBody(key, said, sealed)).toEqual(signed);
    expect(readBodyHead(sealed)).toEqual({ epoch: 2, device: body.device });
    const open = (secret: Uint8Array, other: Partial<typeof said>, bytes = sealed) =>
      outcome(() => openBody(secret, { ...said, ...other }, bytes));
    expect(await open(old, {})).toBe('frame.undecryptable seal');
    expect(await open(key, { id: '0190a0a0a0a070008000000000000002' as EventId })).toBe('frame.undecryptable seal');
    expect(await open(key, { sender: 'ab'.repeat(16) as MemberId })).toBe('frame.undecryptable seal');
    for (let at = 1; at < sealed.length; at += 3) {
      const changed = sealed.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(await open(key, {}, changed)).toBe('frame.undecryptable seal');
    }
    expect(await open(key, {}, sealed.subarray(0, 33))).toBe('frame.undecryptable layout');
    expect(await open(key, {}, sealed.subarray(1))).toBe('frame.undecryptable layout');
  });

  test('of the same event with another content shares no key stream with the first', () => {
    const again = sealBody(key, body, new Uint8Array(Buffer.from('b signed event')));
    expect(toHex(again.subarray(21, 33))).not.toBe(toHex(sealed.subarray(21, 33)));
    const both = sealed.subarray(33).map((byte, at) => byte ^ (again[33 + at] ?? 0));
    expect([...both.subarray(8, 300)].filter((byte) => byte === 0).length).toBeLessThan(20);
    expect(sealBody(key, body, signed)).toEqual(sealed);
  });

  test('has the size of a bucket', async () => {
    for (const size of [1, 316, 317, 20_000]) {
      const bucket = sealBody(key, body, fill(1, size)).length - 33 - 16;
      expect(SEALED_BUCKETS_BYTES).toContain(bucket);
    }
    expect(await outcome(() => sealBody(key, body, fill(1, 32 * 1024)))).toBe('frame.tooLarge');
  });
});

test('a generated passphrase is six words of the list, each pair of bytes one word', () => {
  const words = generatePassphrase(Uint8Array.from([0, 0, 7, 255, 8, 0, 0, 1, 0, 2, 255, 255])).split(' ');
  expect(words).toEqual([wordlist[0], wordlist[2047], wordlist[0], wordlist[1], wordlist[2], wordlist[2047]]);
});
