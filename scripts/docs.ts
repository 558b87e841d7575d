// Writes the reference documents from the tables in the code; with --check it only says which are out of date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { usageLine } from '../src/cli/parse.ts';
import { allCommands, EXIT_CODES, GLOBAL_FLAGS, PROGRAMS, VARIABLES } from '../src/cli/table.ts';
import { valuesOf } from '../src/core/settings.ts';
import { CONFIG } from '../src/daemon/config.ts';
import { BENCH } from '../src/lab/bench/bench.ts';
import { DEMO } from '../src/lab/demo.ts';
import { ERROR_CODES, exitOf, retryOf, rpcNumberOf, textOf } from '../src/protocol/errors.ts';
import { EVENT_KINDS, VOLATILE_KINDS } from '../src/protocol/event-kinds.ts';
import {
  ASKED_AT_ONCE_MAX,
  CALL_DEVICES_MAX,
  CALL_FRAME_BYTES_MAX,
  CALL_FRAME_RATE,
  CALL_PEOPLE_MAX,
  CALL_PING_MS,
  CALL_TALKERS_MAX,
  CALL_TICKET_MS,
  CALLS_MAX,
  CHANNELS_MADE_MAX,
  CONTROL_BODY_BYTES_MAX,
  DEVICES_MAX,
  EVENT_BODY_BYTES_MAX,
  INBOX_EVENTS_MAX,
  INBOX_KEPT_MS,
  MEMBER_FILES_BYTES_MAX,
  PAGE_BYTES_MAX,
  PRESENCE_TELL_MS,
  RPC_IN_FLIGHT_MAX,
  RPC_LINE_BYTES_MAX,
  SERVER_CONNECTIONS_MAX,
  SERVER_CONNECTIONS_PER_DEVICE_MAX,
  SERVER_FIRST_FRAME_MS_MAX,
  SERVER_LOGIN_MS_MAX,
  SERVER_MESSAGE_BYTES_MAX,
  SERVER_PING_MS,
  SERVER_PINGS_MISSED_MAX,
  SERVER_RATES,
  SERVER_UNPROVEN_PER_SOURCE_MAX,
  SERVER_UNSENT_BYTES_MAX,
  TOLD_IN_PASSING_MAX,
  UPLOADS_MAX,
} from '../src/protocol/limits.ts';
import { ACCOUNT_METHODS } from '../src/protocol/rpc-account.ts';
import { DAEMON_METHODS } from '../src/protocol/rpc-daemon.ts';
import { roomWhy } from '../src/protocol/rpc-objects.ts';
import { SERVE_COMMANDS, SERVE_FLAGS } from '../src/protocol/serve-words.ts';
import { type Needs, NOTICES, REQUESTS, SERVER_VERSIONS } from '../src/protocol/server.ts';
import { BINARY, EVENT } from '../src/protocol/server-frames.ts';
import { SETTINGS, type SettingKey } from '../src/protocol/settings.ts';
import { SCHEMAS } from '../src/store/migrations.ts';

