// Figures over a private Tor network: delivery, start, files; two real daemons, and what Tor itself takes.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { addressOf } from '../../crypto/address.ts';
import { deriveSecrets, localKeys } from '../../crypto/identity.ts';
import { SignalSession, signalIdentity } from '../../crypto/session.ts';
import { systemClock, systemRandom } from '../../daemon/ports.ts';
import { socksConnect } from '../../net/socks.ts';
import type { TorConfig } from '../../net/tor-config.ts';
import { TorProcess } from '../../net/tor-process.ts';
import { ID_BYTES } from '../../protocol/ids.ts';
import { VIRTUAL_PORT } from '../../protocol/limits.ts';
import { encodeBody } from '../../protocol/peer.ts';
import { type Database, openDatabase } from '../../sqlite/open.ts';
import { putContact } from '../../store/contacts.ts';
import { countArrival, putConversation } from '../../store/conversations.ts';
import { putEvent } from '../../store/events.ts';
import { patchMessage, putMessage } from '../../store/messages.ts';
import { migrate } from '../../store/migrations.ts';
import { putCiphertext, putOutbox, removeOutbox } from '../../store/outbox.ts';
import { putFrameId, putSession } from '../../store/sessions.ts';
import { Actor, stopDaemons } from '../actor.ts';
import { startTorLab } from '../tor-lab.ts';
import { type Bench, type Figure, type Measured, quantile, short, timed } from './figure.ts';

const WAIT_MS = 90_000;
const MIB = 1024 * 1024;
const TEXT = 'The tide turns at nine; bring the second key and the long rope, and come by the north stair tonight.';

type Scene = { readonly dir: string; readonly tor: TorConfig; readonly actor: (name: string) => Promise<Actor> };

