// Targets for the messages between a client and a server, and for the lines of a server's administration.
import {
  BINARY,
  decodeBinary,
  decodeFromServer,
  decodeRequest,
  encodeEvent,
  encodePart,
  encodePublish,
  encodeRequest,
  REQUESTS,
} from '../../src/protocol/server.ts';
import { type Dice, mutateBytes, mutateJson } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const ID = 'ab'.repeat(16);

const requestOf = (dice: Dice): string =>
  dice.pick([
    () => encodeRequest(1, 'log.page', { channel: ID, after: dice.int(9) }),
    () => encodeRequest(2, 'member.list', { names: [dice.text(5)] }),
    () => encodeRequest(3, 'resume', { cursors: { [ID]: [1, dice.int(9), null] } }),
    () => encodeRequest(4, 'member.profile', { name: 'x', status: 'y' }),
    () => encodeRequest(5, 'blob.begin', { channel: ID, hash: 'cd'.repeat(32), sizeBytes: dice.int(9) }),
    () => encodeRequest(7, 'call.join', { channel: ID, muted: dice.chance(0.5) }),
    () => encodeRequest(8, 'call.stream', { channel: ID, stream: dice.hex(8), to: [{ device: ID, sealed: 'AAAA' }] }),
    () => JSON.stringify({ id: 6, do: dice.text(4) }),
  ])();

const requests: Target = {
  name: 'requests to a server',
  parsers: ['src/protocol/server.ts decodeRequest'],
  codes: ['frame.invalid'],
  others: ['frame.tooLarge'],
  play: (dice) => {
    const text = requestOf(dice);
    const request = decodeRequest(dice.chance(0.3) ? text : mutateJson(dice, JSON.parse(text)));
    holds(Object.hasOwn(REQUESTS, request.name) && Number.isSafeInteger(request.id), 'a request is one of the table');
  },
};

const answers: Target = {
  name: 'answers of a server',
  parsers: ['src/protocol/server.ts decodeFromServer'],
  codes: ['frame.invalid'],
  others: ['frame.tooLarge'],
  play: (dice) => {
    const said = dice.pick<object>([
      { id: 1, ok: { x: dice.int(9) } },
      { id: 2, error: { code: dice.text(4), retryAfterMs: dice.int(9), details: { why: 'x' } } },
      { notice: 'typing', channel: ID, member: ID, on: true },
    ]);
    const taken = decodeFromServer(dice.chance(0.3) ? JSON.stringify(said) : mutateJson(dice, said));
    holds('notice' in taken || Number.isSafeInteger(taken.id), 'an answer names its request');
  },
};

const binaries: Target = {
  name: 'binary messages of rooms',
  parsers: ['src/protocol/server.ts decodeBinary'],
  codes: ['frame.invalid', 'frame.tooLarge'],
  play: (dice) => {
    const body = dice.bytes(1 + dice.int(200));
    const event = {
      request: 1,
      channel: ID,
      epoch: 1,
      seq: 2,
      id: ID,
      member: ID,
      at: 3,
      kind: 1,
      erased: false,
      body,
    };
    const bytes = dice.pick([
      () => encodeEvent(event),
      () => encodeEvent({ ...event, erased: true, body: dice.bytes(32) }),
      () => encodePublish({ request: 1, channel: ID, id: ID, kind: 1, checkedAt: 1, ttlSeconds: 0, body }),
      () => encodePart({ request: 1, upload: ID, offset: dice.int(9), body }),
      () => Buffer.alloc(70_000, BINARY.part),
    ])();
    const given = dice.chance(0.4) ? new Uint8Array(bytes) : mutateBytes(dice, bytes);
    const message = decodeBinary(given);
    holds(message.request <= 0xffff_ffff && message.body.length < given.length, 'a body is part of its message');
    const encoded =
      message.type === 'event'
        ? encodeEvent(message)
        : message.type === 'part'
          ? encodePart(message)
          : encodePublish(message);
    holds(Buffer.from(encoded).equals(given), 'what is taken is written the same');
  },
};

/** Targets of this file. */
export const WIRE_TARGETS: readonly Target[] = [requests, answers, binaries];
