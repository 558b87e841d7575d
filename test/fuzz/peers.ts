// Targets for bytes that come from other accounts: handshakes, records, frames, bodies, Signal messages, file chunks.
import { duplexPair } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { addressOf } from '../../src/crypto/address.ts';
import { makeCertificate, readCertificate } from '../../src/crypto/certificate.ts';
import { openChunk, sealChunk } from '../../src/crypto/file-chunks.ts';
import { deriveSecrets, localKeys } from '../../src/crypto/identity.ts';
import { CipherState, Handshake } from '../../src/crypto/noise.ts';
import { SignalSession, signalIdentity } from '../../src/crypto/session.ts';
import { openLink } from '../../src/net/link.ts';
import { decodeRecord, encodeRecords } from '../../src/net/records.ts';
import type { Link, LocalKeys } from '../../src/ports.ts';
import { concat, isEqual, toBase64 } from '../../src/protocol/bytes.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { idOf, type MessageId } from '../../src/protocol/ids.ts';
import { FRAME_BYTES_MAX, JSON_DEPTH_MAX } from '../../src/protocol/limits.ts';
import {
  decodeBody,
  decodeFrame,
  encodeBody,
  encodeFrame,
  type PeerFrame,
  type SealedBody,
} from '../../src/protocol/peer.ts';
import { parseStrictJson } from '../../src/protocol/strict-json.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { type Dice, mutateBytes, mutateJson, mutateText } from './dice.ts';
import type { Target } from './target.ts';

/** Throws when a property does not hold. */
export const holds = (property: boolean, what: string): void => {
  if (!property) throw new Error(`does not hold: ${what}`);
};

const anyFrame = (dice: Dice): PeerFrame => {
  const id = idOf<MessageId>(dice.bytes(16));
  const index = dice.int(2 ** 32);
  return dice.pick<() => PeerFrame>([
    () => ({ kind: 'resume', session: id, sent: dice.int(1e9), received: dice.int(1e9) }),
    () => ({ kind: 'request', id, bundle: toBase64(dice.bytes(99)), nickname: 'n', note: 'note' }),
    () => ({ kind: 'no_request', id }),
    () => ({ kind: 'not_contact' }),
    () => ({ kind: 'reset', session: id, bundle: toBase64(dice.bytes(99)) }),
    () => ({ kind: dice.pick(['ping', 'pong']), n: dice.int(1e9) }),
    () => ({ kind: 'typing', on: dice.chance(0.5) }),
    () => ({ kind: 'presence', state: 'away' }),
    () => ({ kind: 'stream', transfer: id, from: dice.int(1e6) }),
    () => ({ kind: 'error', code: 'frame.invalid' }),
    () => ({ kind: 'sealed', id, type: dice.int(256), ciphertext: dice.bytes(1 + dice.int(400)) }),
    () => ({ kind: 'ack', ids: Array.from({ length: 1 + dice.int(64) }, () => idOf(dice.bytes(16))) }),
    () => ({ kind: dice.pick(['chunk', 'hashes']), index, bytes: dice.bytes(1 + dice.int(400)) }),
  ])();
};

const frameBytes = (dice: Dice): Uint8Array<ArrayBuffer> => {
  const frame = anyFrame(dice);
  const bytes = encodeFrame(frame);
  if (dice.chance(0.1)) return bytes;
  if (dice.chance(0.02)) return concat([bytes, Buffer.alloc(FRAME_BYTES_MAX)]);
  if (bytes[0] === 0 && dice.chance(0.8)) return new Uint8Array(Buffer.from(`\0${mutateJson(dice, frame)}`));
  return mutateBytes(dice, bytes);
};

const frames: Target = {
  name: 'frames',
  parsers: ['src/protocol/peer.ts decodeFrame'],
  codes: ['frame.invalid', 'frame.tooLarge'],
  play: (dice) => {
    const bytes = frameBytes(dice);
    const frame = decodeFrame(bytes);
    const again = encodeFrame(frame);
    if (bytes[0] === 0) holds(isEqual(encodeFrame(decodeFrame(again)), again), 'what was taken means the same again');
    else holds(isEqual(again, bytes), 'a binary frame has one form only');
  },
};

