// What a person does with servers: join by an invite, leave, invite others.
import { isPrimeOrderKey } from '../crypto/subgroup.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { ID_BYTES } from '../protocol/ids.ts';
import { type InviteLink, parseInviteLink } from '../protocol/invite-link.ts';
import { channelNameOf, isChannelName, isMemberName } from '../protocol/room-content.ts';
import type { Params } from '../protocol/rpc.ts';
import { listChannels } from '../store/channels.ts';
import { getContactByName } from '../store/contacts.ts';
import { getMemberById } from '../store/members.ts';
import { nicknameOf } from '../store/self.ts';
import {
  getServer,
  getServerByKey,
  getServerByLabel,
  patchServer,
  putServer,
  removeServer,
  type ServerRow,
} from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import { refuseTakenLabel } from './labels.ts';
import { LEFT } from './names.ts';
import type { ConnectionState, RoomConnection, Second } from './room-connection.ts';
import { connectionOf, publishControl } from './room-control.ts';
import { becomeAnother, isOwnRevoked, newDevice } from './room-device.ts';
import { theServer } from './room-rows.ts';
import { bare, refusedSecond } from './room-second.ts';
import type { Waits } from './waits.ts';

const DIAL_MS_DEFAULT = 60_000;

/** A server that was joined: its row, and where it was before, when its key answers elsewhere now. */
export type Joined = { readonly id: number; readonly movedFrom?: string };

/** Joins the server of an invite, or follows one that has moved, and waits for its answer. Throws `params.invalid`, `link.invalid`, `server.*`, `invite.invalid`, … */
export const joinServer = async (core: Core, waits: Waits, params: Params<'server.join'>): Promise<Joined> => {
  const second = secondOf(params);
  const link = parseInviteLink(params.link);
  if (!isPrimeOrderKey(link.serverKey)) throw new SottoError('key.invalid');
  const name = memberNameOf(params.name ?? nameFrom(nicknameOf(core.db)));
  const { id, known, connection } = await core.queue.call(() => beginJoin(core, { ...params, name }, { link, second }));
  // A circuit that breaks says little of an onion service: it is tried again until the time is over.
  const isOnion = new URL(link.origin).hostname.endsWith('.onion');
  // Who was let in, and was cut off before all had come, is a member.
  const isIn = (): boolean => known?.state !== 'joined' && getServer(core.db, id)?.state === 'joined';
  const isFinal = (): boolean => !isIn() && (!isOnion || connection.lastError?.code !== 'server.unreachable');
  await waits.until(
    () => ENDED.has(connection.state) || (connection.state === 'waiting' && isFinal()),
    params.timeoutMs ?? DIAL_MS_DEFAULT,
  );
  const isMoved = known !== undefined && isElsewhere(known, link);
  if (connection.state === 'online') return { id, ...(isMoved ? { movedFrom: known.origin } : {}) };
  if (connection.state === 'off')
    throw new SottoError('server.joined', { message: 'This server is being joined already, by another call' });
  const said = connection.lastError ?? new SottoError('server.timeout');
  const refused = joinRefused(said, { name, known, invite: link.token });
  const error = second === undefined ? refused : refusedSecond(refused);
  await core.queue.call(() => {
    // Another call has taken its place, and goes on with what this one began.
    if (core.rooms.get(id) !== connection) return;
    core.rooms.drop(id);
    commit(core, () => (isMoved ? undoMove(core, known, connection) : undoJoin(core, id, known)));
    const now = getServer(core.db, id)?.state;
    if (now === 'joined' || now === 'banned') core.rooms.connect(id).start();
  });
  throw error;
};

/** What I am called on a server, as it is kept there. Throws `name.invalid`. */
export const memberNameOf = (wanted: string): string => {
  const name = channelNameOf(wanted);
  if (!isChannelName(name)) throw new SottoError('name.invalid');
  if (!isMemberName(name))
    throw new SottoError('name.invalid', {
      message: `The name ${name} is reserved: @${name} calls several people in a text. Take another one`,
    });
  return name;
};

// What a name may not have is a hyphen between what it may have.
const nameFrom = (nickname: string): string =>
  nickname
    .normalize('NFKC')
    .replace(/[^\p{L}\p{N}_-]+/gu, '-')
    .replace(/^-+|-+$/g, '');

type Begun = {
  readonly id: number;
  /** The server as it was known before. */
  readonly known: ServerRow | undefined;
  readonly connection: RoomConnection;
};

// In one step: of two calls for the same server the later one finds what the earlier one has begun.
const beginJoin = (
  core: Core,
  params: Params<'server.join'> & { readonly name: string },
  { link, second }: { readonly link: InviteLink; readonly second: Second | undefined },
): Begun => {
  const known = getServerByKey(core.db, link.serverKey);
  const label = params.label ?? known?.label ?? freeLabel(core, new URL(link.origin).hostname, known);
  const taken = getServerByLabel(core.db, label);
  const present = known === undefined ? undefined : core.rooms.get(known.id)?.state;
  // A device that is not let in without the second check comes again with it; one that was removed, as another.
  const isShutOut = present === 'banned' || (second !== undefined && known !== undefined && present !== 'online');
  const isMoved = known !== undefined && isElsewhere(known, link);
  if (known?.state === 'joined' && !isShutOut && !isMoved) throw new SottoError('server.joined');
  if (taken !== undefined && taken.id !== known?.id)
    throw new SottoError('name.taken', { message: `Another server is called ${label}` });
  refuseTakenLabel(core, label);
  if (known !== undefined) core.rooms.drop(known.id);
  const id = commit(core, (changes) => {
    const row = {
      label,
      origin: link.origin,
      trust: link.trust,
      clearnet: params.clearnet === true ? 1 : 0,
      // Who is a member, or was put out, is that still while they come back as another device.
      state: known?.state === 'joined' || known?.state === 'banned' ? known.state : ('joining' as const),
      // A member is known by their key: what the link lets in is left for somebody else.
      ...(isMoved ? {} : { invite: link.token, memberName: params.name }),
    };
    if (known !== undefined) {
      patchServer(core.db, known.id, row);
      if (isOwnRevoked(core, known)) becomeAnother(core, changes, known);
      return known.id;
    }
    return putServer(core.db, {
      ...row,
      invite: link.token,
      memberName: params.name,
      uid: core.random.bytes(ID_BYTES),
      serverKey: link.serverKey,
      ...newDevice(core, changes, link.serverKey),
      createdAt: changes.at,
    });
  });
  const connection = core.rooms.connect(id);
  connection.start(second);
  return { id, known, connection };
};

