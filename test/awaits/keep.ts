// A backup that is written, looked through and loaded, with another attempt for each that was stopped.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { createAccountDir, openAccountDatabase, vaultState } from '../../src/daemon/account-dir.ts';
import { checkBackup, loadBackup, writeBackup } from '../../src/daemon/backup.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { KEY, World } from '../../src/testing/people.ts';
import { comesToEnd } from './stop.ts';

const SECRET = { kind: 'account', key: new Uint8Array(32) } as const;
const TEXTS = ['one', 'two'];

/** Tells what is wrong at its end. */
export const keep = async (): Promise<string[]> => {
  await using world = new World(8);
  const { alice, bob } = await world.friends();
  for (const text of TEXTS) await alice.send(bob, text);
  await world.settle();
  const file = join(world.dir, 'backup');
  const wrong: string[] = [];

  const write = async (): Promise<void> => {
    using reader = openDatabase(join(world.dir, 'alice', 'db'), KEY);
    await writeBackup(reader, file, SECRET, world.clock.now());
  };
  while (!(await comesToEnd(write))) {
    if (existsSync(file)) await checkBackup(file, SECRET);
    rmSync(file, { force: true });
    await alice.send(bob, 'meanwhile');
  }
  while (!(await comesToEnd(() => checkBackup(file, SECRET))));

  const paths = accountPaths(placesOf(join(world.dir, 'copy'), {}), 'alice', {});
  const ports = { random: world.random, clock: world.clock };
  let key: Uint8Array = new Uint8Array();
  const restore = async (): Promise<void> => {
    key = await createAccountDir(paths, {
      passphrase: undefined,
      random: world.random,
      fill: (db) => loadBackup(db, file, SECRET, ports),
    });
  };
  while (!(await comesToEnd(restore)))
    if (vaultState(paths) !== 'absent') wrong.push('half a restore counts as an account');
  using copy = openAccountDatabase(paths, key);
  wrong.push(...checkDatabase(copy));
  const bodies = copy.all<{ body: string }>('SELECT body FROM messages ORDER BY id').map(({ body }) => body);
  if (TEXTS.some((text) => !bodies.includes(text))) wrong.push(`the copy has ${bodies.join()}`);
  return wrong;
};
