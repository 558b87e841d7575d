import { createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { BackupOpener, BackupSealer } from './backup.ts';

test('BACKUP-1: the bytes are those that PROTOCOL tells, and open in their order, to their end and with their header only', async () => {
  const key = randomBytes(32);
  const plaintext = randomBytes(3 * 65_536 - 100);
  const sealer = await BackupSealer.create({ kind: 'account', key });
  const chunks = [...sealer.write(plaintext), sealer.end()];
  expect(Buffer.from(sealer.header).subarray(0, 14)).toEqual(Buffer.from('sotto backup\u0001\u0000'));
  expect([sealer.header.length, ...chunks.map((chunk) => chunk.length - 16)]).toEqual([30, 65_536, 65_536, 65_436]);

  const derived = Buffer.from(hkdfSync('sha256', key, sealer.header.subarray(14), 'sotto backup 1', 32));
  const opened = chunks.map((chunk, index) => {
    const nonce = Buffer.from([0, 0, 0, 0, 0, 0, 0, index, 0, 0, 0, index === 2 ? 1 : 0]);
    const cipher = createDecipheriv('chacha20-poly1305', derived, nonce, { authTagLength: 16 });
    cipher.setAAD(sealer.header, { plaintextLength: chunk.length - 16 });
    cipher.setAuthTag(chunk.subarray(-16));
    return Buffer.concat([cipher.update(chunk.subarray(0, -16)), cipher.final()]);
  });
  expect(Buffer.concat(opened).equals(plaintext)).toBe(true);

  const reads = async (order: readonly number[], header = sealer.header) => {
    const opener = await BackupOpener.create(header, { kind: 'account', key });
    for (const [at, index] of order.entries()) opener.read(chunks[index] ?? new Uint8Array(), at === order.length - 1);
  };
  await reads([0, 1, 2]);
  const changed = Uint8Array.from(sealer.header, (byte, at) => (at === 20 ? byte ^ 1 : byte));
  for (const wrong of [reads([0, 2]), reads([0, 1]), reads([1, 0, 2]), reads([0, 1, 2, 2]), reads([0, 1, 2], changed)])
    await expect(wrong).rejects.toMatchObject({ code: expect.stringMatching(/^(backup\.damaged|passphrase\.wrong)$/) });
});