const anyBody = (dice: Dice): SealedBody => {
  const [id, target] = [idOf(dice.bytes(16)), idOf(dice.bytes(16))];
  const key = toBase64(dice.bytes(32));
  return dice.pick<SealedBody>([
    { kind: 'accept', id, request: target, nickname: 'n' },
    { kind: 'text', id, text: `t${dice.int(1e9)}`, sentAt: 1, replyTo: target, expiresMs: 5000, expiresFrom: 'read' },
    { kind: 'edit', id, target, number: 1 + dice.int(9), text: 'edited' },
    { kind: 'delete', id, target },
    { kind: 'react', id, target, emoji: '👍', on: true },
    { kind: 'pin', id, target, on: false },
    { kind: 'read', id, targets: [target] },
    { kind: 'file.offer', id, name: 'file', sizeBytes: dice.int(1e9), key, root: key, sentAt: 1 },
    { kind: dice.pick(['file.cancel', 'file.done', 'unsupported']), id, target },
    { kind: 'hello', id },
  ]);
};

// The layout with any text inside: u32 length ‖ text ‖ zeros.
const padded = (text: string): Uint8Array<ArrayBuffer> => {
  const json = Buffer.from(text);
  const out = Buffer.alloc([320, 1024, 4096, 32 * 1024].find((size) => size >= json.length + 4) ?? 32 * 1024);
  out.writeUInt32BE(json.length);
  json.copy(out, 4);
  return new Uint8Array(out);
};

const bodies: Target = {
  name: 'sealed bodies and their padding',
  parsers: [
    'src/protocol/peer.ts decodeBody',
    'src/protocol/padding.ts unpadded',
    'src/protocol/strict-json.ts parseJsonBytes',
  ],
  codes: ['frame.invalid'],
  play: (dice) => {
    const body = anyBody(dice);
    const text = dice.chance(0.1) ? JSON.stringify(body) : mutateJson(dice, body);
    const bytes = dice.chance(0.7) ? padded(text) : mutateBytes(dice, encodeBody(body));
    const taken = decodeBody(bytes);
    const json = Buffer.from(bytes).readUInt32BE();
    holds(
      bytes.subarray(4 + json).every((byte) => byte === 0),
      'nothing hides in the padding',
    );
    if (taken.kind === 'unknown') return;
    holds(isDeepStrictEqual(decodeBody(encodeBody(taken)), JSON.parse(JSON.stringify(taken))), 'the body comes back');
  },
};

const measure = (value: unknown): { readonly depth: number; readonly keys: string[] } => {
  if (typeof value !== 'object' || value === null) return { depth: 0, keys: [] };
  const below = Object.values(value).map(measure);
  return {
    depth: 1 + Math.max(0, ...below.map(({ depth }) => depth)),
    keys: [...(Array.isArray(value) ? [] : Object.keys(value)), ...below.flatMap(({ keys }) => keys)],
  };
};

