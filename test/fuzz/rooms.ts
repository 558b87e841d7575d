// Targets for what comes out of a room: certificates, signed events, their contents, keys and sealed bodies.
import { isDeepStrictEqual } from 'node:util';
import {
  makeKeyWrap,
  openBody,
  openKeyWrap,
  openPreviousKey,
  readBodyHead,
  sealBody,
} from '../../src/crypto/channel-key.ts';
import { makeDeviceCertificate, readDeviceCertificate } from '../../src/crypto/member.ts';
import { PreKeySet } from '../../src/crypto/prekeys.ts';
import { ed25519Sign, hkdf, seal, unseal } from '../../src/crypto/primitives.ts';
import {
  EVENT_HEADER_BYTES,
  type EventHeader,
  openEvent,
  readEventHeader,
  signEvent,
} from '../../src/crypto/room-event.ts';
import { type ChainPlace, OwnChain, readDistributionId, TheirChain } from '../../src/crypto/sender-key.ts';
import { SignalSession } from '../../src/crypto/session.ts';
import { concat, isEqual, toBase64 } from '../../src/protocol/bytes.ts';
import type { ChannelId, EventId, MemberId } from '../../src/protocol/ids.ts';
import { padded } from '../../src/protocol/padding.ts';
import { joinBundle } from '../../src/protocol/prekeys.ts';
import { decodeContent, decodeControl, type EventKind, type KeyWrap } from '../../src/protocol/room-content.ts';
import { keysOf, SERVER_ID, testEventId, testMember } from '../../src/testing/rooms.ts';
import { type Dice, mutateBytes, mutateJson } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const [ALICE, BOB] = [testMember(1), testMember(2)];
const certificates: Target = {
  name: 'device certificates',
  parsers: ['src/crypto/member.ts readDeviceCertificate'],
  codes: ['certificate.invalid', 'key.invalid'],
  play: (dice) => {
    const { signingKey, signalKey } = ALICE.certified;
    const key = dice.chance(0.5) ? dice.bytes(32) : signingKey;
    const serial = dice.int(2 ** 31);
    const made = makeDeviceCertificate(SERVER_ID, ALICE.memberSeed, { signingKey: key, signalKey, serial });
    const bytes = dice.chance(0.5) ? mutateBytes(dice, made) : made;
    const read = readDeviceCertificate(bytes, SERVER_ID);
    holds(isEqual(makeDeviceCertificate(SERVER_ID, ALICE.memberSeed, read), bytes), 'a certificate has one form only');
    holds(read.member === ALICE.id, 'it names its member');
  },
};

const id = (dice: Dice) => dice.hex(16);

const anyContent = (dice: Dice): object =>
  dice.pick([
    {
      kind: 'text',
      text: `t${dice.int(1e9)}`,
      replyTo: id(dice),
      thread: id(dice),
      mentions: { members: [id(dice)], roles: ['admin'], here: true },
      expiresMs: 5000,
    },
    { kind: 'edit', target: id(dice), number: 1 + dice.int(9), text: 'edited' },
    { kind: 'react', target: id(dice), emoji: '👍', on: true },
    { kind: 'pin', target: id(dice), on: false },
    { kind: 'topic', text: 'about this' },
    {
      kind: 'file',
      name: 'f',
      sizeBytes: dice.int(1e9),
      key: toBase64(dice.bytes(32)),
      root: toBase64(dice.bytes(32)),
      blobs: [toBase64(dice.bytes(32))],
      sentAt: 1,
    },
  ]);

const anyWrap = (dice: Dice): KeyWrap => ({
  salt: toBase64(dice.bytes(16)),
  memoryKib: 64 * 1024,
  passes: 3,
  lanes: 4,
  commitment: toBase64(dice.bytes(32)),
  wrapped: toBase64(dice.bytes(48)),
});

