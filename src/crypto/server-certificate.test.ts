import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { ed25519Public } from './primitives.ts';
import { keyOfCertificate, serverCertificate } from './server-certificate.ts';

const seedOf = (byte: number): Buffer => Buffer.alloc(32, byte);

test('a certificate carries the server key, is signed by it, and never ends', () => {
  const { cert, key } = serverCertificate(seedOf(7));
  const certificate = new X509Certificate(cert);
  expect(keyOfCertificate(certificate)).toEqual(ed25519Public(seedOf(7)));
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(certificate.subject).toBe('CN=sotto server');
  expect([certificate.validFromDate.getTime(), certificate.validToDate.getTime()]).toEqual([
    Date.UTC(2020, 0, 1),
    Date.UTC(9999, 11, 31, 23, 59, 59),
  ]);
});

test('it is the same at every start and on every machine, and another one for another key', () => {
  const digest = createHash('sha256')
    .update(new X509Certificate(serverCertificate(seedOf(7)).cert).raw)
    .digest('hex');
  expect(digest).toBe('0bec07fec1ec6364e7a4e186b7c33568e906bd1a11dbdd89926ee75c3942caf3');
  for (let byte = 0; byte < 64; byte++) {
    const certificate = new X509Certificate(serverCertificate(seedOf(byte)).cert);
    expect(keyOfCertificate(certificate)).toEqual(ed25519Public(seedOf(byte)));
    expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  }
});

test('a certificate of another kind of key has none of ours', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(keyOfCertificate({ publicKey } as X509Certificate)).toBeUndefined();
});
