// The administration of a running server over a local socket: one JSON object a line in, one or more out, the last says `done`.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { toHex } from '../protocol/bytes.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import { ID_PATTERN, type MemberId, type RowId } from '../protocol/ids.ts';
import { makeInviteLink } from '../protocol/invite-link.ts';
import { AUDIT_LINES_MAX, INVITE_MS_MAX, INVITE_USES_MAX, RPC_LINE_BYTES_MAX } from '../protocol/limits.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import { type AuditKind, audit } from './audit.ts';
import type { ServerContext } from './context.ts';
import { inviteObject, makeInvite, revokeInvite } from './invites.ts';
import { memberObject } from './objects.ts';
import type { Onion } from './onion.ts';
import { byId, inTurns, pages, rowsOf } from './pages.ts';
import { banMember, setRole } from './rights.ts';
import type { AuditRow, ChannelRow, MemberRow, ServerRow } from './rows.ts';
import type { RoomServer } from './server.ts';
import type { ServerStore } from './server-store.ts';
import { skeletonOf } from './skeleton.ts';
import type { AuditFilter } from './state-store.ts';

const Request = z.discriminatedUnion('do', [
  z.object({ do: z.literal('status') }),
  z.object({ do: z.literal('members') }),
  z.object({ do: z.literal('member'), name: z.string() }),
  z.object({ do: z.literal('role'), name: z.string(), role: z.enum(['admin', 'member', 'owner']) }),
  z.object({ do: z.literal('ban'), name: z.string() }),
  z.object({ do: z.literal('unban'), name: z.string() }),
  z.object({ do: z.literal('invites') }),
  z.object({
    do: z.literal('invite'),
    owner: z.boolean().default(false),
    role: z.enum(['admin', 'member']).default('member'),
    uses: z.number().int().min(1).max(INVITE_USES_MAX).default(1),
    expiresMs: z.number().int().min(1).max(INVITE_MS_MAX).optional(),
  }),
  z.object({ do: z.literal('revoke'), id: z.string() }),
  z.object({ do: z.literal('channels') }),
  z.object({
    do: z.literal('audit'),
    actor: z.string().optional(),
    target: z.string().optional(),
    kind: z.string().optional(),
    since: z.number().int().optional(),
    limit: z.number().int().min(1).max(AUDIT_LINES_MAX).default(200),
  }),
  z.object({ do: z.literal('backup'), to: z.string().regex(/^\/[^\0]*$/) }),
  z.object({ do: z.literal('check'), deep: z.boolean().default(false) }),
]);
export type AdminRequest = z.input<typeof Request>;
type Asked = z.output<typeof Request>;

export type AdminOptions = {
  readonly path: string;
  readonly server: RoomServer;
  readonly onion: Onion | undefined;
  readonly store: ServerStore;
  readonly startedAt: number;
  readonly bug: (error: unknown) => void;
};

/** Listens at a socket that only the server's user reaches. */
export class Admin implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(options: AdminOptions): Promise<Admin> {
    rmSync(options.path, { force: true });
    const server = createServer();
    const admin = new Admin(server);
    server.on('connection', (socket) => admin.#serve(socket, options));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.path, resolve);
    });
    chmodSync(options.path, 0o600);
    return admin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket, options: AdminOptions): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    const lines = createInterface({ input: socket });
    lines.on('error', () => {});
    const write = (value: object) => socket.write(`${JSON.stringify(value)}\n`);
    lines.on('line', (line) => {
      if (line.length > RPC_LINE_BYTES_MAX) return void socket.destroy();
      answer(options, line).then(
        (items) => {
          for (const item of items) write({ item });
          write({ done: true });
        },
        (error: unknown) => {
          const told = errorObject(error);
          if (told.code === 'internal.bug') options.bug(error);
          write({ error: told });
        },
      );
    });
  }
}

const answer = async (options: AdminOptions, line: string): Promise<readonly object[]> => {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new SottoError('request.invalid');
  }
  const request = Request.safeParse(value);
  if (!request.success) throw new SottoError('request.invalid');
  return perform(options, request.data);
};