const anyControl = (dice: Dice): object => {
  const member = id(dice);
  return dice.pick([
    {
      op: 'create',
      name: 'ops',
      encryption: 'passphrase',
      private: true,
      history: 'all',
      key: anyWrap(dice),
      members: [{ member, role: 'admin' }],
    },
    { op: 'create', name: 'ops', encryption: 'members', private: false, history: 'joined' },
    ...['invite', 'add', 'remove', 'ban', 'unban', 'unmute'].map((op) => ({ op, member })),
    ...['join', 'leave', 'archive', 'rotate'].map((op) => ({ op })),
    { op: 'mute', member, untilAt: dice.int(1e9) },
    { op: 'role', member, role: 'owner' },
    { op: 'mode', slowMs: 1000, retentionMs: 0, notify: 'mentions' },
    { op: 'rotate', key: { ...anyWrap(dice), previous: toBase64(dice.bytes(48)) } },
    { op: 'erase', target: id(dice) },
  ]);
};

const contents: Target = {
  name: 'contents and controls of events',
  parsers: ['src/protocol/room-content.ts decodeContent', 'src/protocol/room-content.ts decodeControl'],
  codes: ['event.invalid'],
  play: (dice) => {
    const [value, decode] = dice.chance(0.5) ? [anyContent(dice), decodeContent] : [anyControl(dice), decodeControl];
    const text = dice.chance(0.1) ? JSON.stringify(value) : mutateJson(dice, value);
    const bytes = dice.chance(0.9) ? Buffer.from(text) : mutateBytes(dice, Buffer.from(text));
    const taken = decode(bytes);
    if (('kind' in taken ? taken.kind : taken.op) === 'unknown') return;
    holds(isDeepStrictEqual(decode(Buffer.from(JSON.stringify(taken))), taken), 'what was taken means the same again');
  },
};

const anyHeader = (dice: Dice): EventHeader => ({
  epoch: dice.int(2 ** 32),
  id: id(dice) as EventId,
  sender: ALICE.id,
  device: dice.chance(0.9) ? ALICE.device : BOB.device,
  n: dice.int(2 ** 48),
  seenSeq: dice.int(2 ** 48),
  seenHash: dice.bytes(16),
  membersHead: dice.bytes(16),
  kind: (1 + dice.int(2)) as EventKind,
});

const events: Target = {
  name: 'signed events',
  parsers: ['src/crypto/room-event.ts openEvent', 'src/crypto/room-event.ts readEventHeader'],
  codes: ['event.invalid', 'event.forged'],
  play: (dice) => {
    const scope = { serverId: SERVER_ID, channelHash: new Uint8Array(32).fill(1) };
    const header = anyHeader(dice);
    const content = anyContent(dice);
    const signed = signEvent(scope, header, content, ALICE.deviceSeed);
    const given = dice.chance(0.6) ? mutateBytes(dice, signed) : signed;
    // A device that has its key, and no rules: its signature is over what was changed.
    if (dice.chance(0.3) && given.length > 64) {
      const bytes = given.subarray(0, -64);
      const message = Buffer.concat([Buffer.from('sotto event 1'), scope.serverId, scope.channelHash, bytes]);
      given.set(ed25519Sign(ALICE.deviceSeed, message), bytes.length);
    }
    const outer = dice.chance(0.9) ? header : { ...header, sender: BOB.id };
    const opened = openEvent({ scope, outer, keyOf: keysOf(ALICE, BOB) }, given, decodeContent);
    holds(isDeepStrictEqual(opened.header, readEventHeader(given)), 'the header is what was signed');
    holds(opened.header.id === header.id && opened.header.sender === outer.sender, 'it is what the server says it is');
    const again = signEvent(scope, opened.header, content, ALICE.deviceSeed);
    holds(
      isEqual(again.subarray(0, EVENT_HEADER_BYTES), given.subarray(0, EVENT_HEADER_BYTES)),
      'a header has one form only',
    );
  },
};

