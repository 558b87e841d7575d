import { createHash, createPublicKey, hkdfSync, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex } from '../protocol/bytes.ts';
import { outcome } from '../testing/code.ts';
import { SERVER_ID, SERVER_SEED, testMember } from '../testing/rooms.ts';
import {
  compareCertificate,
  DEVICE_CERTIFICATE_BYTES,
  type DeviceCertificate,
  deviceIdOf,
  type Greeting,
  type Hello,
  makeDeviceCertificate,
  memberIdOf,
  memberSecrets,
  nextSerial,
  readDeviceCertificate,
  signHello,
  signLogin,
  verifyHello,
  verifyLogin,
} from './member.ts';
import { ed25519Public } from './primitives.ts';

const hash = (...parts: readonly (string | Uint8Array)[]) => {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest('hex');
};
const raw = (key: Uint8Array) =>
  createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') }, format: 'jwk' });
const bytes = (n: number) => new Uint8Array(32).fill(n);

const servers = bytes(7);
const other = ed25519Public(bytes(0x52));

describe('MEMBER-1: who a member is', () => {
  test('the keys are HKDF of the account’s servers key and the server id, as computed without us', () => {
    const secrets = memberSecrets(servers, SERVER_ID);
    const derive = (label: string) => {
      const info = Buffer.concat([Buffer.from(`sotto 1 ${label}`), SERVER_ID]);
      return toHex(new Uint8Array(hkdfSync('sha256', servers, new Uint8Array(), info, 32)));
    };
    expect(toHex(secrets.memberSeed)).toBe(derive('member'));
    expect(toHex(secrets.signalSecret)).toBe(derive('member-signal'));
    expect(toHex(secrets.memberSeed)).toBe('5b984a57be6160ea7702f65d1d36d2b536ff69a11bba6efda1472b70a1bc09e5');
    expect(memberIdOf(SERVER_ID, secrets.memberKey)).toBe(
      hash('sotto member 1', SERVER_ID, secrets.memberKey).slice(0, 32),
    );
    expect(deviceIdOf(secrets.memberKey)).toBe(hash('sotto device 1', secrets.memberKey).slice(0, 32));
  });

  test('nothing is the same on two servers', () => {
    const [here, there] = [memberSecrets(servers, SERVER_ID), memberSecrets(servers, other)];
    const all = [here, there].flatMap((secrets) => Object.values(secrets).map(toHex));
    expect(new Set(all).size).toBe(8);
    expect(memberIdOf(SERVER_ID, here.memberKey)).not.toBe(memberIdOf(other, here.memberKey));
  });
});

describe('MEMBER-2: a device certificate', () => {
  const alice = testMember(1);
  const { signingKey, signalKey } = alice.certified;

  test('has the layout that is written down, and comes back', () => {
    const certificate = makeDeviceCertificate(SERVER_ID, alice.memberSeed, { signingKey, signalKey, serial: 0x1234 });
    const memberKey = ed25519Public(alice.memberSeed);
    const label = toHex(Buffer.from('sotto device certificate 1'));
    const expected = `${label}${toHex(SERVER_ID)}${toHex(memberKey)}${toHex(signingKey)}${toHex(signalKey)}000000001234`;
    expect(toHex(certificate.subarray(0, -64))).toBe(expected);
    expect(certificate.length).toBe(DEVICE_CERTIFICATE_BYTES);
    expect(verify(null, certificate.subarray(0, -64), raw(memberKey), certificate.subarray(-64))).toBe(true);
    expect(readDeviceCertificate(certificate, SERVER_ID)).toEqual({ ...alice.certified, serial: 0x1234 });
  });

  test('is refused for another server, with another signature, cut, and with a key outside the prime-order subgroup', () => {
    const read = (certificate: Uint8Array, server = SERVER_ID) =>
      outcome(() => readDeviceCertificate(certificate, server));
    const changed = alice.certificate.slice();
    changed[changed.length - 70] = (changed[changed.length - 70] ?? 0) ^ 1;
    expect(read(alice.certificate, other)).toBe('certificate.invalid server');
    expect(read(changed)).toBe('certificate.invalid signature');
    expect(read(alice.certificate.subarray(1))).toBe('certificate.invalid size');
    const small = [bytes(0), Uint8Array.from([1, ...bytes(0).subarray(1)])];
    for (const key of small) {
      const forged = makeDeviceCertificate(SERVER_ID, alice.memberSeed, { signingKey: key, signalKey, serial: 1 });
      expect(read(forged)).toBe('key.invalid');
      const keyed = alice.certificate.slice();
      keyed.set(key, 26 + 32);
      expect(read(keyed)).toBe('key.invalid');
    }
  });

  test('serials only grow, and each belongs to one device', () => {
    const [first, second] = [testMember(1).certified, testMember(1, SERVER_ID, 1).certified];
    expect(second.member).toBe(first.member);
    expect(compareCertificate([], first)).toBe('newDevice');
    expect(compareCertificate([first], first)).toBe('same');
    expect(compareCertificate([first], second)).toBe('newDevice');
    const renewed: DeviceCertificate = { ...first, serial: 9 };
    expect(compareCertificate([first, second], renewed)).toBe('renewed');
    expect(outcome(() => compareCertificate([renewed, second], first))).toBe('certificate.invalid older');
    expect(outcome(() => compareCertificate([first], { ...second, serial: 1 }))).toBe('certificate.invalid serial');
    const signal = testMember(2).certified.signalKey;
    expect(outcome(() => compareCertificate([first], { ...second, signalKey: signal }))).toBe(
      'certificate.invalid signalKey',
    );
    expect([nextSerial([], 5), nextSerial([renewed], 5), nextSerial([renewed], 50)]).toEqual([5, 10, 50]);
  });
});