const perform = async (options: AdminOptions, request: Asked): Promise<readonly object[]> => {
  const { server, store } = options;
  const { context } = server;
  switch (request.do) {
    case 'status':
      return [await statusOf(options)];
    case 'members':
      return (await rowsOf(pages(context.store.listMembers, byId))).map(memberObject);
    case 'member':
      return [memberObject(await memberNamed(server, request.name))];
    case 'role': {
      const target = await memberNamed(server, request.name);
      await setRole(context, { by: null, target, role: request.role });
      return [memberObject({ ...target, role: request.role })];
    }
    case 'ban':
    case 'unban': {
      const target = await memberNamed(server, request.name);
      const banned = request.do === 'ban';
      await banMember(context, { by: null, target, banned });
      return [memberObject({ ...target, banned })];
    }
    case 'invites':
      return (await rowsOf(pages(usableInvites(context), byId))).map(inviteObject);
    case 'invite':
      return [await invite(server, request)];
    case 'revoke':
      await revokeInvite(context, null, request.id as RowId);
      return [{ id: request.id }];
    case 'channels':
      return channels(server);
    case 'audit':
      return auditLines(server, request);
    case 'backup':
      return [await backUp(options, request.to)];
    case 'check': {
      const found = await store.check({ deep: request.deep });
      if (found.wrong.length > 0) throw new SottoError('check.failed', { message: found.wrong.join('\n') });
      return [found];
    }
  }
};

const usableInvites =
  ({ store, clock }: ServerContext) =>
  (after: RowId | undefined, limit: number) =>
    store.listInvitesUsable(clock.now(), after, limit);

const backUp = async ({ server: { context }, store }: AdminOptions, to: string): Promise<object> => {
  await store.backup(to);
  await audit(context, { actor: null, kind: 'server.backup', target: '' });
  return { path: to };
};

const statusOf = async ({ server, onion, startedAt }: AdminOptions): Promise<object> => {
  const { context } = server;
  const row = await context.store.getServer();
  return {
    name: row.name,
    epoch: row.epoch,
    registration: row.registration,
    ...linkForAll(server, row),
    urls: server.urls,
    fingerprint: toHex(context.serverKey),
    members: await context.store.countMembers(),
    online: context.online.size,
    connections: server.connections,
    calls: context.calls.size,
    rssBytes: process.memoryUsage.rss(),
    uptimeMs: context.clock.now() - startedAt,
    ...(onion === undefined ? {} : { tor: torObject(onion) }),
    jobs: Object.fromEntries((await context.store.listJobs()).map(({ name, doneAt }) => [name, doneAt])),
  };
};

const torObject = ({ state: { state, bootstrapPercent, reachable, lastError } }: Onion): object => ({
  state,
  bootstrapPercent,
  reachable,
  ...(lastError === undefined || reachable ? {} : { lastError: lastError.message }),
});

// By id first: a name may look like the id of somebody else.
const memberNamed = async ({ context: { store } }: RoomServer, text: string): Promise<MemberRow> => {
  const known = ID_PATTERN.test(text) ? await store.getMember(text as MemberId) : undefined;
  const row = known?.erasedAt === null ? known : await store.getMemberByName(skeletonOf(channelNameOf(text)));
  if (row === undefined)
    throw new SottoError('member.unknown', { message: `There is no member ${JSON.stringify(text)}` });
  return row;
};

const invite = async (server: RoomServer, request: Extract<Asked, { do: 'invite' }>): Promise<object> => {
  const { context } = server;
  const { role, uses, expiresMs } = request;
  const expiresAt = expiresMs === undefined ? undefined : context.clock.now() + expiresMs;
  const made = request.owner
    ? await server.makeOwnerInvite()
    : await makeInvite(context, { madeBy: null, role, uses, expiresAt });
  if (made === undefined) throw new SottoError('request.notAllowed', { message: 'The server has an owner already' });
  const { row, token } = made;
  return { ...inviteObject(row), uses: row.uses, link: linkOf(server, token) };
};

