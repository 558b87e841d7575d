// A private Tor network with daemons on it, and Tor alone beside them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { addressOf } from '../../crypto/address.ts';
import { ed25519Public } from '../../crypto/primitives.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import type { TorConfig } from '../../net/tor-config.ts';
import { TorControl } from '../../net/tor-control.ts';
import { TorProcess } from '../../net/tor-process.ts';
import { VIRTUAL_PORT } from '../../protocol/limits.ts';
import type { AccountMethod, ParamsIn, Result } from '../../protocol/rpc.ts';
import { Actor, stopDaemons } from '../actor.ts';
import { startTorLab } from '../tor-lab.ts';
import type { Bench } from './figure.ts';

/** How long anything may take on a private network. */
export const WAIT_MS = 90_000;
/** A message of 100 characters. */
export const TEXT =
  'The tide turns at nine; bring the second key and the long rope, and come by the north stair tonight.';

export type Scene = { readonly dir: string; readonly tor: TorConfig; readonly actor: (name: string) => Promise<Actor> };

/** A private Tor network and daemons on it while `body` measures; nothing of it is left. */
export const withNetwork = async <T>(bench: Bench, body: (scene: Scene) => Promise<T>): Promise<T> => {
  const lab = await startTorLab({ dir: join(bench.dir, 'net'), cacheDir: bench.cacheDir });
  const dir = join(bench.dir, 'data');
  mkdirSync(dir, { mode: 0o700 });
  writeFileSync(join(dir, 'config.toml'), `[tor]\nnetwork = ${JSON.stringify(lab.networkFile)}\n`, { mode: 0o600 });
  const places = placesOf(dir, process.env);
  const actors: Actor[] = [];
  try {
    return await body({
      dir,
      tor: { binary: 'tor', bridges: [], transports: [], network: lab.networkFile },
      actor: async (name) => {
        const actor = new Actor(accountPaths(places, name, process.env), dir);
        actors.push(actor);
        await actor.start();
        await actor.call('account.init', { nickname: name, noPassphrase: true });
        await actor.call('status.wait', { until: 'reachable', timeoutMs: WAIT_MS });
        return actor;
      },
    });
  } finally {
    for (const actor of actors) actor.close();
    await stopDaemons(places);
    await lab.stop();
  }
};

/** A running account, in this process or another. */
type Side = {
  call<M extends AccountMethod>(method: M, params: ParamsIn<M>): Promise<Result<M>>;
  until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T>;
};

/** `one` asks `two`, who accepts; then both have spoken, so that what follows are ordinary messages. */
export const befriend = async (one: Side, two: Side, names: { one: string; two: string }): Promise<void> => {
  await one.call('contact.add', { address: (await two.call('account.show', {})).link, name: names.two });
  const request = await two.until('a request', async () => (await two.call('contact.requests', {}))[0]);
  await two.call('contact.accept', { contact: request.id, name: names.one });
  await one.until('it', async () => (await one.call('contact.show', { contact: names.two })).state === 'accepted');
  const text = { text: 'hello', wait: 'delivered', timeoutMs: WAIT_MS } as const;
  await one.call('message.send', { conversation: names.two, ...text });
  await two.call('message.send', { conversation: names.one, ...text });
};

/** Alice and Bob, who have accepted each other and have spoken both ways. */
export const friends = async ({ actor }: Scene): Promise<{ alice: Actor; bob: Actor }> => {
  const [alice, bob] = [await actor('alice'), await actor('bob')];
  await befriend(alice, bob, { one: 'alice', two: 'bob' });
  return { alice, bob };
};

/** Another onion service at the Tor of a running daemon, whose streams go to `serve`; it can be reached once this has resolved. */
export const bareService = async (owner: Actor, path: string, serve: (socket: Socket) => void) => {
  const server = createServer(serve);
  await new Promise<void>((done) => server.listen(path, done));
  const control = await TorControl.open(owner.torSocket('control'), { clock: systemClock, random: systemRandom });
  const end = (): void => {
    control.close();
    server.close();
  };
  const uploaded = new Promise<void>((done, fail) => {
    AbortSignal.timeout(WAIT_MS).onabort = () => fail(new Error('no descriptor was uploaded'));
    control.onEvent = (_type, text) => {
      if (/\bUPLOADED\b/.test(text)) done();
    };
  });
  uploaded.catch(() => {});
  try {
    await control.command('SETEVENTS HS_DESC');
    const [added] = await control.command(`ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=${VIRTUAL_PORT},unix:${path}`);
    await uploaded;
    return { address: `${added?.text.split('=')[1]}.onion`, [Symbol.asyncDispose]: async () => end() };
  } catch (error) {
    end();
    throw error;
  }
};

/** Tor alone with the product's own torrc: an onion service whose streams go to `serve`. */
export const bareTor = async (scene: Scene, name: string, serve: (socket: Socket) => void) => {
  const paths = { dataDir: join(scene.dir, name), socketDir: join(scene.dir, `${name}-s`) };
  mkdirSync(paths.socketDir, { mode: 0o700 });
  const server = createServer(serve);
  await new Promise<void>((done) => server.listen(join(paths.socketDir, 'onion'), done));
  const seed = systemRandom.bytes(32);
  const ready = Promise.withResolvers<void>();
  const tor = await TorProcess.start({
    config: scene.tor,
    paths,
    service: { seed, port: VIRTUAL_PORT, circuits: false },
    clock: systemClock,
    random: systemRandom,
    owner: process.pid,
    publish: true,
    progress: (progress) => {
      if (progress.kind === 'service' && progress.done > 0 && progress.pending === 0) ready.resolve();
    },
    exited: (lines) => ready.reject(new Error(lines)),
  });
  await ready.promise;
  return {
    address: addressOf(ed25519Public(seed)),
    socks: join(paths.socketDir, 'socks'),
    [Symbol.asyncDispose]: async () => {
      server.close();
      await tor.stop();
    },
  };
};