type Schema = {
  readonly type?: string;
  readonly properties?: Record<string, Schema>;
  readonly required?: string[];
  readonly items?: Schema;
  readonly enum?: unknown[];
  readonly anyOf?: Schema[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly description?: string;
};

/** A JSON Schema as one short line: `{ id: string, limit?: integer = 50 }`. */
const shapeOf = (schema: Schema): string => {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(shapeOf).join(' | ');
  if (schema.type === 'array') return `[${shapeOf(schema.items ?? {})}]`;
  if (schema.type !== 'object' || schema.properties === undefined) return schema.type ?? 'any';
  const fields = Object.entries(schema.properties).map(([name, field]) => {
    const optional = schema.required?.includes(name) === true && field.default === undefined ? '' : '?';
    return `${name}${optional}: ${shapeOf(field)}${field.default === undefined ? '' : ` = ${JSON.stringify(field.default)}`}`;
  });
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
};

const jsonSchema = (schema: z.ZodType, io: 'input' | 'output'): Schema =>
  z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Schema;

const methodDocs = (
  title: string,
  methods: Record<string, { doc: string; params: z.ZodType; result: z.ZodType }>,
): string[] => [
  `## ${title}`,
  '',
  ...Object.entries(methods).flatMap(([name, { doc, params, result }]) => [
    `### \`${name}\``,
    '',
    doc,
    '',
    `- parameters: \`${shapeOf(jsonSchema(params, 'input'))}\``,
    `- result: \`${shapeOf(jsonSchema(result, 'output'))}\``,
    '',
  ]),
];

const GENERATED = 'This page is generated from the code by `npm run docs`.';

const rpcPage = (): string =>
  [
    '# RPC reference',
    '',
    GENERATED,
    '',
    'JSON-RPC 2.0 over a Unix socket, one object per line. The daemon speaks first: `{"sotto", "rpc", "account", "locked", "exists"}`.',
    `A line of requests is at most ${RPC_LINE_BYTES_MAX / 2 ** 20} MiB. Answers may be longer: a page of messages ends, with \`more\`, before its limit when its bodies have ${PAGE_BYTES_MAX / 2 ** 20} MiB, escaped twice as much.`,
    'An error carries `data: {code, exit, retry, details}`; the codes are in [errors.md](errors.md).',
    `A connection has at most ${RPC_IN_FLIGHT_MAX} calls under way: more are answered \`rate.limited\`, to be sent again once one is answered.`,
    'Who shuts down their side of the connection gets the answers of the calls under way, and then the end.',
    '',
    ...methodDocs('Methods of the daemon', DAEMON_METHODS),
    ...methodDocs('Methods of an open account', ACCOUNT_METHODS),
    '## `sotto why` of rooms',
    '',
    'Of a contact it gives the result of `contact.why`. Of a server, and of a channel or member on it, it puts together what the',
    'methods above tell: `summary` is the nearest of the `reasons`, or how the server is reached; `gaps` are those of the channel;',
    '`files` wait for it.',
    '',
    `- \`${shapeOf(jsonSchema(roomWhy, 'output'))}\``,
    '',
    '## Events',
    '',
    'After `event.listen` the daemon sends `{"jsonrpc": "2.0", "method": "event", "params": {kind, at, cursor?, …}}`.',
    '',
    `- committed, with a cursor: ${EVENT_KINDS.map((kind) => `\`${kind}\``).join(', ')}`,
    `- passing, without one: ${VOLATILE_KINDS.map((kind) => `\`${kind}\``).join(', ')}`,
    '- a message or file that was erased since is `{id, gone: true}`',
    '- `gap {fromCursor, toCursor}` first, when the cursor asked for is no longer kept',
    '',
  ].join('\n');

const labDocs = ({ usage, doc, flags }: typeof DEMO | typeof BENCH): string[] => [
  `## \`${usage.split(' [')[0]}\``,
  '',
  `\`${usage}\`: ${doc}`,
  '',
  ...Object.entries<readonly [doc: string, value?: string]>(flags).map(
    ([name, [said, value]]) => `- \`--${name}${value === undefined ? '' : ` ${value}`}\`: ${said}`,
  ),
  '',
];

