// What a server tells in passing: who writes, who is there, who is in a call, what another device of mine has read.
import { expectedError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import type { Notice } from '../protocol/server.ts';
import { getChannelById, patchChannel } from '../store/channels.ts';
import { getConversationOfChannel } from '../store/conversations.ts';
import { getMemberById, hasDevice } from '../store/members.ts';
import { type Core, commit } from './core.ts';
import { tellCall } from './room-calls.ts';
import type { RoomConnection } from './room-connection.ts';
import { keepMember, learnMembers } from './room-people.ts';
import { markReadUpTo } from './room-read.ts';

/** Acts on one notice. Runs in the queue. */
export const onNotice = (core: Core, connection: RoomConnection, notice: Notice): void => {
  const memberOf = (id: string) => getMemberById(core.db, connection.serverId, idBytes(id));
  switch (notice.notice) {
    case 'typing': {
      const channel = getChannelById(core.db, connection.serverId, idBytes(notice.channel));
      const member = memberOf(notice.member);
      if (channel === undefined || member === undefined) return;
      return core.volatile({
        kind: 'typing.changed',
        channelRow: channel.id,
        memberRow: member.id,
        state: notice.on ? 'on' : 'off',
      });
    }
    case 'presence': {
      const member = memberOf(notice.member);
      if (member === undefined) return;
      connection.presence.set(notice.member, notice.state);
      return core.volatile({ kind: 'presence.changed', memberRow: member.id, state: notice.state });
    }
    case 'marked': {
      const channel = getChannelById(core.db, connection.serverId, idBytes(notice.channel));
      const conversation = channel === undefined ? undefined : getConversationOfChannel(core.db, channel.id);
      if (channel === undefined || conversation === undefined || notice.seq <= channel.readSeq) return;
      return commit(core, (changes) => {
        patchChannel(core.db, channel.id, { readSeq: notice.seq });
        markReadUpTo(core, changes, conversation, notice.seq);
      });
    }
    case 'member':
      commit(core, (changes) => keepMember(core, changes, connection, notice.member));
      return learnAgain(core, connection, notice.member.id);
    case 'call':
      return tellCall(core, connection, notice);
    // Nobody here is in a call.
    case 'call.stream':
    case 'call.busy':
      return undefined;
    case 'moved':
      return core.log.info('server.moved', { server: idOf(connection.row.uid) });
  }
};

// Somebody we know has changed: it may be another device.
const learnAgain = (core: Core, connection: RoomConnection, id: string): void => {
  const member = getMemberById(core.db, connection.serverId, idBytes(id));
  if (member === undefined || !hasDevice(core.db, member.id)) return;
  learnMembers(core, connection, [id]).catch((error: unknown) => {
    if (expectedError(error) === undefined) core.queue.post(() => Promise.reject(error));
  });
};
