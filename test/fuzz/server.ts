// Targets for the files of a server that may be damaged or of another: its key file, its database and its configuration.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isEqual } from '../../src/protocol/bytes.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { readKeyFile } from '../../src/server/key-file.ts';
import { addressOf, configError, readServeConfig } from '../../src/server/serve-config.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { furnish, makeServer, quietPorts } from '../server/server.ts';
import { mutateBytes, mutateText } from './dice.ts';
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

const configPath = scratch('server.toml');
const CONFIG = `name = "home"
registration = "invite"
listen = "127.0.0.1:7443"
origins = ["wss://chat.example.org"]
proxies = ["127.0.0.1", "10.0.0.0/8"]
[log]
level = "info"
[rates]
publish = { burst = 60, perHour = 3600 }
`;

const config: Target = {
  name: 'server.toml',
  parsers: ['src/server/serve-config.ts readServeConfig'],
  codes: ['config.invalid'],
  play: (dice) => {
    const text = dice.chance(0.3) ? CONFIG : mutateText(dice, CONFIG);
    const nested = dice.chance(0.01) ? `x = ${'['.repeat(50_000)}` : '';
    const given = dice.chance(0.1) ? mutateBytes(dice, Buffer.from(CONFIG)) : Buffer.from(text + nested);
    writeFileSync(configPath, given);
    const { config, problems } = readServeConfig(configPath);
    if (problems.length > 0) throw configError(problems);
    holds(config.listen === undefined || addressOf(config.listen) !== undefined, 'an address is one');
    holds((config.origins ?? []).length <= 16 && (config.name ?? 'x') !== '', 'every value is within its limits');
    holds(!isEqual(Buffer.from(CONFIG), given) || config.proxies?.length === 2, 'what is written is read');
  },
};

/** Targets of this file. */
export const STORE_TARGETS: readonly Target[] = [files, config];
