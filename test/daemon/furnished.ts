// Accounts with a past, for daemons without a network: two people talk in memory, then a daemon opens one of their stores.
import { copyFileSync, cpSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { makeVault } from '../../src/crypto/vault.ts';
import { openAccountDatabase, writeDurably } from '../../src/daemon/account-dir.ts';
import type { Database } from '../../src/sqlite/open.ts';
import { KEY, type Person, World } from '../../src/testing/people.ts';
import type { Stage, User } from '../e2e/stage.ts';

/** What alice and bob do before the daemon starts. */
type Past = (alice: Person, bob: Person, world: World) => Promise<void>;

/** Alice of an offline stage, who knows bob. */
export const furnish = async (stage: Stage, past: Past = async () => {}): Promise<User> => {
  await using world = new World();
  world.clock.jump(Date.now() - world.clock.now());
  const { alice, bob } = await world.friends();
  await past(alice, bob, world);
  await world.settle();
  await alice.close();
  const user = stage.stranger('alice');
  const paths = pathsOf(user);
  mkdirSync(paths.dir, { recursive: true, mode: 0o700 });
  copyFileSync(join(world.dir, 'alice', 'db'), paths.database);
  const files = join(world.dir, 'alice', 'files');
  if (existsSync(files)) cpSync(files, paths.filesDir, { recursive: true });
  writeDurably(paths.vault, await makeVault(KEY, undefined));
  return user;
};

/** Where a user's account is. */
export const pathsOf = (user: User) => accountPaths(placesOf(user.dir, {}), user.name, {});

/** The database of a furnished user, beside the daemon. */
export const databaseOf = (user: User): Database => openAccountDatabase(pathsOf(user), KEY);
