// Figures of the receive path, without a network: real libsignal, real SQLCipher, one contact's frames one after another.
import { join } from 'node:path';
import { ClockWatch } from '../../core/clock-watch.ts';
import type { Core } from '../../core/core.ts';
import { AccountQueue } from '../../core/queue.ts';
import { receive } from '../../core/receive.ts';
import { Rooms } from '../../core/rooms.ts';
import { emptySession } from '../../core/sessions.ts';
import { Waits } from '../../core/waits.ts';
import { addressOf } from '../../crypto/address.ts';
import { deriveSecrets, localKeys } from '../../crypto/identity.ts';
import { type Parties, SignalSession, signalIdentity } from '../../crypto/session.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { noServers } from '../../net/server-network.ts';
import type { Network } from '../../ports.ts';
import { ID_BYTES, idOf, type MessageId } from '../../protocol/ids.ts';
import { BATCH_FRAMES_MAX } from '../../protocol/limits.ts';
import { encodeBody, type SealedFrame } from '../../protocol/peer.ts';
import { openDatabase } from '../../sqlite/open.ts';
import { getContact, patchContact, putContact } from '../../store/contacts.ts';
import { putConversation } from '../../store/conversations.ts';
import { migrate } from '../../store/migrations.ts';
import { putSession } from '../../store/sessions.ts';
import { type Bench, type Figure, quantile, short, timed } from './figure.ts';

const TEXT = 'x'.repeat(100);
const SAMPLES = 7;

const side = () => {
  const secrets = deriveSecrets(systemRandom.bytes(16));
  const keys = localKeys(secrets, systemRandom.bytes(ID_BYTES));
  return { keys, signal: signalIdentity(secrets.signalSecret), address: addressOf(keys.publicKeys.identityKey) };
};

const partiesOf = (mine: ReturnType<typeof side>, theirs: ReturnType<typeof side>): Parties => ({
  identity: mine.signal,
  ours: mine.address,
  theirs: theirs.address,
  pinned: theirs.keys.publicKeys.signalKey,
});

const silent = (): void => {};

/** An account that is all there but a network, and frames that a contact has sealed for it, in order. */
const receiver = async (bench: Bench, count: number) => {
  const [me, them] = [side(), side()];
  const db = openDatabase(join(bench.dir, `${count}.db`), systemRandom.bytes(32));
  migrate(db);
  const at = systemClock.now();
  const uid = systemRandom.bytes(ID_BYTES);
  const contactId = putContact(db, {
    uid,
    address: them.address,
    name: 'them',
    nickname: 'them',
    state: 'accepted',
    requestNote: '',
    createdAt: at,
  });
  patchContact(db, contactId, { linkKey: them.keys.publicKeys.linkKey, signalKey: them.keys.publicKeys.signalKey });
  putConversation(db, { uid, contactId, createdAt: at });
  const [mine, theirs] = [new SignalSession(partiesOf(me, them)), new SignalSession(partiesOf(them, me))];
  await theirs.start(mine.makeBundle(1, at), at);
  const frames: SealedFrame[] = [];
  const seal = async (): Promise<SealedFrame> => {
    const id = idOf<MessageId>(systemRandom.bytes(ID_BYTES));
    const body = encodeBody({ kind: 'text', id, text: TEXT, sentAt: at });
    return { kind: 'sealed', id, ...(await theirs.encrypt(body, at)) };
  };
  // The first flight is answered, so that the rest are ordinary messages.
  await mine.decrypt(await seal());
  await theirs.decrypt(await mine.encrypt(encodeBody({ kind: 'hello', id: idOf(uid) }), at));
  const state = mine.serialize();
  for (let i = 0; i < count; i++) frames.push(await seal());
  putSession(db, { ...emptySession(contactId, state, at), sessionId: uid, sent: 1, received: 1 });
  const core: Core = {
    db,
    clock: systemClock,
    random: systemRandom,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    network: undefined as unknown as Network,
    servers: noServers,
    rooms: new Rooms(() => core),
    waits: new Waits(systemClock),
    serversKey: new Uint8Array(32),
    changed: silent,
    queue: new AccountQueue(silent),
    keys: me.keys,
    signal: me.signal,
    address: me.address,
    filesDir: bench.dir,
    peers: new Map(),
    clockWatch: new ClockWatch(db, systemClock),
    ignored: new Set(),
    silent: new Set(),
    fileTroubles: new Map(),
    refused: new Map(),
    committed: silent,
    volatile: silent,
  };
  const contact = getContact(db, contactId);
  if (contact === undefined) throw new Error('the contact is gone');
  return { core, contact, frames, alone: new SignalSession(partiesOf(me, them), state) };
};

// A sample is long enough to hold a garbage collection of the library's many small objects: both sides pay for theirs.
/** Frames per second, `batch` of them in one transaction, beside libsignal alone on the same frames. */
const rates = async (bench: Bench, batch: number, perSample: number) => {
  const { core, contact, frames, alone } = await receiver(bench, SAMPLES * perSample);
  const values: number[] = [];
  const floor: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const mine = frames.slice(sample * perSample, (sample + 1) * perSample);
    const ours = await timed(async () => {
      for (let i = 0; i < mine.length; i += batch) {
        const { acknowledge } = await receive(core, contact, mine.slice(i, i + batch));
        if (acknowledge.length !== Math.min(batch, mine.length - i)) throw new Error('a frame was not taken');
      }
    });
    const bare = await timed(async () => {
      for (const frame of mine) await alone.decrypt(frame);
    });
    if (sample < 2) continue;
    values.push((1000 * mine.length) / ours);
    floor.push((1000 * mine.length) / bare);
  }
  core.db[Symbol.dispose]();
  return {
    values,
    floor: { name: 'libsignal decrypts alone', values: floor },
    note: `libsignal alone ${short(quantile(floor, 0.5))}/s: ${short(quantile(floor, 0.5) / quantile(values, 0.5))} × its time`,
  };
};

/** Figures of this file. */
export const CORE_FIGURES: readonly Figure[] = [
  {
    name: 'receive.single',
    unit: 'frames/s',
    doc: 'one frame a transaction: decrypted, committed with FULL sync, ready to be acknowledged',
    bound: { of: 'value', at: 'median', better: 'higher', limit: 1000 },
    measure: (bench) => rates(bench, 1, bench.quick ? 100 : 300),
  },
  {
    name: 'receive.backlog',
    unit: 'frames/s',
    doc: 'waiting frames, 64 in one transaction',
    bound: { of: 'value', at: 'median', better: 'higher', limit: 3000 },
    measure: (bench) => rates(bench, BATCH_FRAMES_MAX, bench.quick ? 1920 : 7680),
    also: [
      {
        name: 'receive.backlog.ratio',
        unit: 'frames/s',
        doc: 'the same beside libsignal alone: at least 1 / 2.5 of its rate',
        bound: { of: 'ratio', at: 'median', better: 'higher', limit: 0.4 },
      },
    ],
  },
];
