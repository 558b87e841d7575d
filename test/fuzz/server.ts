// Targets for the files of a server that may be damaged or of another: its key file and its database.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { SottoError } from '../../src/protocol/errors.ts';
import { readKeyFile } from '../../src/server/key-file.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { furnish, makeServer, quietPorts } from '../server/server.ts';
import { mutateBytes } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';
import { scratch } from './tor.ts';

const ports = quietPorts();
const paths = serverPaths(scratch('server'));
mkdirSync(paths.dir, { recursive: true });
makeServer(paths.dir, { ports, encryptAtRest: true });
{
  await using store = ServerStore.open(paths, ports);
  await furnish(store.log, 3);
}
const DATABASE = readFileSync(paths.database);
const KEY_FILE = readFileSync(paths.keyFile);

const files: Target = {
  name: 'files of a server',
  parsers: ['src/server/key-file.ts readKeyFile', 'src/server/server-dir.ts openServerDatabase'],
  codes: ['database.damaged', 'keyFile.damaged', 'keyFile.wrong', 'keyFile.missing', 'server.unknown'],
  play: async (dice) => {
    for (const end of ['-wal', '-shm']) writeFileSync(paths.database + end, '');
    const isDamaged = dice.chance(0.4);
    writeFileSync(paths.database, isDamaged ? mutateBytes(dice, DATABASE) : DATABASE);
    writeFileSync(paths.keyFile, dice.chance(0.3) ? mutateBytes(dice, KEY_FILE) : KEY_FILE);
    if (dice.chance(0.1)) {
      const none = serverPaths(scratch(`none-${dice.chance(0.5)}`));
      if (dice.chance(0.5)) readKeyFile(none.keyFile);
      ServerStore.open(none, ports);
    }
    await using store = ServerStore.open(paths, ports);
    if (dice.chance(0.1)) store.sealer.open('another label', (await store.state.getServer()).sealedKey);
    const { wrong, events } = await store.check({ deep: true });
    if (wrong.length > 0) throw new SottoError('database.damaged');
    holds(events === 6 && (await store.serverKey()).length === 32, 'what is taken is whole');
  },
};

/** Targets of this file. */
export const STORE_TARGETS: readonly Target[] = [files];
