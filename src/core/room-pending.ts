// Events of a channel that did not open when they came: tried again once the key of their device is here.
import { judgeContent } from '../crypto/channel-state.ts';
import { openEvent, type Scope } from '../crypto/room-event.ts';
import { TheirChain } from '../crypto/sender-key.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import { decodeContent } from '../protocol/room-content.ts';
import { EVENT } from '../protocol/server.ts';
import { getChannel, getChannelDevice, patchChannelDevice } from '../store/channels.ts';
import { getMember, listDevices } from '../store/members.ts';
import { listPending, removePending } from '../store/room-events.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import { applyContent } from './room-apply.ts';
import type { RoomConnection } from './room-connection.ts';

const PENDING_TRIED_MAX = 1_000;

/** Opens what it can of a member's events that wait in a channel. Runs in the queue. */
export const retryPending = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  memberRow: number,
): Promise<void> => {
  const member = getMember(core.db, memberRow);
  if (member === undefined) return;
  for (const pending of listPending(core.db, channelRow, memberRow, PENDING_TRIED_MAX)) {
    const channel = getChannel(core.db, channelRow);
    const state = stateOfJson(channel?.membership ?? '');
    if (channel === undefined || state === undefined) return;
    const server = connection.row;
    const scope: Scope = { serverId: server.serverKey, channelHash: channel.hash };
    for (const device of listDevices(core.db, memberRow)) {
      const known = getChannelDevice(core.db, channelRow, device.deviceId)?.senderKey;
      if (known == null) continue;
      const place = {
        channel: idOf<ChannelId>(channel.channelId),
        epoch: state.epoch,
        device: idOf<DeviceId>(device.deviceId),
      };
      const chain = new TheirChain(place, known);
      try {
        const signed = await chain.open(pending.body);
        const { header, content } = openEvent(
          {
            scope,
            outer: {
              id: idOf<EventId>(pending.eventId),
              sender: idOf<MemberId>(member.memberId),
              kind: EVENT.content,
            },
            keyOf: (_sender, id) => (id === place.device ? device.signingKey : undefined),
          },
          signed,
          decodeContent,
        );
        if (judgeContent(state, { header, kind: content.kind, at: pending.at }) !== undefined) continue;
        commit(core, (changes) => {
          patchChannelDevice(core.db, channelRow, device.deviceId, { senderKey: chain.serialize(), n: header.n });
          removePending(core.db, channelRow, pending.seq);
          const event = {
            request: 0,
            channel: idOf(channel.channelId),
            epoch: channel.epoch,
            seq: pending.seq,
            id: idOf(pending.eventId),
            member: idOf(member.memberId),
            at: pending.at,
            kind: EVENT.content,
            erased: false,
            body: pending.body,
          };
          const applied = applyContent(
            { core, server, channel, state, changes },
            { event, member, content, isMine: false },
          );
          core.db.run(
            'UPDATE room_events SET kind = ?, value = ?, message_row = ? WHERE channel_row = ? AND seq = ?',
            applied.kind,
            applied.value,
            applied.messageRow,
            channelRow,
            pending.seq,
          );
        });
        break;
      } catch (error) {
        if (!(error instanceof SottoError)) throw error;
      }
    }
  }
};
