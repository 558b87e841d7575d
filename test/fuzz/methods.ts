// The target for what a front end may ask of an account: any method, with any parameters that its schema lets pass.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { dialServer } from '../../src/net/server-dial.ts';
import { ERROR_CODES, type ErrorCode, SottoError } from '../../src/protocol/errors.ts';
import type { AccountMethod } from '../../src/protocol/rpc.ts';
import { ACCOUNT_METHODS } from '../../src/protocol/rpc-account.ts';
import { linkOf } from '../../src/server/admin.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { MemorySockets } from '../../src/testing/sockets.ts';
import { Host } from '../sim/room-host.ts';
import { stretching } from '../sim/stretching.ts';
import type { Dice } from './dice.ts';
import type { Target } from './target.ts';

const SEED = 7;
const KEPT_MAX = 40;
/** A call is waited for so long, in the world's time. */
const TIMEOUT_MS_MAX = 60_000;
const NAME_CHARS_MAX = 300;

type Schema = {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly minItems?: number;
};

const SCHEMAS = Object.entries(ACCOUNT_METHODS).map(
  ([method, { params }]) =>
    [method as AccountMethod, z.toJSONSchema(params, { io: 'input', unrepresentable: 'any' }) as Schema] as const,
);

/** What ends things for good is asked for less often. */
const ENDS: ReadonlySet<AccountMethod> = new Set([
  'contact.remove',
  'contact.block',
  'server.leave',
  'server.revokeDevice',
  'channel.archive',
  'channel.ban',
  'channel.kick',
  'channel.leave',
]);

/** Parameters that are called by what answers call otherwise. */
const SAME: ReadonlyMap<string, string> = new Map(
  ['to', 'before', 'after', 'around', 'replyTo', 'thread'].map((key) => [key, 'id']),
);

/** What things are called by: the values that answers had under a key, the latest last. */
class Known {
  readonly #values = new Map<string, string[]>();

  constructor(first: Readonly<Record<string, readonly string[]>>) {
    for (const [key, values] of Object.entries(first)) this.#values.set(key, [...values]);
  }

  take(key: string, value: unknown): void {
    if (typeof value === 'object' && value !== null) {
      for (const [inner, one] of Object.entries(value)) this.take(Array.isArray(value) ? key : inner, one);
    } else if (typeof value === 'string' && value.length < NAME_CHARS_MAX) {
      this.#values.set(key, [...(this.#values.get(key) ?? []).slice(-KEPT_MAX), value]);
    }
  }

  pick(dice: Dice, key: string): string | undefined {
    const values = this.#values.get(SAME.get(key) ?? key);
    return values && dice.pick(values);
  }

  any(dice: Dice): string {
    return dice.pick([...this.#values.values()].flat());
  }
}

/** A value that fits a schema, of names and ids that there are, mostly. */
const fitting = (dice: Dice, schema: Schema, known: Known, now: number, name = ''): unknown => {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return dice.pick(schema.enum);
  if (schema.anyOf !== undefined) return fitting(dice, dice.pick(schema.anyOf), known, now, name);
  switch (schema.type) {
    case 'object': {
      const required = new Set(schema.required);
      const chosen = Object.entries(schema.properties ?? {}).filter(([key]) => required.has(key) || dice.chance(0.3));
      return Object.fromEntries(chosen.map(([key, inner]) => [key, fitting(dice, inner, known, now, key)]));
    }
    case 'array': {
      const least = schema.minItems ?? 0;
      const length = Math.min(least + dice.int(4), schema.maxItems ?? 4);
      return Array.from({ length }, () => fitting(dice, schema.items ?? {}, known, now, name));
    }
    case 'boolean':
      return dice.chance(0.5);
    case 'integer':
    case 'number': {
      const most = name === 'timeoutMs' ? TIMEOUT_MS_MAX : 1e15;
      const [min, max] = [Math.max(schema.minimum ?? 0, -most), Math.min(schema.maximum ?? most, most)];
      return dice.pick([min, max, Math.min(max, min + 1), Math.min(max, min + dice.int(1000)), Math.min(max, now)]);
    }
    default:
      if (dice.chance(0.05)) return known.any(dice);
      return (dice.chance(0.9) ? known.pick(dice, name) : undefined) ?? dice.text(12);
  }
};

/** Two people, friends and members of one server with two channels. */
const scene = (async () => {
  const world = new World(SEED);
  world.others.push(stretching);
  const sockets = new MemorySockets(world.clock, seededRandom(SEED));
  const host = new Host(world, sockets, SEED);
  world.wayFor = (name, clock) => ({
    dialServer: async (target, attach, signal) =>
      dialServer({
        target,
        path: '/v1',
        clock,
        random: world.random,
        attach,
        connect: ({ port }) => sockets.connect({ name }, port, '10.0.0.1'),
        ...(signal === undefined ? {} : { signal }),
      }),
    drop: () => {},
  });
  await host.open();
  const { alice, bob } = await world.friends();
  const enter = (who: Person, link: string) =>
    world.during(who.call('server.join', { link, name: who.name, label: 'home' }));
  await enter(alice, linkOf(host.server, (await host.server.makeOwnerInvite())?.token ?? ''));
  await enter(bob, (await world.during(alice.call('server.invite', { uses: 1 }))).link ?? '');
  for (const encryption of ['open', 'members'] as const) {
    const channel = `#${encryption}`;
    await world.during(alice.call('channel.create', { name: channel, encryption }));
    if (encryption === 'members') await world.during(alice.call('channel.invite', { channel, member: 'bob' }));
    await world.during(bob.call('channel.join', { channel }));
  }
  const path = join(world.dir, 'a file');
  writeFileSync(path, 'words in a file');
  const known = new Known({
    conversation: ['alice', 'bob', '#open', '#members', 'alice@home', 'bob@home'],
    contact: ['alice', 'bob'],
    member: ['alice', 'bob', 'bob@home'],
    channel: ['#open', '#members'],
    server: ['home'],
    from: ['alice', 'bob', 'me'],
    path: [path, `${path}.saved`],
    emoji: ['👍', 'x'],
    text: ['words', '', ' ', '@bob @here', 'x'.repeat(20_000)],
    query: ['words', '"words wor*', '*'],
  });
  return { world, people: [alice, bob], known };
})();

const SEEN_CODES: readonly ErrorCode[] = ['contact.unknown', 'message.unknown', 'params.invalid'];

const methods: Target = {
  name: 'methods of an account',
  parsers: [],
  codes: SEEN_CODES,
  others: ERROR_CODES.filter((code) => !SEEN_CODES.includes(code)),
  play: async (dice) => {
    const { world, people, known } = await scene;
    const [method, schema] = dice.pick(SCHEMAS);
    if (ENDS.has(method) && dice.chance(0.995)) return;
    const params = fitting(dice, schema, known, world.clock.now());
    if (!ACCOUNT_METHODS[method].params.safeParse(params).success) throw new SottoError('params.invalid');
    // A key that is stretched takes a second.
    if (JSON.stringify(params).includes('"passphrase"')) return;
    const who = dice.pick(people);
    try {
      const result = await world.during(who.call(method, params as never));
      if (method !== 'config.list') known.take('', result);
    } finally {
      if (dice.chance(0.2)) await world.settle(dice.pick([100, 2_000, 60_000]));
    }
  },
};

/** Targets of this file. */
export const METHOD_TARGETS: readonly Target[] = [methods];