/** A private Tor network and daemons on it while `body` measures; nothing of it is left. */
const withNetwork = async <T>(bench: Bench, body: (scene: Scene) => Promise<T>): Promise<T> => {
  const lab = await startTorLab({ dir: join(bench.dir, 'net'), cacheDir: bench.cacheDir });
  const dir = join(bench.dir, 'data');
  mkdirSync(dir, { mode: 0o700 });
  writeFileSync(join(dir, 'config.toml'), `[tor]\nnetwork = ${JSON.stringify(lab.networkFile)}\n`, { mode: 0o600 });
  const places = placesOf(dir, process.env);
  const actors: Actor[] = [];
  try {
    return await body({
      dir,
      tor: { binary: 'tor', bridges: [], transports: [], offline: false, network: lab.networkFile },
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

/** Alice and Bob, who have accepted each other and have spoken both ways. */
const friends = async ({ actor }: Scene): Promise<{ alice: Actor; bob: Actor }> => {
  const [alice, bob] = [await actor('alice'), await actor('bob')];
  await alice.call('contact.add', { address: (await bob.call('account.show', {})).link, name: 'bob' });
  const request = await bob.until('a request', async () => (await bob.call('contact.requests', {}))[0]);
  await bob.call('contact.accept', { contact: request.id, name: 'alice' });
  await alice.until('it', async () => (await alice.call('contact.show', { contact: 'bob' })).state === 'accepted');
  for (const [from, to] of [
    [alice, 'bob'],
    [bob, 'alice'],
  ] as const)
    await from.call('message.send', { conversation: to, text: TEXT, wait: 'delivered', timeoutMs: WAIT_MS });
  return { alice, bob };
};

/**
 * Milliseconds of one encryption and one decryption of a message, and of the three transactions that a delivery needs: the
 * sender's rows, the receiver's rows, and the acknowledgement; the same tables, FULL sync, nothing else going on.
 */
const parts = (bench: Bench) => {
  const [one, two] = [0, 1].map(() => {
    const secrets = deriveSecrets(systemRandom.bytes(16));
    const { publicKeys } = localKeys(secrets, systemRandom.bytes(ID_BYTES));
    return { signal: signalIdentity(secrets.signalSecret), address: addressOf(publicKeys.identityKey) };
  }) as [Side, Side];
  const at = systemClock.now();
  const session = (mine: Side, theirs: Side) =>
    new SignalSession({
      identity: mine.signal,
      ours: mine.address,
      theirs: theirs.address,
      pinned: theirs.signal.publicKey,
    });
  const [sender, receiver] = [session(one, two), session(two, one)];
  const store = new Rows(join(bench.dir, 'parts.db'));
  const body = encodeBody({ kind: 'text', id: '0'.repeat(32), text: TEXT, sentAt: at });
  return {
    begin: async () => {
      await sender.start(receiver.makeBundle(1, at), at);
      await receiver.decrypt(await sender.encrypt(body, at));
      await sender.decrypt(await receiver.encrypt(body, at));
    },
    signal: () => timed(async () => receiver.decrypt(await sender.encrypt(body, at))),
    commits: () => timed(() => store.delivery()),
    end: () => store[Symbol.dispose](),
  };
};

// The rows of a delivery, written by the functions of the store and by nothing above them.
class Rows implements Disposable {
  readonly #db: Database;
  readonly #contactId: number;
  readonly #conversationId: number;

  constructor(path: string) {
    this.#db = openDatabase(path, systemRandom.bytes(32));
    migrate(this.#db);
    const uid = systemRandom.bytes(ID_BYTES);
    this.#contactId = putContact(this.#db, {
      uid,
      address: 'floor',
      name: 'floor',
      nickname: 'floor',
      state: 'accepted',
      requestNote: '',
      createdAt: 1,
    });
    this.#conversationId = putConversation(this.#db, { uid, contactId: this.#contactId, createdAt: 1 });
  }

  delivery(): void {
    const [contactId, at] = [this.#contactId, systemClock.now()];
    const [mineId, theirsId] = [systemRandom.bytes(ID_BYTES), systemRandom.bytes(ID_BYTES)];
    const { messageRow, outboxRow } = this.#db.transaction(() => {
      const messageRow = this.#message(mineId, 1, at);
      const outboxRow = putOutbox(this.#db, {
        contactId,
        frameId: mineId,
        kind: 'text',
        body: systemRandom.bytes(200),
        messageRow,
        createdAt: at,
        expiresAt: at,
      });
      putCiphertext(this.#db, outboxRow, { sessionId: mineId, type: 2, ciphertext: systemRandom.bytes(430) });
      this.#session(mineId, at);
      putEvent(this.#db, { at, kind: 'message.sent', messageRow, contactId });
      return { messageRow, outboxRow };
    });
    this.#db.transaction(() => {
      const row = this.#message(theirsId, 0, at);
      putFrameId(this.#db, contactId, theirsId, at);
      this.#session(theirsId, at);
      countArrival(this.#db, this.#conversationId, at);
      putEvent(this.#db, { at, kind: 'message.received', messageRow: row, contactId });
    });
    this.#db.transaction(() => {
      removeOutbox(this.#db, outboxRow);
      patchMessage(this.#db, messageRow, { state: 'delivered', deliveredAt: at });
      putEvent(this.#db, { at, kind: 'message.delivered', messageRow });
    });
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  #message(messageId: Uint8Array<ArrayBuffer>, mine: number, at: number): number {
    return putMessage(this.#db, {
      conversationId: this.#conversationId,
      messageId,
      mine,
      body: TEXT,
      state: mine === 1 ? 'sent' : 'received',
      sentAt: at,
      receivedAt: mine === 1 ? null : at,
      unread: 1 - mine,
      replyTo: null,
      expiresMs: null,
      expiresFrom: 'delivery',
      expiresAt: null,
      fileId: null,
    });
  }

  #session(sessionId: Uint8Array<ArrayBuffer>, updatedAt: number): void {
    const state = systemRandom.bytes(722);
    const none = { resetPending: 0, resetId: null, resetBundle: null };
    putSession(this.#db, { contactId: this.#contactId, sessionId, state, sent: 1, received: 1, ...none, updatedAt });
  }
}

type Side = { readonly signal: ReturnType<typeof signalIdentity>; readonly address: string };

const delivered: Figure = {
  name: 'direct.delivered',
  unit: 'ms',
  doc: '100 characters: from the RPC line of `send --wait delivered` to its reply; both online, private Tor network',
  bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.3 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const { alice } = await friends(scene);
      const floor = parts(bench);
      await floor.begin();
      const samples: { ours: number; trip: number; floor: number }[] = [];
      for (let i = -5; i < bench.runs * 12; i++) {
        const { rttMs: trip } = await alice.call('contact.ping', { contact: 'bob' });
        const ours = await timed(() =>
          alice.call('message.send', { conversation: 'bob', text: TEXT, wait: 'delivered', timeoutMs: WAIT_MS }),
        );
        const signal = await floor.signal();
        const commits = await floor.commits();
        if (i >= 0) samples.push({ ours, trip, floor: trip + signal + commits });
      }
      floor.end();
      const values = samples.map((one) => one.ours);
      const trips = samples.map((one) => one.trip);
      return {
        values,
        floor: {
          name: 'bare trip + two libsignal steps + the three transactions',
          values: samples.map((one) => one.floor),
        },
        note: `bare trip ${short(quantile(trips, 0.5))} ms, difference ${short(quantile(values, 0.5) - quantile(trips, 0.5))} ms (wanted ≤ 6); p90 ${short(quantile(values, 0.9))}, p99 ${short(quantile(values, 0.99))}`,
      };
    }),
};

const backlogDay: Figure = {
  name: 'receive.day',
  unit: 's',
  doc: 'waiting messages after a day offline, from the start of the daemon until the last is committed and acknowledged',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 60 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const count = bench.quick ? 1_000 : 10_000;
      const { alice, bob } = await friends(scene);
      await bob.stop();
      for (let i = 0; i < count; i += 50)
        await Promise.all(
          Array.from({ length: 50 }, (_, n) =>
            alice.call('message.send', { conversation: 'bob', text: `${TEXT} ${i + n}` }),
          ),
        );
      const startedAt = performance.now();
      await bob.start();
      await bob.call('status.wait', { until: 'online', timeoutMs: WAIT_MS });
      const onlineAt = performance.now();
      const answers: number[] = [];
      for (let left = count; left > 0; ) {
        answers.push(await timed(() => bob.call('message.list', { conversation: 'alice', limit: 50 })));
        left = (await alice.call('status.show', {})).outboxDepth;
        await new Promise((done) => setTimeout(done, 50));
      }
      const whole = (performance.now() - startedAt) / 1000;
      const { messages } = await bob.call('message.list', { conversation: 'alice', limit: 5_000 });
      const bodies = messages.map((message) => message.body).filter((body) => body !== TEXT);
      const inOrder = bodies.every((body, i) => body === `${TEXT} ${count - bodies.length + i}`);
      if (!inOrder) throw new Error('the messages are not in order');
      return {
        values: [whole],
        note: `${count} messages, in order; Tor took ${short((onlineAt - startedAt) / 1000)} s of it; RPC of the receiver meanwhile p50 ${short(quantile(answers, 0.5))} ms, p99 ${short(quantile(answers, 0.99))} ms (wanted ≤ 50)`,
      };
    }),
};

