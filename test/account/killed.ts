// Runs a step of another program until its n-th change of the disk, and dies there as by kill -9.
import fs from 'node:fs';
import { flushCompileCache, syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { Database, openDatabase } from '../../src/sqlite/open.ts';
import { migrate } from '../../src/store/migrations.ts';
import { WITH_A_LATER_SCHEMA } from './later-schema.ts';

const [what = '', dir = '', dieAt = '0'] = process.argv.slice(2);
let changes = 0;

const mortal = <F extends (...args: never[]) => unknown>(change: F): F =>
  function (this: unknown, ...args: Parameters<F>) {
    if (++changes === Number(dieAt)) process.kill(process.pid, 'SIGKILL');
    return change.apply(this, args);
  } as F;

fs.renameSync = mortal(fs.renameSync);
fs.fsyncSync = mortal(fs.fsyncSync);
fs.rmSync = mortal(fs.rmSync);
fs.writeSync = mortal(fs.writeSync) as typeof fs.writeSync;
fs.writeFileSync = mortal(fs.writeFileSync);
syncBuiltinESMExports();
// Each attempt at a new key stretches passphrases: it dies at its files only.
if (what !== 'rekey') Database.prototype.exec = mortal(Database.prototype.exec);
// The rows of a restore are too many to die at each.
if (what === 'migrate') Database.prototype.run = mortal(Database.prototype.run);

const { createAccountDir, openAccountDatabase, openAccountVault, rekeyAccountDir } = await import(
  '../../src/daemon/account-dir.ts'
);
const { loadBackup, writeBackup } = await import('../../src/daemon/backup.ts');
flushCompileCache();
const paths = accountPaths(placesOf(dir, {}), 'alice', {});
const file = join(dir, 'backup');
const ports = { random: systemRandom, clock: systemClock };
const secret = { kind: 'account', key: new Uint8Array(32) } as const;

const STEPS: Record<string, () => Promise<unknown>> = {
  rekey: async () =>
    rekeyAccountDir(paths, await openAccountVault(paths, 'old'), { passphrase: 'new', random: systemRandom }),
  migrate: async () => {
    using db = openDatabase(paths.database, await openAccountVault(paths, undefined));
    migrate(db, { copyTo: `${paths.database}.before`, migrations: WITH_A_LATER_SCHEMA });
  },
  backup: async () => {
    using db = openAccountDatabase(paths, await openAccountVault(paths, undefined));
    await writeBackup(db, file, secret, systemClock.now());
  },
  restore: () =>
    createAccountDir(paths, {
      passphrase: undefined,
      random: systemRandom,
      fill: (db) => loadBackup(db, file, secret, ports),
    }),
};
await STEPS[what]?.();
