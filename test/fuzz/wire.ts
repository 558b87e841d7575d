// Targets for the messages between a client and a server, and for the lines of a server's administration.
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { isEqual, toBase64 } from '../../src/protocol/bytes.ts';
import {
  decodeFromServer,
  decodeRequest,
  encodeRequest,
  NOTICES,
  REQUESTS,
  type RequestName,
} from '../../src/protocol/server.ts';
import { decodeAnswer, decodeNotice } from '../../src/protocol/server-answers.ts';
import { BINARY, decodeBinary, encodeEvent, encodePart, encodePublish } from '../../src/protocol/server-frames.ts';
import { type Dice, mutateBytes, mutateJson } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const ID = 'ab'.repeat(16);

/** Something that a schema of the wire takes. */
const sample = (dice: Dice, schema: z.core.JSONSchema.BaseSchema): unknown => {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return dice.pick(schema.enum);
  if (schema.anyOf !== undefined) return sample(dice, dice.pick(schema.anyOf) as never);
  switch (schema.type) {
    case 'string':
      return textFor(dice, schema.pattern ?? '', schema.minLength ?? 0);
    case 'integer':
    case 'number':
      return Math.max(dice.int(9), schema.minimum ?? 0);
    case 'boolean':
      return dice.chance(0.5);
    case 'array':
      if (schema.prefixItems !== undefined) return schema.prefixItems.map((one) => sample(dice, one as never));
      return Array.from({ length: Math.max(1, schema.minItems ?? 0) }, () => sample(dice, schema.items as never));
    case 'object':
      if (typeof schema.additionalProperties === 'object' && schema.properties === undefined)
        return { [ID]: sample(dice, schema.additionalProperties) };
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, one]) => [name, sample(dice, one as never)]),
      );
    default:
      return null;
  }
};

const textFor = (dice: Dice, pattern: string, minLength: number): string => {
  const [, size] = /\[0-9a-f\]\{(\d+)\}/.exec(pattern) ?? [];
  if (size !== undefined) return dice.hex(Number(size) / 2);
  if (pattern.includes('{43}=')) return toBase64(dice.bytes(32));
  return 'abcd'.repeat(Math.max(1, Math.ceil(minLength / 4)));
};

const schemaOf = (schema: z.ZodType, io: 'input' | 'output') =>
  z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as z.core.JSONSchema.BaseSchema;
const NAMES = Object.keys(REQUESTS) as RequestName[];
const ASKED = NAMES.map((name) => ({ name, schema: schemaOf(REQUESTS[name].params, 'input') }));
const ANSWERED = NAMES.map((name) => ({ name, schema: schemaOf(REQUESTS[name].ok, 'output') }));
const TOLD = Object.entries(NOTICES).map(([name, schema]) => ({ name, schema: schemaOf(schema, 'output') }));

const requestOf = (dice: Dice): string => {
  if (dice.chance(0.1)) return JSON.stringify({ id: 6, do: dice.text(4) });
  const { name, schema } = dice.pick(ASKED);
  return encodeRequest(1, name, sample(dice, schema) as never);
};

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
  parsers: [
    'src/protocol/server.ts decodeFromServer',
    'src/protocol/server-answers.ts decodeAnswer',
    'src/protocol/server-answers.ts decodeNotice',
  ],
  codes: ['frame.invalid'],
  others: ['frame.tooLarge'],
  play: (dice) => {
    const { name, schema } = dice.pick(ANSWERED);
    const told = dice.pick(TOLD);
    const said = dice.pick<object>([
      { id: 1, ok: sample(dice, schema) },
      { id: 2, error: { code: dice.text(4), retryAfterMs: dice.int(9), details: { why: 'x' } } },
      { notice: told.name, ...(sample(dice, told.schema) as object) },
    ]);
    const taken = decodeFromServer(dice.chance(0.3) ? JSON.stringify(said) : mutateJson(dice, said));
    if ('notice' in taken) {
      const notice = decodeNotice(taken);
      return holds(notice === undefined || isDeepStrictEqual(decodeNotice(notice), notice), 'a notice means the same');
    }
    holds(Number.isSafeInteger(taken.id), 'an answer names its request');
    if (!('ok' in taken)) return;
    const answer = decodeAnswer(name, taken.ok);
    holds(isDeepStrictEqual(decodeAnswer(name, answer), answer), 'what was taken means the same again');
  },
};

const binaries: Target = {
  name: 'binary messages of rooms',
  parsers: ['src/protocol/server-frames.ts decodeBinary'],
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
      () => encodePublish({ request: 1, channel: ID, id: ID, kind: 1, checkedAt: 1, ttlSeconds: 0, sealed: 0, body }),
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
    holds(isEqual(encoded, given), 'what is taken is written the same');
  },
};

/** Targets of this file. */
export const WIRE_TARGETS: readonly Target[] = [requests, answers, binaries];
