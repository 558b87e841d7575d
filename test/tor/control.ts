// What a running Tor says of itself on its control socket.
import { dirname, join } from 'node:path';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { TorControl } from '../../src/net/tor-control.ts';
import type { User } from '../e2e/stage.ts';

const withTor = async <T>(dir: string, step: (control: TorControl) => Promise<T>): Promise<T> => {
  const control = await TorControl.open(join(dir, 'control'), { clock: systemClock, random: systemRandom });
  try {
    return await step(control);
  } finally {
    control.close();
  }
};

const torDir = async (user: User): Promise<string> =>
  dirname((await user.one<{ socket: string }>('daemon', 'status')).socket);

/** Asks the Tor whose control socket is in `dir`. */
export const askTor = (dir: string, key: string): Promise<string> => withTor(dir, (control) => control.info(key));

/** Asks a user's own Tor; see control-spec, GETINFO. */
export const ask = async (user: User, key: string): Promise<string> => askTor(await torDir(user), key);

/** Gives a user's own Tor a command; see control-spec. */
export const tellTor = async (user: User, command: string): Promise<void> => {
  await withTor(await torDir(user), (control) => control.command(command));
};

/** Process id of a user's own Tor. */
export const torPid = async (user: User): Promise<number> => Number(await ask(user, 'process/pid'));

/** The relays of each circuit that carries a link of the user's, the guard first. */
export const linkCircuits = async (user: User): Promise<string[][]> =>
  (await ask(user, 'circuit-status'))
    .split('\n')
    .filter((line) => line.includes(' BUILT ') && /PURPOSE=HS_(CLIENT|SERVICE)_REND/.test(line))
    .map((line) => [...line.matchAll(/~(\w+)/g)].map(([, name = '']) => name));