const greeting: Greeting = { origin: 'wss://rooms.example:7443', clientNonce: bytes(1), serverNonce: bytes(2) };
const elsewhere: readonly Greeting[] = [
  { ...greeting, origin: 'wss://rooms.example' },
  { ...greeting, clientNonce: bytes(3) },
  { ...greeting, serverNonce: bytes(3) },
];

describe('MEMBER-3: the proof of a greeting', () => {
  const hello: Hello = { ...greeting, isBound: true };

  test('is the server key’s over label, nonces, whether TLS ends there, and origin', () => {
    const signature = signHello(SERVER_SEED, hello);
    const signed = `sotto hello 1${'\x01'.repeat(32)}${'\x02'.repeat(32)}\x01\0\x18wss://rooms.example:7443`;
    expect(verify(null, Buffer.from(signed, 'latin1'), raw(SERVER_ID), signature)).toBe(true);
    expect(verifyHello(SERVER_ID, hello, signature)).toBe(true);
  });

  test('fits no other origin, nonce or server, nor one in which TLS does not end', () => {
    const signature = signHello(SERVER_SEED, hello);
    for (const one of elsewhere) expect(verifyHello(SERVER_ID, { ...one, isBound: true }, signature)).toBe(false);
    expect(verifyHello(SERVER_ID, { ...greeting, isBound: false }, signature)).toBe(false);
    expect(verifyHello(other, hello, signature)).toBe(false);
    expect(verifyHello(SERVER_ID, hello, signature.subarray(1))).toBe(false);
  });
});

describe('MEMBER-4: the proof of a log-in', () => {
  const { deviceSeed, certified } = testMember(1);
  const login = { ...greeting, serverId: SERVER_ID, binding: bytes(9) };

  test('is the device key’s over label, server, origin, nonces and binding', () => {
    const signed = Buffer.concat([
      Buffer.from('sotto login 1'),
      SERVER_ID,
      Buffer.from('\0\x18wss://rooms.example:7443'),
      bytes(1),
      bytes(2),
      Buffer.from([1]),
      bytes(9),
    ]);
    expect(verify(null, signed, raw(certified.signingKey), signLogin(deviceSeed, login))).toBe(true);
    expect(verifyLogin(certified.signingKey, login, signLogin(deviceSeed, login))).toBe(true);
  });

  test('fits no other server, origin, nonce, device or binding: one that was relayed is refused', () => {
    const signature = signLogin(deviceSeed, login);
    const { binding, ...unbound } = login;
    const wrong = [
      ...elsewhere.map((one) => ({ ...login, ...one })),
      { ...login, serverId: other },
      { ...login, binding: bytes(8) },
      unbound,
    ];
    for (const one of wrong) expect(verifyLogin(certified.signingKey, one, signature)).toBe(false);
    expect(verifyLogin(testMember(2).certified.signingKey, login, signature)).toBe(false);
    expect(verifyLogin(certified.signingKey, unbound, signLogin(deviceSeed, unbound))).toBe(true);
    expect(binding).toEqual(bytes(9));
  });
});