/** Tor alone with the product's own torrc: an onion service whose streams go to `serve`. */
const bareTor = async (scene: Scene, name: string, serve: (socket: Socket) => void) => {
  const paths = { dataDir: join(scene.dir, name), socketDir: join(scene.dir, `${name}-s`) };
  mkdirSync(paths.socketDir, { mode: 0o700 });
  const server = createServer(serve);
  await new Promise<void>((done) => server.listen(join(paths.socketDir, 'onion'), done));
  const keys = localKeys(deriveSecrets(systemRandom.bytes(16)), systemRandom.bytes(ID_BYTES));
  const ready = Promise.withResolvers<void>();
  const tor = await TorProcess.start({
    config: scene.tor,
    paths,
    keys,
    clock: systemClock,
    random: systemRandom,
    owner: process.pid,
    progress: (progress) => {
      if (progress.kind !== 'bootstrap' && progress.done > 0 && progress.pending === 0) ready.resolve();
    },
    exited: (lines) => ready.reject(new Error(lines)),
  });
  await ready.promise;
  return {
    address: addressOf(keys.publicKeys.identityKey),
    socks: join(paths.socketDir, 'socks'),
    stop: async () => {
      server.close();
      await tor.stop();
    },
  };
};

const torStart: Figure = {
  name: 'tor.start',
  unit: 'ms',
  doc: 'from the start of the daemon until it is reachable, beside Tor alone with the same configuration',
  bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.1 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const runs = Math.max(3, Math.ceil(bench.runs / 2));
      const [values, floor]: [number[], number[]] = [[], []];
      for (let i = 0; i < runs; i++) {
        values.push(await timed(() => scene.actor(`a${i}`)));
        const startedAt = performance.now();
        const bare = await bareTor(scene, `bare${i}`, (socket) => socket.destroy());
        floor.push(performance.now() - startedAt);
        await bare.stop();
      }
      return { values, floor: { name: 'Tor alone', values: floor } };
    }),
};

