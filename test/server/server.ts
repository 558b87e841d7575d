// A server's data in a folder of its own, and drafts for its log.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ChannelId,
  type DeviceId,
  type EventId,
  type MemberId,
  type RowId,
  SERVER_CHANNEL,
  timedId,
} from '../../src/protocol/ids.ts';
import type { Change } from '../../src/server/changes.ts';
import type { Draft, EventLog, Outcome, PageLimit, Stored } from '../../src/server/event-log.ts';
import type { AuditRow, ChannelRow, DeviceRow, InviteRow, MemberRow, NewChannelRow } from '../../src/server/rows.ts';
import { createServer, type ServerPaths, type ServerPorts, serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import type { Turn } from '../../src/server/turns.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';

export const turn: Turn = () => new Promise((done) => setImmediate(done));
export const ALL: PageLimit = { events: 100_000, bytes: 1e9 };

/** Ports of a server that stands still in time. */
export const quietPorts = (clock = new ManualClock()): ServerPorts & { readonly clock: ManualClock } => ({
  clock,
  random: seededRandom(1),
  turn,
});

/** An empty folder below a fresh one, and what removes it. */
export const tempDir = (): { readonly dir: string; remove(): void } => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-server-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
};

export const SERVER_KEY = new Uint8Array(32).fill(9);

/** Makes a server in `dir`. */
export const makeServer = (
  dir: string,
  options: { readonly ports?: ServerPorts; readonly encryptAtRest?: boolean } = {},
): ServerPaths => {
  const paths = serverPaths(dir);
  const server = { name: 'home', registration: 'invite', serverKey: SERVER_KEY } as const;
  createServer(paths, { ...server, encryptAtRest: options.encryptAtRest ?? false }, options.ports ?? quietPorts());
  return paths;
};

/** A server in a folder of its own, gone when disposed. */
export const freshServer = async () => {
  const { dir, remove } = tempDir();
  const ports = quietPorts();
  const store = ServerStore.open(makeServer(join(dir, 'server'), { ports }), ports);
  const dispose = async () => {
    await store[Symbol.asyncDispose]();
    remove();
  };
  return { store, log: store.log, state: store.state, clock: ports.clock, [Symbol.asyncDispose]: dispose };
};

const hex = (n: number, tag: string): string => tag + n.toString(16).padStart(32 - tag.length, '0');
export const channelId = (n: number) => hex(n, 'cc') as ChannelId;
export const memberId = (n: number) => hex(n, 'aa') as MemberId;
export const deviceId = (n: number) => hex(n, 'dd') as DeviceId;
export const rowId = (n: number) => hex(n, '01') as RowId;
/** Ids as clients make them: later ones sort later. */
export const eventId = (n: number): EventId => timedId(1_800_000_000_000 + n, new Uint8Array(10));
export const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

let made = 0;

/** A draft of member 1 in channel 1, with an id of its own, unless told otherwise. */
export const draft = (more: Partial<Draft> & { readonly text?: string } = {}): Draft => {
  const { text, ...given } = more;
  made++;
  return {
    channel: channelId(1),
    id: eventId(1000 + made),
    member: memberId(1),
    kind: 1,
    body: bytesOf(text ?? `event ${made}`),
    // Nothing that was appended before bars it, unless the test says otherwise.
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes: [],
    ...given,
  };
};

export const memberRow = (n: number, more: Partial<MemberRow> = {}): MemberRow => ({
  id: memberId(n),
  memberKey: new Uint8Array(32).fill(n + 1),
  name: `member ${n}`,
  skeleton: `member ${n}`,
  role: 'member',
  status: '',
  banned: false,
  joinedAt: 1,
  erasedAt: null,
  ...more,
});

export const deviceRow = (n: number, more: Partial<DeviceRow> = {}): DeviceRow => ({
  id: deviceId(n),
  member: memberId(1),
  signingKey: new Uint8Array(32).fill(n),
  signalKey: new Uint8Array(33).fill(n),
  certificate: new Uint8Array(200).fill(n),
  serial: n,
  addedAt: 1,
  revokedAt: null,
  ...more,
});

/** What a channel is made with. */
export const newChannel = (n: number, more: Partial<ChannelRow> = {}): NewChannelRow => ({
  ...channelRow(n, more),
  creation: bytesOf('created'),
});

export const channelRow = (n: number, more: Partial<ChannelRow> = {}): ChannelRow => ({
  id: channelId(n),
  name: `channel-${n}`,
  skeleton: `channel-${n}`,
  encryption: 'members',
  isPrivate: false,
  history: 'joined',
  slowMs: 0,
  retentionMs: 0,
  archivedAt: null,
  createdBy: memberId(1),
  createdAt: 1,
  ...more,
});

export const inviteRow = (n: number, more: Partial<InviteRow> = {}): InviteRow => ({
  id: rowId(n),
  tokenHash: new Uint8Array(32).fill(n),
  role: 'member',
  uses: 2,
  usesLeft: 2,
  madeBy: null,
  createdAt: 1,
  expiresAt: 2_000_000_000_000,
  revokedAt: null,
  ...more,
});

let lines = 0;

/** A line of the audit log with an id of its own, unless told otherwise. */
export const auditLine = (more: Partial<AuditRow> = {}): AuditRow => ({
  id: rowId(++lines + 1_000),
  at: 1,
  actor: null,
  kind: 'server.settings',
  target: '',
  detail: '',
  ...more,
});

/** Appends one draft and gives its outcome. */
export const put = async (log: EventLog, one: Draft): Promise<Outcome> => {
  const [outcome] = await log.append([one]);
  if (outcome === undefined) throw new Error('no outcome');
  return outcome;
};

/** An event that changes rights, on the server's channel unless told otherwise. */
export const change = (changes: readonly Change[], more: Parameters<typeof draft>[0] = {}): Draft =>
  draft({ channel: SERVER_CHANNEL, kind: 2, changes, ...more });

/** Members and channels 1 … `count` of each. */
export const furnish = async (log: EventLog, count = 1): Promise<void> => {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  await log.append(numbers.map((n) => change([{ kind: 'member', row: memberRow(n) }])));
  await log.append(
    numbers.map((n) => change([{ kind: 'channel', row: newChannel(n) }], { channel: channelId(n), text: `made ${n}` })),
  );
};

export const textOf = ({ body }: Stored): string | null => (body === null ? null : Buffer.from(body).toString());
/** The texts of a whole channel. */
export const textsIn = async (log: EventLog, channel = channelId(1)) => (await log.read(channel, 0, ALL)).map(textOf);
