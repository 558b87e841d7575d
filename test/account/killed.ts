// Runs a step of another program until its n-th change of the file system, and dies there as by kill -9.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { systemRandom } from '../../src/daemon/ports.ts';

const [dir = '', dieAt = '0'] = process.argv.slice(2);
let changes = 0;

const mortal = <F extends (...args: never[]) => unknown>(change: F): F =>
  ((...args: Parameters<F>) => {
    if (++changes === Number(dieAt)) process.kill(process.pid, 'SIGKILL');
    return change(...args);
  }) as F;

fs.renameSync = mortal(fs.renameSync);
fs.fsyncSync = mortal(fs.fsyncSync);
fs.rmSync = mortal(fs.rmSync);
syncBuiltinESMExports();

const { openAccountVault, rekeyAccountDir } = await import('../../src/daemon/account-dir.ts');
const paths = accountPaths(placesOf(dir, {}), 'alice', {});
await rekeyAccountDir(paths, await openAccountVault(paths, 'old'), { passphrase: 'new', random: systemRandom });
