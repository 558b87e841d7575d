import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { BackupOpener, BackupSealer } from './backup.ts';

test('BACKUP-1: the bytes are those that PROTOCOL tells, and open in their order, to their end and with their header only', async () => {
  const key = randomBytes(32);
  const plaintext = randomBytes(3 * 65_536 - 100);
  const sealer = await BackupSealer.create({ kind: 'account', key });
  const chunks = [...sealer.write(plaintext), sealer.end()];
  expect(Buffer.from(sealer.header).subarray(0, 14)).toEqual(Buffer.from('sotto backup\u0002\u0000'));
  expect([sealer.header.length, ...chunks.map((chunk) => chunk.length - 16)]).toEqual([46, 65_536, 65_536, 65_436]);

  const derived = Buffer.from(hkdfSync('sha256', key, sealer.header.subarray(14, 30), 'sotto backup 1', 32));
  const opens = (sealed: Uint8Array, counter: number, end: number, aad: Uint8Array) => {
    const nonce = Buffer.from([0, 0, 0, 0, 0, 0, 0, counter, 0, 0, 0, end]);
    const cipher = createDecipheriv('chacha20-poly1305', derived, nonce, { authTagLength: 16 });
    cipher.setAAD(aad, { plaintextLength: sealed.length - 16 });
    cipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
  };
  expect(opens(sealer.header.subarray(30), 0, 2, sealer.header.subarray(0, 30))).toHaveLength(0);
  const opened = chunks.map((chunk, index) => opens(chunk, index, index === 2 ? 1 : 0, sealer.header));
  expect(Buffer.concat(opened).equals(plaintext)).toBe(true);

  const reads = async (order: readonly number[], header = sealer.header) => {
    const opener = await BackupOpener.create(header, { kind: 'account', key });
    for (const [at, index] of order.entries()) opener.read(chunks[index] ?? new Uint8Array(), at === order.length - 1);
  };
  await reads([0, 1, 2]);
  const changed = Uint8Array.from(sealer.header, (byte, at) => (at === 20 ? byte ^ 1 : byte));
  for (const wrong of [reads([0, 2]), reads([0, 1]), reads([1, 0, 2]), reads([0, 1, 2, 2])])
    await expect(wrong).rejects.toMatchObject({ code: 'backup.damaged' });
  await expect(reads([0, 1, 2], changed)).rejects.toMatchObject({ code: 'passphrase.wrong' });
});

test('BACKUP-1: a wrong passphrase is told from a small backup that was cut or changed', async () => {
  const secret = { kind: 'passphrase', passphrase: 'right' } as const;
  const sealer = await BackupSealer.create(secret);
  const chunk = sealer.end();
  const opener = () => BackupOpener.create(sealer.header, secret);
  for (const damaged of [chunk.subarray(1), new Uint8Array(), chunk.map((byte) => byte ^ 1)]) {
    const right = await opener();
    expect(() => right.read(damaged, true)).toThrow(expect.objectContaining({ code: 'backup.damaged' }));
  }
  const wrong = BackupOpener.create(sealer.header, { ...secret, passphrase: 'left' });
  await expect(wrong).rejects.toMatchObject({ code: 'passphrase.wrong' });
  expect((await opener()).read(chunk, true)).toHaveLength(0);
});

test('a backup of version 1, which has no check of the key, opens', async () => {
  const key = randomBytes(32);
  const header = Buffer.concat([Buffer.from('sotto backup\u0001\u0000'), randomBytes(16)]);
  const cipher = createCipheriv(
    'chacha20-poly1305',
    Buffer.from(hkdfSync('sha256', key, header.subarray(14), 'sotto backup 1', 32)),
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    { authTagLength: 16 },
  );
  cipher.setAAD(header, { plaintextLength: 5 });
  const chunk = Buffer.concat([cipher.update('hello'), cipher.final(), cipher.getAuthTag()]);
  const first = Buffer.concat([header, chunk]).subarray(0, 46);
  for (const given of [key, randomBytes(32)]) {
    const opener = await BackupOpener.create(first, { kind: 'account', key: given });
    expect(opener.headerBytes).toBe(30);
    if (given === key) expect(Buffer.from(opener.read(chunk, true)).toString()).toBe('hello');
    else expect(() => opener.read(chunk, true)).toThrow(expect.objectContaining({ code: 'passphrase.wrong' }));
  }
});
