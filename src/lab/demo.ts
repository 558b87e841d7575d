// `sotto demo`: three people on a private Tor network on this machine do the main job, for real, step by step.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { accountPaths, type Places, placesOf, socketDirFor } from '../client/paths.ts';
import { errorObject } from '../protocol/errors.ts';
import { asWord } from '../protocol/safe-text.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { Actor, cacheDir, stopDaemons } from './actor.ts';
import { type People, playRoom } from './demo-room.ts';
import { readWords } from './flags.ts';
import { stopRunning } from './left-running.ts';
import { ServerProcess } from './server-process.ts';
import { startTorLab, type TorLab } from './tor-lab.ts';

const NAMES = ['alice', 'bob', 'carol'] as const;
const WAIT_MS = 90_000;
const REMOVALS_MAX = 100;
/** How `sotto demo` is called. */
export const DEMO = {
  usage: 'sotto demo [flags]',
  doc: 'Three people on a private Tor network on this machine do the main job, then meet in a room.',
  flags: {
    keep: ['leave it running below --dir'],
    stop: ['end what --keep has left below --dir'],
    dir: ['where it lives', 'DIR'],
  },
} as const;

/** Runs the demo; gives the exit code. Nothing is left running unless `--keep`. Throws what the loader of a native library says. */
export const runDemo = async (argv: readonly string[]): Promise<number> => {
  const words = readWords(argv, DEMO);
  if (typeof words === 'number') return words;
  const { values } = words;
  const dir = values.dir !== undefined ? resolve(values.dir) : undefined;
  if (values.stop !== undefined) return dir === undefined ? say('sotto: --stop needs --dir DIR', 2) : stopDemo(dir);
  if (values.keep !== undefined && dir === undefined) return say('sotto: --keep needs --dir DIR', 2);
  // What the demo has made there goes at its end, and nothing else may.
  if (dir !== undefined && !isFree(dir))
    return say(
      `sotto: ${dir} is no empty folder: take another --dir, or end the demo that was kept there by --stop`,
      7,
    );
  // Its daemons need them: what is not there is told before a network is started for them.
  await Promise.all([import('@signalapp/libsignal-client'), import('@signalapp/sqlcipher')]);
  process.umask(0o077);
  const stage = new Stage(dir ?? mkdtempSync(join(tmpdir(), 'sotto-demo-')), values.keep !== undefined);
  let interrupted: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      interrupted = signal;
      say('sotto: interrupted: ending what was started', 0);
      stage.close();
    });
  try {
    await stage.play();
    if (values.keep === undefined) await stage.clear();
    stage.close();
    return 0;
  } catch (error) {
    if (interrupted !== undefined) {
      await stage.clear();
      return 128 + constants.signals[interrupted];
    }
    say(
      `sotto: the demo failed: ${errorObject(error).code === 'internal.bug' ? String(error) : errorObject(error).message}`,
      1,
    );
    await stage.clear();
    stage.close();
    return 1;
  }
};