const strictJson: Target = {
  name: 'strict JSON',
  parsers: ['src/protocol/strict-json.ts parseStrictJson'],
  codes: ['frame.invalid'],
  play: (dice) => {
    const value = { a: [1, -2.5e3, 'x\\"\u00e9', null, true], b: { c: { d: [] } }, 'e"': dice.text(5) };
    const text = dice.chance(0.5)
      ? mutateJson(dice, value)
      : mutateText(dice, JSON.stringify(value, null, dice.int(3)));
    const taken = parseStrictJson(text);
    holds(isDeepStrictEqual(taken, JSON.parse(text)), 'a strict parser reads what any parser reads');
    const { depth, keys } = measure(taken);
    holds(depth <= JSON_DEPTH_MAX && !keys.includes('__proto__'), 'no deep nesting, no prototype');
    holds([...text.matchAll(/"(?:[^"\\]|\\.)*"\s*:/g)].length === keys.length, 'no key is given twice');
  },
};

const person = (seed: number): { readonly keys: LocalKeys; readonly address: string } => {
  const random = seededRandom(seed);
  const keys = localKeys(deriveSecrets(random.bytes(16)), random.bytes(16) as Uint8Array<ArrayBuffer>);
  return { keys, address: addressOf(keys.publicKeys.identityKey) };
};
const [ALICE, BOB] = [person(1), person(2)];

const mutateKeys = (dice: Dice, keys: LocalKeys): LocalKeys => {
  const which = dice.pick(['identityKey', 'linkKey', 'signalKey'] as const);
  const key = keys.publicKeys[which];
  const other = dice.chance(0.3) ? new Uint8Array(key.length) : mutateBytes(dice, key);
  other[0] = which === 'signalKey' && dice.chance(0.5) ? 5 : (other[0] ?? 0);
  const fitting = new Uint8Array(key.length);
  fitting.set(other.subarray(0, key.length));
  return { ...keys, publicKeys: { ...keys.publicKeys, [which]: fitting } };
};

const certificates: Target = {
  name: 'certificates',
  parsers: ['src/crypto/certificate.ts readCertificate'],
  codes: ['certificate.invalid', 'key.invalid'],
  play: (dice) => {
    const keys = dice.chance(0.5) ? mutateKeys(dice, ALICE.keys) : ALICE.keys;
    const certificate = makeCertificate(keys.publicKeys, keys.identitySeed);
    const bytes = dice.chance(0.5) ? mutateBytes(dice, certificate) : certificate;
    const read = readCertificate(bytes);
    holds(isDeepStrictEqual(makeCertificate(read, keys.identitySeed), bytes), 'a certificate has one form only');
  },
};

const noise: Target = {
  name: 'Noise messages',
  parsers: ['src/crypto/noise.ts Handshake'],
  codes: ['handshake.failed'],
  play: (dice) => {
    const side = (role: 'initiator' | 'responder') =>
      new Handshake({
        role,
        prologue: Buffer.from('p'),
        staticSecret: dice.bytes(32),
        ephemeralSecret: dice.bytes(32),
      });
    const [one, two] = [side('initiator'), side('responder')];
    const wrong = dice.int(5);
    const low = dice.chance(0.1);
    const payload = dice.bytes(dice.int(40));
    for (const [step, from, to] of [[0, one, two] as const, [1, two, one] as const, [2, one, two] as const]) {
      const message = from.write(payload);
      if (step === wrong && low) message.fill(0, 0, 32);
      const given = step === wrong ? mutateBytes(dice, message) : message;
      const got = to.read(given);
      // The first message is in clear: what was changed in it shows at the second.
      if (step > 0) holds(isEqual(got, payload), 'only what was written is read');
    }
    const [a, b] = [one.finish(), two.finish()];
    holds(
      isEqual(b.receive.decrypt(a.send.encrypt(payload)) ?? new Uint8Array(), payload),
      'both sides hold the same keys',
    );
  },
};

/** Two ends whose bytes pass through `edit`. */
const tapped = (edit: (bytes: Buffer) => Uint8Array) => {
  const [near, nearTap] = duplexPair();
  const [farTap, far] = duplexPair();
  const pipe = (from: typeof near, to: typeof near) => {
    from.on('data', (chunk: Buffer) => to.destroyed || to.write(edit(chunk)));
    from.on('end', () => to.end());
    from.on('error', () => {});
    from.on('close', () => to.destroy());
  };
  pipe(nearTap, farTap);
  pipe(farTap, nearTap);
  for (const end of [near, far]) end.on('error', () => {});
  return { near, far };
};

// Long enough for every answer that comes without a timer.
const calm = async (isOver: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 50 && !isOver(); turn++) await new Promise((resolve) => setImmediate(resolve));
};