/** The link of a server that everybody may join: there it needs no token. */
export const linkForAll = (
  server: RoomServer,
  { registration }: Pick<ServerRow, 'registration'>,
): { readonly link?: string } => (registration === 'open' ? { link: linkOf(server, '') } : {});

/** An invite as a link to this server. */
export const linkOf = (server: RoomServer, token: string): string => {
  const origin = server.urls[0] ?? '';
  return makeInviteLink({
    origin,
    serverKey: server.context.serverKey,
    token,
    trust: origin.startsWith('ws:') ? 'none' : server.isPinned ? 'pinned' : 'authority',
  });
};

const channels = async ({ context }: RoomServer): Promise<object[]> => {
  const objects: object[] = [];
  for await (const page of pages(context.store.listChannels, byId)) {
    objects.push(...(await inTurns(page, context.turn, (row) => channelObject(context, row))));
    await context.turn();
  }
  return objects;
};

const channelObject = async ({ log, store }: ServerContext, row: ChannelRow): Promise<object> => {
  const [head] = await log.heads([row.id]);
  return {
    id: row.id,
    name: row.name,
    encryption: row.encryption,
    private: row.isPrivate,
    members: await store.countJoined(row.id),
    events: head?.seq ?? 0,
    archived: row.archivedAt !== null,
    createdAt: row.createdAt,
  };
};

const auditLines = async (server: RoomServer, request: Extract<Asked, { do: 'audit' }>): Promise<object[]> => {
  const { context } = server;
  const own = { admin: await ownName(context, 'admin'), server: await ownName(context, 'server') };
  const actor = await actorNamed(server, request.actor, own);
  if (actor.kind !== undefined && (request.kind ?? actor.kind) !== actor.kind) return [];
  const lines = await context.store.listAudit({
    ...(request.target === undefined ? {} : { target: await idNamed(server, request.target) }),
    ...(request.kind === undefined ? {} : { kind: request.kind }),
    ...(request.since === undefined ? {} : { since: request.since }),
    ...actor,
    limit: request.limit,
  });
  const actorOf = (line: AuditRow): string | Promise<string> =>
    line.actor !== null ? nameOf(server, line.actor) : line.kind === ALERT ? own.server : own.admin;
  return Promise.all(
    lines.map(async (line) => ({
      id: line.id,
      at: line.at,
      actor: await actorOf(line),
      kind: line.kind,
      target: await nameOf(server, line.target),
      ...(line.detail === '' ? {} : { detail: JSON.parse(line.detail) as unknown }),
    })),
  );
};

// The only thing that nobody does: the server itself tells it.
const ALERT: AuditKind = 'server.alert';

// A member may be called so, and is not taken for it.
const ownName = async ({ store }: ServerContext, name: string): Promise<string> =>
  (await store.getMemberByName(skeletonOf(name))) === undefined ? name : `(${name})`;

const actorNamed = async (
  server: RoomServer,
  actor: string | undefined,
  own: { readonly admin: string; readonly server: string },
): Promise<Pick<AuditFilter, 'actor' | 'kind' | 'exceptKind'>> => {
  if (actor === undefined) return {};
  if (actor === own.admin || actor === '(admin)') return { actor: null, exceptKind: ALERT };
  if (actor === own.server || actor === '(server)') return { actor: null, kind: ALERT };
  return { actor: (await idNamed(server, actor)) as MemberId };
};

// Lines hold ids: what somebody is called now is looked up, and an erased member has no name any more.
const nameOf = async ({ context }: RoomServer, id: string): Promise<string> => {
  const row = ID_PATTERN.test(id) ? await context.store.getMember(id as MemberId) : undefined;
  return row === undefined || row.name === '' ? id : row.name;
};

const idNamed = async (server: RoomServer, text: string): Promise<string> =>
  ID_PATTERN.test(text) ? text : (await memberNamed(server, text)).id;
