// Targets for what members send each other, and for the links that lead to a server.
import { isDeepStrictEqual } from 'node:util';
import { isEqual, toBase64 } from '../../src/protocol/bytes.ts';
import type { DeviceId, EventId } from '../../src/protocol/ids.ts';
import { decodeNote } from '../../src/protocol/inbox-note.ts';
import { makeInviteLink, parseInviteLink } from '../../src/protocol/invite-link.ts';
import { decodeDirect, decodeEnvelopes, encodeEnvelopes, splitEnvelopes } from '../../src/protocol/room-direct.ts';
import { decodeHistory, encodeHistory, type HistoryEntry } from '../../src/protocol/room-history.ts';
import { type Dice, mutateBytes, mutateJson, mutateText } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const id = (dice: Dice) => dice.hex(16);
const key = (dice: Dice) => toBase64(dice.bytes(32));

const anyDirect = (dice: Dice): object =>
  dice.pick([
    { kind: 'text', text: `t${dice.int(1e9)}`, sentAt: dice.int(1e12), replyTo: id(dice), expiresMs: 5000 },
    {
      kind: 'file',
      id: id(dice),
      name: `f${dice.int(9)}`,
      sizeBytes: dice.int(1e9),
      key: key(dice),
      root: key(dice),
      blobs: [key(dice)],
      sentAt: dice.int(1e12),
    },
    { kind: 'edit', target: id(dice), number: 1 + dice.int(9), text: 'edited' },
    { kind: 'delete', target: id(dice) },
    { kind: 'react', target: id(dice), emoji: '👍', on: true },
    { kind: 'pin', target: id(dice), on: false },
    { kind: 'receipt', targets: [id(dice)], state: 'delivered' },
    {
      kind: 'sent',
      to: id(dice),
      content: { kind: 'text', id: id(dice), text: 'said on another device', sentAt: dice.int(9) },
    },
    { kind: 'marked', of: id(dice), epoch: dice.int(9), seq: dice.int(9) },
    { kind: 'decided', of: id(dice), accepted: dice.chance(0.5) },
    { kind: 'joined', channel: id(dice) },
    {
      kind: 'history',
      share: id(dice),
      channel: id(dice),
      epoch: dice.int(9),
      from: 1 + dice.int(9),
      to: 1 + dice.int(9),
      at: 1 + dice.int(9),
      end: 1 + dice.int(9),
      entries: toBase64(dice.bytes(60)),
    },
    {
      kind: 'sender.key',
      channel: id(dice),
      epoch: dice.int(9),
      share: toBase64(dice.bytes(60)),
    },
  ]);

const directs: Target = {
  name: 'direct messages between members',
  parsers: ['src/protocol/room-direct.ts decodeDirect'],
  codes: ['frame.invalid'],
  play: (dice) => {
    const value = anyDirect(dice);
    const text = dice.chance(0.1) ? JSON.stringify(value) : mutateJson(dice, value);
    const taken = decodeDirect(dice.chance(0.9) ? Buffer.from(text) : mutateBytes(dice, Buffer.from(text)));
    if (taken.kind === 'unknown') return;
    holds(isDeepStrictEqual(decodeDirect(Buffer.from(JSON.stringify(taken))), taken), 'what was taken means the same');
  },
};

const notes: Target = {
  name: 'notes of a server in an inbox',
  parsers: ['src/protocol/inbox-note.ts decodeNote'],
  codes: ['frame.invalid'],
  play: (dice) => {
    const device = id(dice);
    const value = dice.pick([{ what: 'second.set' }, { what: 'second.removed' }, { what: 'device.added', device }]);
    const text = dice.chance(0.1) ? JSON.stringify(value) : mutateJson(dice, value);
    const taken = decodeNote(dice.chance(0.9) ? Buffer.from(text) : mutateBytes(dice, Buffer.from(text)));
    if (taken.what === 'unknown') return;
    holds(isDeepStrictEqual(decodeNote(Buffer.from(JSON.stringify(taken))), taken), 'what was taken means the same');
  },
};

const envelopes: Target = {
  name: 'envelopes of an inbox',
  parsers: ['src/protocol/room-direct.ts decodeEnvelopes'],
  codes: ['frame.invalid'],
  play: (dice) => {
    const from = id(dice) as DeviceId;
    const some = Array.from({ length: dice.int(4) }, () => ({
      to: id(dice) as DeviceId,
      type: 2 + dice.int(2),
      ciphertext: dice.bytes(dice.int(100)),
    }));
    const bytes = encodeEnvelopes(from, some);
    const given = dice.chance(0.7) ? mutateBytes(dice, bytes) : bytes;
    const taken = decodeEnvelopes(given);
    holds(isEqual(encodeEnvelopes(taken.from, taken.envelopes), given), 'envelopes have one form only');
    const parts = splitEnvelopes(new Uint8Array(given), 200).map((part) => decodeEnvelopes(part));
    holds(
      isDeepStrictEqual(
        parts.flatMap((part) => part.envelopes),
        taken.envelopes,
      ),
      'parts hold the same envelopes',
    );
  },
};

const history: Target = {
  name: 'shared history of a channel',
  parsers: ['src/protocol/room-history.ts decodeHistory'],
  codes: ['frame.invalid'],
  play: (dice) => {
    const entries = Array.from({ length: dice.int(5) }, (): HistoryEntry => {
      const place = { id: id(dice) as EventId, hash: dice.bytes(32) };
      const kind = dice.pick(['content', 'absent', 'control'] as const);
      return kind === 'content' ? { ...place, kind, signed: dice.bytes(dice.int(300)) } : { ...place, kind };
    });
    const bytes = encodeHistory(entries);
    const given = dice.chance(0.7) ? mutateBytes(dice, bytes) : bytes;
    const taken = decodeHistory(given);
    holds(isEqual(encodeHistory(taken), given), 'entries have one form only');
  },
};

const invites: Target = {
  name: 'invite links of servers',
  parsers: ['src/protocol/invite-link.ts parseInviteLink'],
  codes: ['link.invalid'],
  play: (dice) => {
    const link = makeInviteLink({
      origin: dice.pick(['wss://127.0.0.1:7443', 'wss://chat.example.org', 'ws://localhost:80']),
      serverKey: dice.bytes(32),
      token: dice.pick(['', Buffer.from(dice.bytes(24)).toString('base64url')]),
      trust: dice.pick(['pinned', 'authority']),
    });
    const taken = parseInviteLink(dice.chance(0.8) ? mutateText(dice, link) : link);
    holds(taken.serverKey.length === 32, 'a key has 32 bytes');
    holds(URL.canParse(taken.origin), 'an origin is an address');
    holds(isDeepStrictEqual(parseInviteLink(makeInviteLink(taken)), taken), 'what was taken means the same again');
  },
};

export const MEMBER_TARGETS: readonly Target[] = [directs, notes, envelopes, history, invites];
