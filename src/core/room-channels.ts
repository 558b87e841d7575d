// What a person does with channels: makes one, joins one, and is on each device in those that another one has joined.
import { channelOf, creationScope, signEvent, ZERO_HASH } from '../crypto/room-event.ts';
import { type ErrorCode, expectedError, SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { INVITATIONS_KEPT_MAX } from '../protocol/limits.ts';
import { type Control, channelNameOf, isChannelName } from '../protocol/room-content.ts';
import type { ServerChannel } from '../protocol/server.ts';
import { EVENT } from '../protocol/server-frames.ts';
import {
  type ChannelRow,
  getChannelById,
  listChannels,
  listChannelsByName,
  patchChannel,
  putChannel,
  putChannelKey,
  removeChannel,
} from '../store/channels.ts';
import { getConversationOfChannel, putConversation } from '../store/conversations.ts';
import { getMemberById } from '../store/members.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit, detach } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { baseHeader, byItsTime, connectionOf, patiently, publishControl } from './room-control.ts';
import { tellOwnDevices } from './room-devices.ts';
import { isOfServer } from './room-faults.ts';
import { fetchFirst } from './room-history.ts';
import { allChannels } from './room-lists.ts';
import { levelMarks } from './room-notices.ts';
import { inviterOf } from './room-objects.ts';
import { newEventId } from './room-outbox.ts';
import { mustHavePassphrase, takePassphrase, wrapKey } from './room-passphrase.ts';
import { creationIn, replayUpTo } from './room-replay.ts';
import { theChannel, wasNeverIn } from './room-rows.ts';

export type NewChannel = {
  readonly name: string;
  readonly encryption: 'open' | 'passphrase' | 'members';
  readonly private: boolean;
  readonly history: 'joined' | 'all';
  readonly passphrase: string | undefined;
  readonly timeoutMs: number | undefined;
};

/** Makes a channel and gives its row. Throws `name.invalid`, `name.taken`, `passphrase.needed`, `server.*`. */
export const createChannel = async (core: Core, server: ServerRow, wanted: NewChannel): Promise<number> => {
  const name = channelNameOf(wanted.name.replace(/^#/, ''));
  if (!isChannelName(name)) throw new SottoError('name.invalid');
  const passphrase =
    wanted.encryption === 'passphrase'
      ? mustHavePassphrase(wanted.passphrase, 'This channel needs a passphrase: --passphrase-fd')
      : undefined;
  const connection = await connectionOf(core, server, wanted.timeoutMs);
  return byItsTime(() => createOn(core, connection, { ...wanted, name, passphrase }));
};

const createOn = async (core: Core, connection: RoomConnection, wanted: NewChannel): Promise<number> => {
  const server = connection.row;
  const { name, passphrase } = wanted;
  const id = newEventId(core, server.id);
  const header = { ...baseHeader(server, id), epoch: 0, n: 1, membersHead: ZERO_HASH.slice(0, 16) };
  const key = passphrase === undefined ? undefined : core.random.bytes(32);
  const place = { serverId: server.serverKey, event: header.id, epoch: 1 };
  const wrap =
    passphrase === undefined || key === undefined ? undefined : await wrapKey(core, place, passphrase, { key });
  const control: Control = {
    op: 'create',
    name,
    encryption: wanted.encryption,
    private: wanted.private,
    history: wanted.encryption === 'members' ? 'joined' : wanted.history,
    ...(wrap === undefined ? {} : { key: wrap }),
  };
  const body = signEvent(creationScope(server.serverKey), header, control, server.deviceSeed);
  const { channel, hash } = channelOf(body);
  const publish = {
    channel,
    id: idOf(id),
    kind: EVENT.control,
    checkedAt: 0,
    ttlSeconds: 0,
    body,
  };
  const row = await connection.inTurn(async () => {
    await patiently(core, () => connection.publish(publish)).catch(
      saying({ 'name.taken': `There is a channel that is called ${name}, or looks like it: take another name` }),
    );
    const row = await core.queue.call(() =>
      commit(core, (changes) => {
        const row = keepChannel(core, changes, server, {
          channelId: idBytes(channel),
          hash,
          name,
          encryption: control.encryption,
          isPrivate: control.private,
          history: control.history,
          state: 'joined',
        });
        if (key !== undefined) putChannelKey(core.db, row, place.epoch, key);
        return row;
      }),
    );
    await connection.open(row);
    return row;
  });
  await tellJoined(core, server, channel);
  return row;
};

const STAYS: ReadonlySet<ChannelRow['state']> = new Set(['joined', 'joining']);

const tellJoined = (core: Core, server: ServerRow, channel: string): Promise<void> =>
  core.queue.call(() => commit(core, (changes) => tellOwnDevices(core, changes, server, { kind: 'joined', channel })));

/** Joins a channel and fetches what there is to read. Throws `channel.*`, `event.refused`, `passphrase.*`, `server.*`. */
export const joinChannel = async (
  core: Core,
  server: ServerRow,
  wanted: Pick<NewChannel, 'name' | 'passphrase' | 'timeoutMs'>,
): Promise<number> => {
  const connection = await connectionOf(core, server, wanted.timeoutMs);
  return connection.inTurn(() => joinInTurn(core, connection, wanted));
};

// Whether we are in it, and whether it was known before, is so only while nobody else meets or joins.
const joinInTurn = async (
  core: Core,
  connection: RoomConnection,
  wanted: Pick<NewChannel, 'name' | 'passphrase'>,
): Promise<number> => {
  const server = connection.row;
  const known = listChannelsByName(core.db, wanted.name).filter((one) => one.serverId === server.id);
  const nowhere = `There is no channel #${wanted.name} on ${server.label} that you may join: sotto channel list --all`;
  const { channel } = await connection.request('channel.find', { name: wanted.name }).catch((error) => {
    // Whom a channel has banned the server tells of it no more than a stranger.
    if (expectedError(error)?.code === 'channel.unknown' && known.some(({ state }) => state === 'banned'))
      throw new SottoError('channel.banned', { message: `You are banned from #${wanted.name}` });
    return saying({ 'channel.unknown': nowhere })(error);
  });
  if (channel.name !== channelNameOf(wanted.name))
    throw new SottoError('event.forged', { message: 'The server shows another channel than the one asked for' });
  try {
    return await joinFound(core, connection, channel, wanted.passphrase);
  } catch (error) {
    await core.queue.call(() =>
      commit(core, () => {
        const met = getChannelById(core.db, server.id, idBytes(channel.id));
        if (met?.state === 'left' && !known.some(({ id }) => id === met.id)) removeChannel(core.db, met.id);
      }),
    );
    throw error;
  }
};

const joinFound = async (
  core: Core,
  connection: RoomConnection,
  channel: ServerChannel,
  passphrase: string | undefined,
): Promise<number> => {
  const server = connection.row;
  const known = getChannelById(core.db, server.id, idBytes(channel.id));
  if (known !== undefined && connection.background.has(known.id)) return known.id;
  const rowId = await meetChannel(core, connection, channel);
  const row = theChannel(core.db, rowId);
  if (row.encryption === 'passphrase') await takePassphrase(core, server, rowId, passphrase);
  // Who was cut off meanwhile is let in again behind this.
  if (connection.state !== 'online') throw new SottoError('server.unreachable');
  if (!channel.joined) await publishControl(core, rowId, { op: 'join' });
  if (!channel.joined || !STAYS.has(row.state)) await beginStay(core, rowId);
  await enterChannel(core, connection, rowId);
  // What another device of mine has read is no news here.
  await levelMarks(core, connection);
  await tellJoined(core, server, channel.id);
  detach(core, connection.look());
  return rowId;
};

/**
 * Finds the channels that I am in, by their signed events, and this device does not hold, as another device of mine has joined
 * them; and those that I am invited to. Throws `server.*`; a channel that is not what it should be is left alone.
 */
export const meetOwnChannels = async (core: Core, connection: RoomConnection): Promise<void> => {
  const { visit } = connection;
  const invited = new Set<string>();
  const isHeld = (id: string): boolean => getChannelById(core.db, connection.serverId, idBytes(id))?.state === 'joined';
  let hasEntered = false;
  for (const said of await allChannels(connection, { all: false })) {
    // Nobody joins one that is archived.
    if (said.invited && !said.archived && invited.size < INVITATIONS_KEPT_MAX) invited.add(said.id);
    const isNew = said.joined && !isHeld(said.id);
    if (said.joined || invited.has(said.id))
      await (said.joined ? meetOwn : meetInvited)(core, connection, said).catch((error: unknown) => {
        const known = expectedError(error);
        if (known === undefined || !connection.isOn(visit) || isOfServer(known)) throw error;
        core.log.warn('channel.refused', { code: known.code });
      });
    hasEntered ||= isNew && isHeld(said.id);
  }
  // What came before the device, or what another one has read since, is no news here.
  if (hasEntered) await levelMarks(core, connection);
  await core.queue.call(() => commit(core, (changes) => endInvitations(core, changes, connection.row, invited)));
};

// Why one is over is told to those who are in the channel only.
const endInvitations = (core: Core, changes: Changes, server: ServerRow, invited: ReadonlySet<string>): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  for (const { id, channelId, state } of listChannels(core.db, server.id)) {
    if (state !== 'invited' || invited.has(idOf(channelId))) continue;
    patchChannel(core.db, id, { state: 'left' });
    changes.event({
      kind: 'channel.removed',
      channelRow: id,
      detail: 'the invitation is over',
      ...(me === undefined ? {} : { memberRow: me.id }),
    });
  }
};

// That I am invited is the word of a member, signed; of one whom I have rejected it is none.
const meetInvited = async (core: Core, connection: RoomConnection, said: ServerChannel): Promise<void> => {
  const known = getChannelById(core.db, connection.serverId, idBytes(said.id));
  if (known !== undefined && (known.state === 'invited' || STAYS.has(known.state))) return;
  const rowId = await meetChannel(core, connection, said);
  await core.queue.call(() =>
    commit(core, (changes) => {
      const row = theChannel(core.db, rowId);
      const by = inviterOf(core, row, connection.row);
      if (by === undefined || by.blocked === 1 || row.state === 'invited' || STAYS.has(row.state)) return;
      const me = getMemberById(core.db, row.serverId, connection.row.memberId);
      patchChannel(core.db, rowId, { state: 'invited' });
      changes.event({
        kind: 'channel.invited',
        channelRow: rowId,
        detail: `by ${by.name}`,
        ...(me === undefined ? {} : { memberRow: me.id }),
      });
    }),
  );
};

const meetOwn = async (core: Core, connection: RoomConnection, said: ServerChannel): Promise<void> => {
  const known = getChannelById(core.db, connection.serverId, idBytes(said.id));
  if (known?.state === 'joined' || (known !== undefined && connection.background.has(known.id))) return;
  const rowId = await meetChannel(core, connection, said);
  if (!isIn(core, connection, rowId)) return;
  if (known?.state !== 'joining') {
    const isNew = known === undefined || wasNeverIn(known);
    if (isByRejected(core, connection, rowId)) return isNew ? forget(core, rowId) : undefined;
    await beginStay(core, rowId);
  }
  await enterChannel(core, connection, rowId);
};

// Whom I have rejected lets me in nowhere, unless I say so: by joining.
const isByRejected = (core: Core, { row }: RoomConnection, channelRow: number): boolean => {
  const me = stateOfJson(theChannel(core.db, channelRow).membership)?.members.get(idOf<MemberId>(row.memberId));
  return me !== undefined && getMemberById(core.db, row.id, idBytes(me.entry.by))?.blocked === 1;
};

const forget = (core: Core, channelRow: number): Promise<void> =>
  core.queue.call(() => commit(core, () => removeChannel(core.db, channelRow)));

const isIn = (core: Core, connection: RoomConnection, channelRow: number): boolean =>
  stateOfJson(theChannel(core.db, channelRow).membership)?.members.has(idOf<MemberId>(connection.row.memberId)) ===
  true;

/** The server has us in a channel: what it is to us until we have entered. */
const beginStay = (core: Core, channelRow: number): Promise<void> =>
  core.queue.call(() => commit(core, () => patchChannel(core.db, channelRow, { state: 'joining' })));

/**
 * Fetches what there is to read in a channel we are in, and ends a stay that was begun; where that is long, the first part, and
 * the rest in the background. Throws `server.*`, `channel.*`.
 */
const enterChannel = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  if (!(await fetchFirst(core, connection, channelRow))) return connection.background.fetch(channelRow);
  await connection.open(channelRow);
  await entered(core, connection, channelRow);
};

/** All of a channel is here: a stay that was begun is one now, or over. What was written meanwhile goes out. */
export const entered = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  await core.queue.call(() =>
    commit(core, (changes) => {
      const { state: now, membership } = theChannel(core.db, channelRow);
      if (now !== 'joining') return;
      const isBanned = stateOfJson(membership)?.banned.has(idOf<MemberId>(connection.row.memberId)) === true;
      const state = isIn(core, connection, channelRow) ? 'joined' : isBanned ? 'banned' : 'left';
      patchChannel(core.db, channelRow, { state });
      changes.event({ kind: 'channel.changed', channelRow });
    }),
  );
  connection.sender.flush();
};