const bodies: Target = {
  name: 'bodies of a passphrase channel',
  parsers: ['src/crypto/channel-key.ts openBody', 'src/crypto/channel-key.ts readBodyHead'],
  codes: ['frame.undecryptable', 'frame.invalid'],
  play: (dice) => {
    const key = dice.bytes(32);
    const said = { id: id(dice) as EventId, sender: id(dice) as MemberId };
    const place = { ...said, epoch: dice.int(2 ** 32), device: ALICE.device };
    const signed = dice.bytes(dice.int(400));
    const body = sealBody(key, place, signed);
    let given = dice.chance(0.5) ? mutateBytes(dice, body) : body;
    if (dice.chance(0.3)) {
      // A member that has the key, and no rules: any padding under a seal that fits.
      const info = Buffer.concat([
        Buffer.from('sotto room message 1'),
        Buffer.from(place.epoch.toString(16).padStart(8, '0') + said.sender + place.device, 'hex'),
      ]);
      const message = hkdf(key, info, 64, Buffer.from(said.id, 'hex')).subarray(0, 32);
      const [head, nonce] = [body.subarray(0, 33), body.subarray(21, 33)];
      const plaintext = mutateBytes(dice, unseal(message, nonce, body.subarray(33), head) ?? new Uint8Array());
      given = concat([head, seal(message, nonce, plaintext, head)]);
    }
    const opened = openBody(key, said, given);
    holds(
      isDeepStrictEqual(readBodyHead(given), { epoch: place.epoch, device: place.device }),
      'it opens at its place only',
    );
    holds(given.length > body.length || opened.length <= given.length, 'no more comes out than went in');
    if (given === body) holds(isEqual(opened, signed), 'a body opens as it was sealed');
  },
};

const KEY_PLACE = { serverId: SERVER_ID, event: testEventId(1), epoch: 1 };
const [KEY, PREVIOUS] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const WRAP = makeKeyWrap(KEY_PLACE, 'right', {
  key: KEY,
  salt: new Uint8Array(16),
  previous: PREVIOUS,
  cost: { memoryKib: 64 * 1024, passes: 3, lanes: 4 },
});

const wraps: Target = {
  name: 'wrapped keys of a passphrase channel',
  parsers: ['src/crypto/channel-key.ts openKeyWrap', 'src/crypto/channel-key.ts openPreviousKey'],
  codes: ['event.invalid', 'passphrase.wrong'],
  play: async (dice) => {
    const wrap = await WRAP;
    const other = (text: string) => toBase64(mutateBytes(dice, Buffer.from(text, 'base64')));
    const field = dice.pick(['salt', 'wrapped', 'commitment', 'previous'] as const);
    const given = { ...wrap, ...(dice.chance(0.7) ? { [field]: other(wrap[field] ?? '') } : {}) };
    const previous = openPreviousKey(KEY_PLACE, given, dice.chance(0.9) ? KEY : PREVIOUS);
    holds(previous !== undefined && isEqual(previous, PREVIOUS), 'the key before comes back');
    // To stretch a passphrase takes long: most cases end before it.
    if (dice.chance(0.7)) {
      const cost = dice.pick([
        { memoryKib: dice.int(64 * 1024) },
        { passes: dice.int(3) },
        { lanes: 17 + dice.int(99) },
      ]);
      return holds((await openKeyWrap(KEY_PLACE, { ...given, ...cost }, 'right')).length > 99, 'no such cost is taken');
    }
    const opened = await openKeyWrap(KEY_PLACE, given, dice.chance(0.7) ? 'right' : 'wrong');
    holds(isEqual(opened, KEY), 'a key opens as it was, or not at all');
  },
};