const cliPage = (): string =>
  [
    '# Command reference',
    '',
    GENERATED,
    '',
    ...allCommands()
      .filter((command) => command.path !== 'complete')
      .flatMap((command) => [
        `## \`sotto ${usageLine(command)}\``,
        '',
        `${command.doc}.`,
        '',
        ...command.args.map((arg) => `- \`${arg.name}\`: ${arg.doc}`),
        ...Object.entries(command.flags ?? {}).map(
          ([name, flag]) => `- \`--${name}${flag.value === undefined ? '' : ` ${flag.value}`}\`: ${flag.doc}`,
        ),
        '',
      ]),
    '## `sotto serve`',
    '',
    ...SERVE_COMMANDS.map(([usage, doc]) => `- \`sotto ${usage}\`: ${doc}`),
    '',
    'Its flags, and the same as keys of `server.toml` (TOML; `tls.cert` is `cert` in the table `[tls]`):',
    '',
    '| flag | key | |',
    '|---|---|---|',
    ...SERVE_FLAGS.map(([flag, key, doc]) => `| \`${flag}\` | ${key === '' ? '' : `\`${key}\``} | ${doc} |`),
    '',
    'The table `[rates]` has no flags: under the names of [the limits](server-protocol.md#limits), how many at once and how many',
    'an hour then, as in `publish = { burst = 60, perHour = 3600 }`.',
    '',
    'A certificate that is renewed needs a `SIGHUP`; `name` and `registration` count at once then too, everything else at the',
    'next start. `sotto serve --check-config` tells every mistake with its place, and exits with 2.',
    '',
    ...[DEMO, BENCH].flatMap(labDocs),
    '## Flags of every command',
    '',
    ...Object.entries(GLOBAL_FLAGS).map(
      ([name, flag]) => `- \`--${name}${flag.value === undefined ? '' : ` ${flag.value}`}\`: ${flag.doc}`,
    ),
    '',
    '## Variables',
    '',
    ...VARIABLES.map(([name, doc]) => `- \`${name}\`: ${doc}`),
    '',
    '## On this machine',
    '',
    ...PROGRAMS.map(([name, doc]) => `- \`sotto ${name}\`: ${doc}`),
    '',
  ].join('\n');

const errorPage = (): string =>
  [
    '# Errors',
    '',
    GENERATED,
    '',
    `Exit codes: ${EXIT_CODES.join(' · ')}.`,
    '',
    '| code | exit | RPC | retry | text |',
    '|---|---|---|---|---|',
    ...ERROR_CODES.map(
      (code) =>
        `| \`${code}\` | ${exitOf(code)} | ${rpcNumberOf(code)} | ${retryOf(code)} | ${textOf(code).replaceAll('|', '\\|')} |`,
    ),
    '',
  ].join('\n');

const RELOADED = '`daemon reload`';

const settingsPage = (): string =>
  [
    '# Settings',
    '',
    GENERATED,
    '',
    '## Of an account',
    '',
    'Set with `sotto config set KEY VALUE`, for one conversation with `--in CONVERSATION`. They live in the encrypted store.',
    '',
    '| key | default | values | scopes | counts | what it does |',
    '|---|---|---|---|---|---|',
    ...Object.entries(SETTINGS).map(
      ([key, { default: value, scopes, restart, doc }]) =>
        `| \`${key}\` | \`${JSON.stringify(value)}\` | ${valuesOf(key as SettingKey)} | ${scopes.join(', ')} | ${restart ? RELOADED : 'at once'} | ${doc} |`,
    ),
    '',
    '## Of the program',
    '',
    'In `config.toml`, which stands in `~/.config/sotto`, or below `--data-dir`. A daemon reads it when it starts, at',
    '`sotto daemon reload` and at SIGHUP; one with a mistake is refused whole.',
    '',
    '| section | key | default | values | counts | what it does |',
    '|---|---|---|---|---|---|',
    ...Object.entries(jsonSchema(CONFIG, 'input').properties ?? {}).flatMap(([section, { properties = {} }]) =>
      Object.entries(properties).map(
        ([key, one]) =>
          `| \`[${section}]\` | \`${key}\` | ${one.default === undefined ? 'none' : `\`${JSON.stringify(one.default)}\``} | ${shapeOf(one).replaceAll('|', '\\|')} | ${RELOADED} | ${one.description} |`,
      ),
    ),
    '',
  ].join('\n');

const NEEDS: Readonly<Record<Needs['role'], string>> = {
  before: 'anybody, before the log-in',
  member: 'any device that has logged in',
  admin: 'an admin or owner of the server',
  owner: 'an owner of the server',
};
const RIGHTS = {
  see: ', of a channel that is public or that the member is in or invited to',
  read: ', of a channel that the member is in, or of the own inbox',
  file: ', of a channel that the member is in, of the own inbox, or of that of another member, whose id is given as `channel`',
  call: ', of a channel that the member is in, or with another member, whose id is given as `channel`',
} as const;

const RATES: Readonly<Record<keyof typeof SERVER_RATES, string>> = {
  publish: 'events and files that a member brings into channels',
  burst: 'these and those of `direct` together, in a moment',
  control: 'controls of a member who makes a channel, or is no moderator in it',
  direct: 'events and files that a member brings into inboxes of others',
  request: 'requests of a member',
  signal: 'typing and presence of a member; what is above is passed over',
  call: 'comings, goings and switches of a member in calls',
  stream: 'announcements of streams of a member',
  search: 'words that a member searches for',
  register: 'registrations and log-ins of new devices tried from a source',
  prekeys: 'bundles of one member for another',
  account: 'changes and exports of a member’s own account',
};

const requestDocs = ([name, { doc, needs, params, ok }]: [
  string,
  (typeof REQUESTS)[keyof typeof REQUESTS],
]): string[] => {
  const { role, channel }: Needs = needs;
  return [
    `### \`${name}\``,
    '',
    doc,
    '',
    `- who: ${NEEDS[role]}${channel === undefined ? '' : RIGHTS[channel]}`,
    `- parameters: \`${shapeOf(jsonSchema(params, 'input'))}\``,
    `- answer: \`${shapeOf(jsonSchema(ok, 'output'))}\``,
    '',
  ];
};