/** Learns a channel's control events, from the creation that its id is the hash of; gives its row. */
const meetChannel = async (core: Core, connection: RoomConnection, said: ServerChannel): Promise<number> => {
  const known = getChannelById(core.db, connection.serverId, idBytes(said.id));
  if (known !== undefined && known.lastSeq > 0 && known.state === 'joined') return known.id;
  const rowId = known?.id ?? (await keepCreated(core, connection, said));
  await replayUpTo(core, connection, rowId, { end: Number.MAX_SAFE_INTEGER, isMissed: true });
  return rowId;
};

/** Keeps what a channel is that another device of mine has joined, before this one enters it: keys for it may come. */
export const learnChannel = async (core: Core, connection: RoomConnection, channel: string): Promise<void> => {
  const { visit } = connection;
  const said = (await allChannels(connection, { all: false })).find(({ id, joined }) => joined && id === channel);
  if (said === undefined || getChannelById(core.db, connection.serverId, idBytes(channel)) !== undefined) return;
  await keepCreated(core, connection, said).catch((error: unknown) => {
    const known = expectedError(error);
    if (known === undefined || !connection.isOn(visit) || isOfServer(known)) throw error;
  });
};

// What a channel is comes from its signed creation: of a server that says otherwise nothing is kept.
const keepCreated = async (core: Core, connection: RoomConnection, said: ServerChannel): Promise<number> => {
  const { events } = await connection.client.events('log.control', { channel: said.id });
  const created = events[0] === undefined ? undefined : await creationIn(core, connection, events[0]);
  const { control } = created ?? {};
  if (created === undefined || control?.op !== 'create' || idOf(created.hash.subarray(0, ID_BYTES)) !== said.id)
    throw new SottoError('event.forged', { message: 'The server shows a channel that is not the one it names' });
  const { name, encryption, private: isPrivate, history } = control;
  if (name !== said.name || encryption !== said.encryption || isPrivate !== said.private || history !== said.history)
    throw new SottoError('event.forged', {
      message: 'The server tells of this channel what its creation does not say',
    });
  const kept = { channelId: idBytes(said.id), hash: created.hash, name, encryption, isPrivate, history };
  return core.queue.call(() =>
    commit(core, (changes) => keepChannel(core, changes, connection.row, { ...kept, state: 'left' })),
  );
};

type Kept = Pick<ChannelRow, 'channelId' | 'hash' | 'name' | 'encryption' | 'history' | 'state'> & {
  readonly isPrivate: boolean;
};

const keepChannel = (core: Core, changes: Changes, server: ServerRow, kept: Kept): number => {
  const { isPrivate, ...row } = kept;
  const id =
    getChannelById(core.db, server.id, kept.channelId)?.id ??
    putChannel(core.db, { ...row, serverId: server.id, private: isPrivate ? 1 : 0, createdAt: changes.at });
  if (getConversationOfChannel(core.db, id) === undefined)
    putConversation(core.db, { uid: core.random.bytes(16), channelRow: id, createdAt: changes.at });
  if (kept.state === 'joined') changes.event({ kind: 'channel.changed', channelRow: id });
  return id;
};

/** Says an error of the server in words that fit what was wanted. */
const saying =
  (words: Partial<Record<ErrorCode, string>>) =>
  (error: unknown): never => {
    const known = expectedError(error);
    const message = known === undefined ? undefined : words[known.code];
    throw known === undefined || message === undefined
      ? error
      : new SottoError(known.code, { message, details: known.details });
  };