const links: Target = {
  name: 'handshakes and records of a link',
  parsers: ['src/net/link.ts openLink'],
  codes: [
    'handshake.failed',
    'handshake.timeout',
    'certificate.invalid',
    'key.invalid',
    'contact.keyRefused',
    'frame.invalid',
    'frame.tooLarge',
  ],
  play: async (dice) => {
    const wrong = dice.int(8);
    let chunk = 0;
    const silent = dice.chance(0.05);
    const { near, far } = tapped((bytes) => {
      if (chunk++ !== wrong) return bytes;
      if (silent) return new Uint8Array();
      return mutateBytes(dice, bytes);
    });
    const clock = new ManualClock();
    const random = { bytes: (size: number) => dice.bytes(size), fraction: () => 0.5 };
    const weDial = dice.chance(0.5);
    const theirKeys = dice.chance(0.3) ? mutateKeys(dice, BOB.keys) : dice.chance(0.05) ? ALICE.keys : BOB.keys;
    const address = weDial ? BOB.address : ALICE.address;
    const ended: string[] = [];
    const got: Uint8Array[] = [];
    const refuses = dice.chance(0.05);
    let result: Link | Error | undefined;
    const common = { address, clock, random };
    openLink({
      ...common,
      stream: near,
      role: weDial ? 'dial' : 'accept',
      keys: ALICE.keys,
      admit: () => (refuses ? 'close' : 'accept'),
      attach: () => ({ frame: (frame) => got.push(frame), drained: () => {}, closed: (why) => ended.push(why) }),
    }).then(
      (link) => {
        result = link;
      },
      (error: Error) => {
        result = error;
      },
    );
    const said = Array.from({ length: 1 + dice.int(4) }, () => dice.bytes(1 + dice.int(600)));
    const theirs = openLink({
      ...common,
      stream: far,
      role: weDial ? 'accept' : 'dial',
      keys: theirKeys,
      admit: () => 'accept',
      attach: () => ({ frame: () => {}, drained: () => {}, closed: () => {} }),
    }).then(
      (link) => {
        for (const frame of said) link.send(frame);
        return link;
      },
      () => undefined,
    );
    await calm(() => result instanceof Error || ended.length > 0 || got.length === said.length);
    while (clock.step()) await calm(() => result !== undefined);
    near.destroy();
    far.destroy();
    await theirs;
    if (result instanceof Error) throw result;
    holds(
      got.every((frame, at) => isEqual(frame, said[at] ?? new Uint8Array())),
      'frames arrive as they were sent, in order',
    );
    const [why] = ended;
    if (why === 'frame.invalid') throw new SottoError(why);
  },
};

const records: Target = {
  name: 'records and their padding',
  parsers: ['src/net/records.ts decodeRecord'],
  codes: ['frame.invalid', 'frame.tooLarge'],
  play: (dice) => {
    const key = dice.bytes(32);
    // All of them fit into one record.
    const most = dice.chance(0.1) ? 20_000 : 600;
    const said = Array.from({ length: 1 + dice.int(3) }, () => dice.bytes(1 + dice.int(most)));
    const record = Buffer.concat(encodeRecords(new CipherState(key), said));
    holds(record.length % 480 === 0, 'a record is whole cells');
    if (dice.chance(0.3)) {
      const ciphertext = dice.chance(0.2) ? record.subarray(2) : mutateBytes(dice, record.subarray(2));
      return holds(isDeepStrictEqual(decodeRecord(new CipherState(key), ciphertext), said), 'the frames come back');
    }
    // A peer that has the keys, and no rules.
    const plaintext = mutateBytes(dice, new CipherState(key).decrypt(record.subarray(2)) ?? new Uint8Array());
    if (dice.chance(0.1) && plaintext.length > 1) plaintext.set([0xff, dice.int(256)]);
    const got = decodeRecord(new CipherState(key), new CipherState(key).encrypt(plaintext));
    const size = got.reduce((sum, frame) => sum + 2 + frame.length, 0);
    holds(size <= plaintext.length, 'frames are no more than the record held');
  },
};

