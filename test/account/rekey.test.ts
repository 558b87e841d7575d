// A change of the database key that is killed at any of its steps: one passphrase opens the account, and all of it is there.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { createAccount } from '../../src/core/account.ts';
import {
  createAccountDir,
  openAccountDatabase,
  openAccountVault,
  rekeyAccountDir,
  settleAccountDir,
} from '../../src/daemon/account-dir.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { getSelf } from '../../src/store/self.ts';
import { dieEverywhere } from './dying.ts';

const base = mkdtempSync(join(tmpdir(), 'sotto-rekey-'));
const pathsOf = (dir: string) => accountPaths(placesOf(dir, {}), 'alice', {});
const first = join(base, 'first');

beforeAll(async () => {
  await createAccountDir(pathsOf(first), {
    passphrase: 'old',
    random: systemRandom,
    fill: (db) =>
      createAccount(db, { root: systemRandom.bytes(16), nickname: 'alice', random: systemRandom, clock: systemClock }),
  });
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** The passphrases of the two that open the vault and the database behind it. */
const opening = async (dir: string): Promise<string[]> => {
  const paths = pathsOf(dir);
  settleAccountDir(paths);
  const open: string[] = [];
  for (const passphrase of ['old', 'new']) {
    const key = await openAccountVault(paths, passphrase).catch(() => undefined);
    if (key === undefined) continue;
    using db = openAccountDatabase(paths, key);
    expect(getSelf(db)?.installId).toHaveLength(16);
    open.push(passphrase);
  }
  return open;
};

test('is not begun while another program reads the database', async () => {
  const paths = pathsOf(first);
  const key = await openAccountVault(paths, 'old');
  {
    using db = openAccountDatabase(paths, key);
    using reader = openAccountDatabase(paths, key);
    reader.exec('BEGIN');
    reader.get('SELECT id FROM account');
    db.run("UPDATE account SET nickname = 'Alice'");
    await expect(rekeyAccountDir(paths, key, { passphrase: 'new', random: systemRandom })).rejects.toMatchObject({
      code: 'account.running',
    });
  }
  expect(await opening(first)).toEqual(['old']);
});

test('killed at any step, exactly one passphrase opens, and nothing of the other key is left', async () => {
  const seen: string[] = [];
  await dieEverywhere('rekey', first, async (dir, { step }) => {
    const open = await opening(dir);
    expect(open, `killed at step ${step}`).toHaveLength(1);
    expect(readdirSync(pathsOf(dir).dir).filter((name) => /next|new/.test(name))).toEqual([]);
    seen.push(open.join());
  });
  // The change counts from one step on, and not before.
  expect(seen.at(0)).toBe('old');
  expect(seen.at(-1)).toBe('new');
  expect(seen.join()).toMatch(/^(old,)+(new,?)+$/);
  expect(seen.length).toBeGreaterThan(6);
  // Each death stretches four passphrases.
});
