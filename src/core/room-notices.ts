// What a server tells in passing: who writes, who is there, who is in a call, what another device of mine has read.
import { expectedError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import { CHANNEL_MEMBERS_MAX, STATUS_TEXT_CHARS_MAX } from '../protocol/limits.ts';
import type { Notice, ServerMember } from '../protocol/server.ts';
import { type ChannelRow, getChannel, getChannelById, listChannels, patchChannel } from '../store/channels.ts';
import { getConversationOfChannel } from '../store/conversations.ts';
import { getMemberById, hasDevice, patchMember } from '../store/members.ts';
import { type Core, commit, detach } from './core.ts';
import { heardOfCall } from './room-calls.ts';
import type { RoomConnection } from './room-connection.ts';
import { isOfServer } from './room-faults.ts';
import { keepMember, learnMembers } from './room-people.ts';
import { isLetIn, markReadUpTo } from './room-read.ts';

/** Acts on one notice. Runs in the queue. */
export const onNotice = (core: Core, connection: RoomConnection, notice: Notice): void => {
  const memberOf = (id: string) => getMemberById(core.db, connection.serverId, idBytes(id));
  switch (notice.notice) {
    case 'typing':
      return tellTyping(core, connection, notice);
    case 'presence':
      return heardOf(core, connection, notice);
    case 'presence.unknown':
      return connection.visit.presence.clear();
    case 'marked': {
      const channel = getChannelById(core.db, connection.serverId, idBytes(notice.channel));
      if (channel !== undefined) readElsewhere(core, channel, notice.seq);
      if (channel !== undefined && channel.lastSeq < notice.seq)
        detach(core, readOnceTaken(core, connection, channel, notice.seq));
      return;
    }
    case 'member':
      // Whom we have not met is asked about once they say something.
      if (memberOf(notice.member.id) === undefined) return;
      memberChanged(core, connection, notice.member);
      return learnAgain(core, connection, notice.member.id);
    case 'call':
      return heardOfCall(core, connection, notice);
    // Nobody here is in a call.
    case 'call.stream':
    case 'call.busy':
      return undefined;
    case 'invited':
      return detach(core, connection.meet());
    case 'moved':
      return core.log.info('server.moved', { server: connection.serverId });
  }
};

// Outside a channel it is said to me: of whom I have not let in nothing is told.
const tellTyping = (
  core: Core,
  { serverId }: RoomConnection,
  { channel: at, member: by, on }: Extract<Notice, { notice: 'typing' }>,
): void => {
  const channel = getChannelById(core.db, serverId, idBytes(at));
  const member = getMemberById(core.db, serverId, idBytes(by));
  if (member === undefined || (channel === undefined && !(at === by && isLetIn(member)))) return;
  core.volatile({
    kind: 'typing.changed',
    ...(channel === undefined ? {} : { channelRow: channel.id }),
    memberRow: member.id,
    state: on ? 'on' : 'off',
  });
};

// Who is there, and the text they show: told where one of the two is another than before.
const heardOf = (core: Core, connection: RoomConnection, notice: Extract<Notice, { notice: 'presence' }>): void => {
  const { presence } = connection.visit;
  const before = presence.get(notice.member);
  keepPresence(presence, notice);
  const member = getMemberById(core.db, connection.serverId, idBytes(notice.member));
  if (member === undefined) return;
  const status = notice.status.slice(0, STATUS_TEXT_CHARS_MAX);
  if (status !== member.status) commit(core, () => patchMember(core.db, member.id, { status }));
  if (status !== member.status || notice.state !== before) tellPresence(core, member.id, notice.state);
};

// What a member is now; of another text those hear who hear of presence.
const memberChanged = (core: Core, connection: RoomConnection, said: ServerMember): void => {
  const row = () => getMemberById(core.db, connection.serverId, idBytes(said.id));
  const before = row();
  commit(core, (changes) => keepMember(core, changes, connection, said));
  const now = row();
  if (now !== undefined && now.status !== before?.status)
    tellPresence(core, now.id, connection.visit.presence.get(said.id));
};

const tellPresence = (core: Core, memberRow: number, state: string | undefined): void =>
  core.volatile({ kind: 'presence.changed', memberRow, ...(state === undefined ? {} : { state }) });

// Whom we have not met may be asked about later. Who has gone makes room.
const keepPresence = (
  presence: RoomConnection['visit']['presence'],
  { member, state }: Extract<Notice, { notice: 'presence' }>,
): void => {
  if (!presence.has(member) && presence.size >= CHANNEL_MEMBERS_MAX) {
    const [gone] = [...presence].find(([, known]) => known === 'offline') ?? [];
    if (gone === undefined) return;
    presence.delete(gone);
  }
  presence.set(member, state);
};

/** Reads here what was read on another device while this one was away, and tells the server what was read here meanwhile. */
export const levelMarks = async (core: Core, connection: RoomConnection): Promise<void> => {
  const { marks } = await connection.request('marks', {});
  for (const channel of listChannels(core.db, connection.serverId)) {
    if (channel.state !== 'joined') continue;
    const seq = marks[idOf(channel.channelId)] ?? 0;
    if (seq > 0) await core.queue.call(() => readElsewhere(core, channel, seq));
    // A log that was put back may be shorter than what was read.
    if (seq < channel.readSeq && channel.readSeq <= channel.lastSeq)
      await connection.request('mark', { channel: idOf(channel.channelId), seq: channel.readSeq }).catch((error) => {
        // One that I was put out of meanwhile.
        const known = expectedError(error);
        if (known === undefined || isOfServer(known)) throw error;
      });
  }
};

const readElsewhere = (core: Core, channel: ChannelRow, said: number): void => {
  const conversation = getConversationOfChannel(core.db, channel.id);
  const { lastSeq, readSeq } = getChannel(core.db, channel.id) ?? channel;
  // Nobody has read what has not come yet.
  const seq = Math.min(said, lastSeq);
  // Of an earlier stay something may be unread behind a mark.
  if (conversation === undefined || (seq <= readSeq && conversation.unread === 0)) return;
  commit(core, (changes) => {
    if (seq > readSeq) patchChannel(core.db, channel.id, { readSeq: seq });
    markReadUpTo(core, changes, conversation, seq, { receipts: false });
  });
};

// A mark overtakes what it is about while that is being opened.
const readOnceTaken = async (
  core: Core,
  connection: RoomConnection,
  channel: ChannelRow,
  seq: number,
): Promise<void> => {
  await connection.taken();
  await core.queue.call(() => readElsewhere(core, channel, seq));
};

// Somebody we know has changed: it may be another device.
const learnAgain = (core: Core, connection: RoomConnection, id: string): void => {
  const member = getMemberById(core.db, connection.serverId, idBytes(id));
  if (member === undefined || !hasDevice(core.db, member.id)) return;
  detach(core, learnMembers(core, connection, [id]));
};