const signal = (() => {
  const [ours, theirs] = [deriveSecrets(new Uint8Array(16).fill(1)), deriveSecrets(new Uint8Array(16).fill(2))];
  const [mine, other] = [signalIdentity(ours.signalSecret), signalIdentity(theirs.signalSecret)];
  const NOW = 1_800_000_000_000;
  const make = (state?: Uint8Array) =>
    new SignalSession({ identity: mine, ours: ALICE.address, theirs: BOB.address, pinned: other.publicKey }, state);
  const makeOther = () =>
    new SignalSession({ identity: other, ours: BOB.address, theirs: ALICE.address, pinned: mine.publicKey });
  return { make, makeOther, NOW };
})();

// Keys of libsignal are its own: a case changes the same places of other bytes when it is played again.
const BUNDLE = signal.makeOther().makeBundle(7, signal.NOW);

const bundles: Target = {
  name: 'Signal bundles',
  parsers: ['src/crypto/session.ts SignalSession.start', 'src/crypto/bundles.ts parseBundle'],
  codes: ['frame.invalid', 'frame.undecryptable'],
  play: async (dice) => {
    const session = signal.make();
    const bundle = Uint8Array.from(BUNDLE);
    const at = dice.int(bundle.length);
    if (dice.chance(0.6)) bundle.set([(bundle[at] ?? 0) ^ (1 + dice.int(255))], at);
    const given = dice.chance(0.3) ? mutateBytes(dice, bundle) : bundle;
    try {
      await session.start(given, signal.NOW);
    } catch (error) {
      holds(!session.hasCurrent(signal.NOW), 'a bundle that is refused begins no session');
      throw error;
    }
  },
};

const conversation = (async () => {
  const [one, two] = [signal.make(), signal.makeOther()];
  await one.start(two.makeBundle(9, signal.NOW), signal.NOW);
  const first = await one.encrypt(encodeBody({ kind: 'hello', id: idOf(new Uint8Array(16)) }), signal.NOW);
  await two.decrypt(first);
  const whisper = await two.encrypt(encodeBody({ kind: 'hello', id: idOf(new Uint8Array(16)) }), signal.NOW);
  return { state: one.serialize(), whisper, first };
})();

const ciphertexts: Target = {
  name: 'Signal ciphertexts',
  parsers: ['src/crypto/session.ts SignalSession.decrypt'],
  codes: ['frame.undecryptable'],
  play: async (dice) => {
    const { state, whisper, first } = await conversation;
    const session = signal.make(state);
    const { type, ciphertext } = dice.chance(0.6) ? whisper : first;
    const before = session.serialize();
    try {
      const given = dice.chance(0.9) ? mutateBytes(dice, ciphertext) : ciphertext;
      const plaintext = await session.decrypt({ type: dice.chance(0.8) ? type : dice.int(10), ciphertext: given });
      holds(isEqual(given, whisper.ciphertext) && plaintext.length === 320, 'only what was sealed opens');
    } catch (error) {
      holds(isEqual(session.serialize(), before), 'what does not open changes nothing');
      throw error;
    }
  },
};

const chunks: Target = {
  name: 'file chunks',
  parsers: ['src/crypto/file-chunks.ts openChunk'],
  codes: ['file.damaged'],
  play: (dice) => {
    const key = dice.bytes(32);
    const plaintext = dice.bytes(dice.int(200));
    const [index, last] = [dice.int(1000), dice.chance(0.5)];
    const sealed = sealChunk(key, index, last, plaintext);
    const given = dice.chance(0.6) ? mutateBytes(dice, sealed) : sealed;
    const [atIndex, atEnd] = [dice.chance(0.2) ? index + 1 : index, dice.chance(0.9) ? last : !last];
    const opened = openChunk(key, atIndex, atEnd, given);
    if (opened === undefined) throw new SottoError('file.damaged');
    holds(isEqual(opened, plaintext), 'a chunk opens as it was, or not at all');
    holds(atIndex === index && atEnd === last, 'a chunk opens in its place only');
  },
};

/** Everything that another account can send. */
export const PEER_TARGETS: readonly Target[] = [
  frames,
  bodies,
  strictJson,
  certificates,
  noise,
  links,
  records,
  bundles,
  ciphertexts,
  chunks,
];