// The key is what is trusted: where a server has it is told by whoever has a link.
const isElsewhere = (known: ServerRow, link: InviteLink): boolean =>
  known.state === 'joined' && known.origin !== link.origin;

const secondOf = ({ password, code }: Params<'server.join'>) => {
  if (password !== undefined && code !== undefined) return { password, code: bare(code) };
  if (password === undefined && code === undefined) return undefined;
  throw new SottoError('params.invalid', { message: 'The second check is a password and a code: give both' });
};

// Off: another call has taken its place.
const ENDED: ReadonlySet<ConnectionState> = new Set(['online', 'banned', 'off']);

const joinRefused = (
  said: SottoError,
  { name, known, invite }: { name: string; known: ServerRow | undefined; invite: string },
): SottoError => {
  if (said.code === 'name.taken')
    return new SottoError(said.code, {
      message: `Somebody there is called ${name}, or what looks like it: --as takes another name`,
    });
  if (said.code === 'registration.closed' && (invite !== '' || said.details?.why === 'closed'))
    return new SottoError(said.code, { message: 'The server takes no new members now, with an invite or without' });
  if (said.code === 'login.refused' && known?.state === 'left')
    return new SottoError(said.code, {
      message: 'The server refused the log-in: if it was to forget you (leave --erase), only another account can join',
    });
  return said;
};

// Nothing came of it: the next try begins anew, with another link if need be. A server that we were on keeps its history.
const undoJoin = (core: Core, id: number, known: ServerRow | undefined): void => {
  const row = getServer(core.db, id);
  if (row === undefined || row.state === 'joined') return;
  if (known === undefined || getMemberById(core.db, id, row.memberId) === undefined) return removeServer(core.db, id);
  const { origin, trust, clearnet, invite, memberName } = known;
  // What it was called before may be the name of something else by now.
  const label = isFree(core, known.label, known) ? known.label : row.label;
  const before = known.state === 'joining' ? 'left' : known.state;
  const state = row.state === 'joining' ? before : row.state;
  patchServer(core.db, id, { label, origin, trust, clearnet, invite, memberName, state });
};

// Who has proven the key there is the server, also where it lets nobody in; else it is where it was.
const undoMove = (core: Core, known: ServerRow, { state }: RoomConnection): void => {
  if (state === 'banned') return;
  const { id, label, origin, trust, clearnet } = known;
  patchServer(core.db, id, { label, origin, trust, clearnet });
};

/** Ends a membership here; with `erase` the server forgets the member first. */
export const leaveServer = async (
  core: Core,
  id: number,
  { erase, timeoutMs }: { readonly erase: boolean; readonly timeoutMs: number | undefined },
): Promise<void> => {
  const row = theServer(core.db, id);
  if (erase) {
    const connection = await connectionOf(core, row, timeoutMs);
    await leaveChannels(core, id);
    await connection.request('member.erase', { confirm: row.memberName });
  }
  // What it said while it was left, also that it forgets, is in nobody's way any more.
  const left = { state: 'left', lastError: '', lastErrorAt: null } as const;
  await core.queue.call(() => {
    // In one step: nobody dials one in between that is not left yet.
    core.rooms.drop(id);
    commit(core, () => patchServer(core.db, id, left));
  });
};

// Only a member can say that they leave: nobody could for one who is forgotten, and keys would not change. A channel that cannot do
// without them keeps the name.
const leaveChannels = async (core: Core, serverId: number): Promise<void> => {
  for (const { id, state } of listChannels(core.db, serverId)) {
    if (state !== 'joined') continue;
    try {
      await publishControl(core, id, { op: 'leave' });
    } catch (error) {
      if (expectedError(error)?.code === 'rate.limited') return;
      if (expectedError(error)?.code !== 'event.refused') throw error;
    }
  }
};

// What it was called before, unless something else is called so now.
const freeLabel = (core: Core, host: string, known: ServerRow | undefined): string => {
  const ofHost = /^[\d.[\]:]+$/.test(host) ? 'server' : (host.split('.')[0] ?? 'server').slice(0, 24);
  const base = known?.label ?? ofHost;
  for (let n = 1; ; n++) {
    const label = n === 1 ? base : `${base}-${n}`;
    if (isFree(core, label, known) && getContactByName(core.db, label) === undefined) return label;
  }
};

const isFree = (core: Core, label: string, known: ServerRow | undefined): boolean =>
  label !== LEFT && [undefined, known?.id].includes(getServerByLabel(core.db, label)?.id);