/** Whether nothing is at this path, or an empty folder. */
const isFree = (dir: string): boolean => {
  try {
    return readdirSync(dir).length === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
};

const stopDemo = async (dir: string): Promise<number> => {
  await stopDaemons(placesOf(dir, process.env));
  const found = [await stopRunning(serverDir(dir)), await stopRunning(networkDir(dir))];
  return say(found.includes(true) ? `The demo in ${dir} has ended.` : `No demo runs in ${dir}.`, 0);
};

const say = <Code extends number>(line: string, code: Code): Code => {
  process.stderr.write(`${line}\n`);
  return code;
};

const serverDir = (dir: string): string => join(dir, 'server');
const networkDir = (dir: string): string => join(dir, 'tor-network');

/** That a program is in the private network. */
const torSection = ({ networkFile }: TorLab): string => `[tor]\nnetwork = ${JSON.stringify(networkFile)}\n`;

class Stage {
  readonly #dir: string;
  readonly #keep: boolean;
  readonly #places: Places;
  readonly #startedAt = performance.now();
  readonly #actors = new Map<string, Actor>();
  readonly #closed = new AbortController();
  readonly #starting: Promise<void>[] = [];
  #lab: TorLab | undefined;
  #server: ServerProcess | undefined;

  constructor(dir: string, keep: boolean) {
    this.#dir = dir;
    this.#keep = keep;
    this.#places = placesOf(dir, process.env);
  }

  async play(): Promise<void> {
    const lab = await this.#network();
    const [alice, bob, carol] = await Promise.all(NAMES.map((name) => this.#actor(name)));
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error('three people');
    this.#tell(`Alice, Bob and Carol run, each a daemon of its own; all three can be reached over Tor`);
    await this.#meet(alice, bob);
    await this.#talk(alice, bob);
    await this.#offline(alice, bob);
    await this.#reject(bob, carol);
    await this.#room({ alice, bob, carol }, lab);
    this.#tell(
      this.#keep ? `All of it goes on: bin/sotto --data-dir ${asWord(this.#dir)} --account alice status` : 'Done.',
    );
    if (this.#keep) this.#tell(`This ends it: npm run demo -- --stop --dir ${asWord(this.#dir)}`);
  }

  /** Ends everything that was started, once nothing is being started any more. */
  async clear(): Promise<void> {
    this.close();
    await Promise.allSettled(this.#starting);
    // Also one that is still making its account, and would make its folder anew.
    await stopDaemons(this.#places, NAMES);
    await this.#server?.stop();
    await this.#lab?.stop();
    await stopRunning(networkDir(this.#dir));
    // What a daemon takes away at its end goes before `rmSync`, which then stops without a word.
    for (let tries = 0; !this.#keep && tries < REMOVALS_MAX && existsSync(this.#dir); tries++)
      rmSync(this.#dir, { recursive: true, force: true });
  }

  /** The play goes on no more: whatever it waits for fails. */
  close(): void {
    this.#closed.abort();
    for (const actor of this.#actors.values()) actor.close();
  }

  async #network(): Promise<TorLab> {
    makeFolder(this.#dir);
    this.#tell('Starting a private Tor network on this machine: one authority, five relays');
    const lab = await startTorLab({
      dir: networkDir(this.#dir),
      cacheDir: cacheDir(),
      detached: this.#keep,
      signal: this.#closed.signal,
    });
    this.#lab = lab;
    writeFileSync(this.#places.configFile, torSection(lab), { mode: 0o600 });
    this.#tell('The Tor network is up');
    return lab;
  }

  async #actor(name: string): Promise<Actor> {
    const actor = new Actor(accountPaths(this.#places, name, process.env), this.#dir);
    this.#actors.set(name, actor);
    this.#closed.signal.throwIfAborted();
    const started = actor.start();
    this.#starting.push(started);
    await started;
    await actor.call('account.init', { nickname: name, noPassphrase: true });
    await actor.call('status.wait', { until: 'reachable', timeoutMs: WAIT_MS });
    return actor;
  }

  async #meet(alice: Actor, bob: Actor): Promise<void> {
    const { words } = await bob.call('account.show', {});
    await alice.call('contact.add', { address: words, name: 'bob', note: 'hello, it is Alice' });
    this.#tell('Alice asks Bob to be her contact, by his 24 words');
    const request = await bob.until('a request', async () => (await bob.call('contact.requests', {}))[0]);
    await bob.call('contact.accept', { contact: request.id, name: 'alice' });
    await alice.until(
      'acceptance',
      async () => (await alice.call('contact.show', { contact: 'bob' })).state === 'accepted',
    );
    this.#tell('Bob accepts');
    const [a, b] = [
      await alice.call('contact.show', { contact: 'bob' }),
      await bob.call('contact.show', { contact: 'alice' }),
    ];
    if (a.safetyNumber === undefined || a.safetyNumber !== b.safetyNumber) throw new Error('the safety numbers differ');
    await alice.call('contact.verify', { contact: 'bob', verified: true });
    await bob.call('contact.verify', { contact: 'alice', verified: true });
    this.#tell(`They compare safety numbers: ${a.safetyNumber.slice(0, 23)}… on both sides; verified`);
  }

  async #talk(alice: Actor, bob: Actor): Promise<void> {
    for (const actor of [alice, bob]) await actor.call('config.set', { key: 'privacy.readReceipts', value: true });
    const startedAt = performance.now();
    const sent = await alice.call('message.send', {
      conversation: 'bob',
      text: 'Are we still on for nine?',
      wait: 'delivered',
      timeoutMs: WAIT_MS,
    });
    if (!sent.reached) throw new Error('the message was not delivered');
    this.#tell(`Alice writes, end to end encrypted; delivered after ${Math.round(performance.now() - startedAt)} ms`);
    await bob.call('message.send', {
      conversation: 'alice',
      text: 'Yes. Bring the second key.',
      replyTo: sent.message.id,
      wait: 'delivered',
      timeoutMs: WAIT_MS,
    });
    await bob.call('conversation.markRead', { conversation: 'alice' });
    await alice.until(
      'a read receipt',
      async () => (await alice.call('message.show', { id: sent.message.id })).state === 'read',
    );
    this.#tell('Bob answers; Alice sees that he has read her message');
  }

  async #offline(alice: Actor, bob: Actor): Promise<void> {
    await bob.stop();
    this.#tell('Bob goes offline');
    const texts = ['One for later.', 'Two for later.', 'Three for later.'];
    for (const text of texts) await alice.call('message.send', { conversation: 'bob', text });
    this.#tell(`Alice writes ${texts.length} messages; they wait in her outbox, queued`);
    await bob.start();
    await bob.until('what waited', async () => {
      const { messages } = await bob.call('message.list', { conversation: 'alice' });
      return texts.every((text) => messages.some((message) => message.body === text));
    });
    const { messages } = await bob.call('message.list', { conversation: 'alice' });
    const got = messages.map((message) => message.body).filter((body) => texts.includes(body));
    if (JSON.stringify(got) !== JSON.stringify(texts)) throw new Error(`they came as ${JSON.stringify(got)}`);
    await alice.until('delivery', async () => (await alice.call('status.show', {})).outboxDepth === 0);
    this.#tell('Bob comes back from offline: each message is there once, in order, and Alice sees them delivered');
  }

  async #reject(bob: Actor, carol: Actor): Promise<void> {
    const { link } = await bob.call('account.show', {});
    await carol.call('contact.add', { address: link, name: 'bob' });
    const request = await bob.until('Carol’s request', async () => (await bob.call('contact.requests', {}))[0]);
    await bob.call('contact.reject', { contact: request.id });
    this.#tell('Carol asks Bob; he rejects her request, and she is told nothing');
    const { state } = await carol.call('contact.show', { contact: 'bob' });
    const refused = await carol.call('message.send', { conversation: 'bob', text: 'let me in' }).then(
      () => 0,
      (error: unknown) => errorObject(error).exit,
    );
    if (state !== 'outgoing' || refused !== 6) throw new Error(`Carol: ${state}, exit ${refused}`);
    const found = await bob.call('message.search', { query: 'let me in' });
    const conversations = await bob.call('conversation.list', {});
    if (found.messages.length > 0 || conversations.some((one) => one.name === 'carol'))
      throw new Error('something of Carol’s is with Bob');
    this.#tell('She sees it pending, cannot send (exit 6), and nothing of hers is in Bob’s conversations or search');
  }

  /** The second act. Its server ends with it, unless all of it goes on: then it is an onion service, which no port of this machine leads to. */
  async #room(people: People, lab: TorLab): Promise<void> {
    const server = await this.#host(lab);
    await playRoom({ ...people, server, tell: (line) => this.#tell(line) });
    if (this.#keep) {
      server.leave();
      return this.#tell('They stay there, and the server goes on');
    }
    for (const actor of Object.values(people)) await actor.call('server.leave', { server: 'home' });
    await server.stop();
    this.#tell('They leave it, and it ends; what was said stays with Alice and Bob');
  }

  async #host(lab: TorLab): Promise<ServerProcess> {
    const dir = serverDir(this.#dir);
    const server = new ServerProcess(dir, { detached: this.#keep });
    this.#server = server;
    const torDir = join(dir, 'tor');
    // Where Tor can have no socket it is at a port after all.
    if (!this.#keep || socketDirFor(torDir, process.env) !== torDir) {
      await server.start();
      return server;
    }
    makeFolder(dir);
    writeFileSync(join(dir, 'server.toml'), torSection(lab), { mode: 0o600 });
    await server.start('--onion');
    await server.reachable(this.#closed.signal);
    return server;
  }

  #tell(line: string): void {
    this.#closed.signal.throwIfAborted();
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
    process.stdout.write(`${seconds} s  ${line}\n`);
  }
}