const serverPage = (): string =>
  [
    '# The wire between an account and a server',
    '',
    GENERATED,
    '',
    `WebSocket at \`/v1\`, subprotocol \`sotto.v1\`; versions ${SERVER_VERSIONS.join(', ')}. A text message is JSON: \`{id, do, …}\` asks,`,
    '`{id, ok}` or `{id, error: {code, retryAfterMs?, details?}}` answers once, `{notice, …}` is told unasked. Fields that are not',
    'known are passed over. The codes are in [errors.md](errors.md). What is no message ends the connection with its code.',
    '',
    '## Binary messages',
    '',
    'Numbers are big endian; ids are 16 bytes.',
    '',
    `- ${BINARY.event}, from the server, an event: u8 type ‖ u32 request (0 live) ‖ channel ‖ u32 epoch ‖ u48 seq ‖ id ‖ member ‖ u48 at ‖ u8 kind ‖ u8 flags (1: erased, the body is its SHA-256) ‖ body`,
    `- ${BINARY.publish}, from a client, wants an event appended: u8 type ‖ u32 request ‖ channel ‖ id ‖ u8 kind ‖ u48 seq up to which the channel’s rules are known ‖ u32 seconds to live (0 for ever) ‖ u48 how often the device has sealed something so far (0: it does not say) ‖ body; its answer is \`{seq, epoch, at}\``,
    `- ${BINARY.part}, both ways, bytes of a file: u8 type ‖ u32 request ‖ upload ‖ u48 offset ‖ bytes`,
    '',
    `Kinds of events: ${Object.entries(EVENT)
      .map(([name, kind]) => `${kind} ${name}`)
      .join(
        ', ',
      )}. An id is a UUID of version 7, at most 31 days old and an hour ahead, else it is refused with \`request.invalid\`, whose details tell the time there as \`at\`; the same id again has the same place.`,
    '',
    '## Requests',
    '',
    ...Object.entries(REQUESTS).flatMap(requestDocs),
    '## Notices',
    '',
    ...Object.entries(NOTICES).map(([name, schema]) => `- \`${name}\`: \`${shapeOf(jsonSchema(schema, 'output'))}\``),
    '',
    '## Call links',
    '',
    'WebSocket at `/v1/call`, subprotocol `sotto.call.v1`; binary messages only. The first is the ticket of `call.join`; then',
    'frames, both ways, and reports, both ways (u8 3 ‖ u32 frames that came ‖ u16 milliseconds since the last): PROTOCOL, Calls.',
    'It ends with a code as its reason, or `left`, or `replaced` by a newer link of the device.',
    '',
    `A ticket serves for ${CALL_TICKET_MS / 1000} s; a message ≤ ${CALL_FRAME_BYTES_MAX} bytes, ${CALL_FRAME_RATE.perSecond} a second and ${CALL_FRAME_RATE.burst} at once; ${CALL_TALKERS_MAX} voices at once; ${CALL_PEOPLE_MAX} devices in a call,`,
    `${CALL_DEVICES_MAX} of a member in all; ${CALLS_MAX} calls. A link is pinged after ${CALL_PING_MS / 1000} s of silence and ends after ${(3 * CALL_PING_MS) / 1000} s of it.`,
    '',
    '## Limits',
    '',
    `A message ≤ ${SERVER_MESSAGE_BYTES_MAX / 1024} KiB, a body ≤ ${EVENT_BODY_BYTES_MAX / 1024} KiB (of a control ${CONTROL_BODY_BYTES_MAX / 1024}), ${ASKED_AT_ONCE_MAX} requests of a connection at once. Above a rate`,
    'the answer is `rate.limited` with the time to wait:',
    '',
    '| rate | of | at once | then, an hour |',
    '|---|---|---|---|',
    ...(Object.keys(SERVER_RATES) as (keyof typeof SERVER_RATES)[]).map((rate) => {
      const { burst, perSecond } = SERVER_RATES[rate];
      return `| ${rate} | ${RATES[rate]} | ${burst} | ${Math.round(perSecond * 36_000) / 10} |`;
    }),
    '',
    '| of a connection | at most | then |',
    '|---|---|---|',
    `| until its upgrade is done, and from there to its first message | ${SERVER_FIRST_FRAME_MS_MAX / 1000} s each | it ends: \`first message\` |`,
    `| until it has logged in | ${SERVER_LOGIN_MS_MAX / 1000} s | it ends: \`log-in\` |`,
    `| silence before a ping, and pings without a sign of life | ${SERVER_PING_MS / 1000} s, ${SERVER_PINGS_MISSED_MAX} | it ends: \`no sign of life\` |`,
    `| bytes that it has not taken of what earlier turns sent | ${SERVER_UNSENT_BYTES_MAX / 1024} KiB | it ends: \`slow\` |`,
    `| connections of the server, as far as the system lets it | ${SERVER_CONNECTIONS_MAX} | a random one that has not logged in goes |`,
    `| connections of a source that have not logged in | ${SERVER_UNPROVEN_PER_SOURCE_MAX} | refused |`,
    `| connections of a device | ${SERVER_CONNECTIONS_PER_DEVICE_MAX} | its oldest ends: \`replaced\` |`,
    `| members there, or readers of a channel, of whom is told who is there, or types | ${TOLD_IN_PASSING_MAX} | nobody is told; presence within ${PRESENCE_TELL_MS} ms otherwise |`,
    '',
    '| of one member | at most | then |',
    '|---|---|---|',
    `| events in their inbox, which stay ${INBOX_KEPT_MS / 86_400_000} days | ${INBOX_EVENTS_MAX} | \`inbox.full\` |`,
    '| events in the inbox of another, while it is half full or more | as many as there are places left | `inbox.full` |',
    `| channels made and not archived | ${CHANNELS_MADE_MAX} | \`channel.tooMany\` |`,
    `| devices | ${DEVICES_MAX} | \`request.notAllowed\` |`,
    `| uploads begun and not ended | ${UPLOADS_MAX} | \`quota.exceeded\` |`,
    `| bytes of files | ${MEMBER_FILES_BYTES_MAX} | \`quota.exceeded\` |`,
    '',
  ].join('\n');

const PAGES: Readonly<Record<string, () => string>> = {
  'docs/rpc.md': rpcPage,
  'docs/cli.md': cliPage,
  'docs/server-protocol.md': serverPage,
  'docs/errors.md': errorPage,
  'docs/settings.md': settingsPage,
  'docs/schema.sql': () =>
    `-- The account database: its first schema, and what each later one changes. Generated from the code by \`npm run docs\`.\n${SCHEMAS.map((schema, i) => `-- schema ${i + 1}\n${schema}`).join('\n')}`,
};

mkdirSync('docs', { recursive: true });
let stale = 0;
for (const [path, make] of Object.entries(PAGES)) {
  const text = make();
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (process.argv.includes('--check')) {
    process.stderr.write(`${path} is out of date: run npm run docs\n`);
    stale++;
  } else writeFileSync(path, text);
}
process.exitCode = stale === 0 ? 0 : 1;