const fileTor: Figure = {
  name: 'file.tor',
  unit: 'MiB/s',
  doc: 'a file over Tor, saved and checked, beside a bare onion stream of the same size',
  bound: { of: 'ratio', at: 'median', better: 'higher', limit: 0.8 },
  measure: (bench) =>
    withNetwork(bench, async (scene): Promise<Measured> => {
      const bytes = (bench.quick ? 4 : 32) * MIB;
      const { alice, bob } = await friends(scene);
      const source = join(bench.dir, 'source');
      writeFileSync(source, randomBytes(bytes));
      const service = await bareTor(scene, 'service', (socket) => sendBytes(socket, bytes));
      const client = await bareTor(scene, 'client', (socket) => socket.destroy());
      const [values, floor]: [number[], number[]] = [[], []];
      for (let i = 0; i < 3; i++) {
        const path = join(bench.dir, `saved${i}`);
        const sent = await alice.call('file.send', { conversation: 'bob', path: source });
        const file = await bob.until('the offer', async () =>
          (await bob.call('file.list', { conversation: 'alice' })).find((one) => one.id === sent.file.id),
        );
        const took = await timed(() => bob.call('file.save', { id: file.id, path, wait: 'done', timeoutMs: 600_000 }));
        if (statSync(path).size !== bytes) throw new Error('the file is not whole');
        values.push((1000 * bytes) / MIB / took);
        const bare = await timed(() => readAll(client.socks, service.address, bytes));
        floor.push((1000 * bytes) / MIB / bare);
      }
      await service.stop();
      await client.stop();
      return { values, floor: { name: 'a bare onion stream', values: floor }, note: `${bytes / MIB} MiB` };
    }),
};

const sendBytes = (socket: Socket, bytes: number): void => {
  const chunk = randomBytes(64 * 1024);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!socket.write(part)) return void socket.once('drain', more);
    }
    socket.end();
  };
  socket.on('error', () => {});
  more();
};

const readAll = async (socksPath: string, host: string, bytes: number): Promise<void> => {
  const stream = await socksConnect({
    socksPath,
    host,
    port: VIRTUAL_PORT,
    isolation: createHash('sha256').update(randomBytes(8)).digest('hex').slice(0, 16),
    signal: AbortSignal.timeout(WAIT_MS),
  });
  let got = 0;
  await new Promise<void>((done, fail) => {
    stream.on('data', (chunk: Buffer) => {
      got += chunk.length;
      if (got >= bytes) done();
    });
    stream.on('close', () => fail(new Error('the stream ended early')));
    stream.resume();
  });
  stream.destroy();
};

/** Figures of this file. */
export const TOR_FIGURES: readonly Figure[] = [delivered, backlogDay, torStart, fileTor];