const PLACE: ChainPlace = { channel: '07'.repeat(16) as ChannelId, epoch: 1, device: ALICE.device };
// Keys of libsignal are its own: a case changes the same places of other bytes when it is played again.
const CHAIN = (async () => {
  const own = new OwnChain(PLACE, { now: 1 });
  const reader = new TheirChain(PLACE);
  const share = await own.share();
  await reader.take(share);
  return { state: own.serialize(), reader: reader.serialize(), share, body: await own.seal(new Uint8Array(40)) };
})();

const senderKeys: Target = {
  name: 'sender keys and bodies of a members channel',
  parsers: ['src/crypto/sender-key.ts readDistributionId', 'src/crypto/sender-key.ts TheirChain'],
  codes: ['frame.undecryptable', 'frame.invalid'],
  play: async (dice) => {
    const { state, reader, share, body } = await CHAIN;
    const chain = new TheirChain(PLACE, dice.chance(0.8) ? reader : new Uint8Array());
    const before = chain.serialize();
    try {
      if (dice.chance(0.3)) return await chain.take(dice.chance(0.8) ? mutateBytes(dice, share) : share);
      const given = dice.chance(0.2) ? await wild(dice, state) : dice.chance(0.7) ? mutateBytes(dice, body) : body;
      readDistributionId(given);
      const opened = await chain.open(given);
      if (given === body) holds(isEqual(opened, new Uint8Array(40)), 'a body opens as it was sealed');
    } catch (error) {
      holds(isEqual(chain.serialize(), before), 'what does not open changes nothing');
      throw error;
    }
  },
};

// A device that keeps no rules of padding: libsignal itself seals what a body of ours never holds.
const wild = async (dice: Dice, state: Uint8Array): Promise<Uint8Array> => {
  const { groupEncrypt, SenderKeyRecord, SenderKeyStore, ProtocolAddress } = await import(
    '@signalapp/libsignal-client'
  );
  const record = SenderKeyRecord.deserialize(new Uint8Array(state.subarray(10)));
  class One extends SenderKeyStore {
    override async saveSenderKey(): Promise<void> {}
    override async getSenderKey() {
      return record;
    }
  }
  const address = ProtocolAddress.new('11111111-1111-4111-8111-111111111111', 1);
  const plaintext = mutateBytes(dice, padded(new Uint8Array(40)));
  const body = (await CHAIN).body;
  const message = await groupEncrypt(address, readDistributionId(body), new One(), plaintext);
  return concat([Uint8Array.of(2), message.serialize()]);
};

const PUBLISHED = (() => {
  const upload = new PreKeySet().refill(BOB.signal, { ec: 99, kyber: 99 }, 1);
  if (upload?.signed === undefined || upload.lastResort === undefined) throw new Error('a new set has all');
  return { signed: upload.signed, kyber: upload.lastResort };
})();

const published: Target = {
  name: 'published bundles',
  parsers: ['src/protocol/prekeys.ts splitBundle', 'src/crypto/prekeys.ts parsePublishedBundle'],
  codes: ['frame.invalid', 'frame.undecryptable'],
  play: async (dice) => {
    const ec = Buffer.concat([dice.bytes(4), BOB.certified.signalKey]);
    const bundle = joinBundle({ ...PUBLISHED, ec: dice.chance(0.5) ? ec : undefined });
    const at = dice.int(bundle.length);
    if (dice.chance(0.6)) bundle.set([(bundle[at] ?? 0) ^ (1 + dice.int(255))], at);
    const given = dice.chance(0.3) ? mutateBytes(dice, bundle) : bundle;
    const session = new SignalSession({
      identity: ALICE.signal,
      ours: ALICE.device,
      theirs: BOB.device,
      pinned: BOB.certified.signalKey,
    });
    try {
      await session.startPublished(given, 1);
    } catch (error) {
      holds(!session.hasCurrent(1), 'a bundle that is refused begins no session');
      throw error;
    }
  },
};

/** Everything that a server, and the members behind it, can show. */
export const ROOM_TARGETS: readonly Target[] = [certificates, contents, events, bodies, wraps, senderKeys, published];
