// Events of a channel that did not open when they came: tried again once the key of their device is here.
import { rankOf } from '../crypto/channel-state.ts';
import { type EventHeader, openEvent } from '../crypto/room-event.ts';
import { distributionIdOf, readDistributionId, TheirChain } from '../crypto/sender-key.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import { type Content, decodeContent, type Role, type UnknownContent } from '../protocol/room-content.ts';
import { CONTENT_RULES } from '../protocol/room-rules.ts';
import { EVENT } from '../protocol/server.ts';
import {
  type ChannelRow,
  getChannel,
  getChannelDevice,
  getSenderKey,
  patchChannelDevice,
  putSenderKey,
} from '../store/channels.ts';
import { type DeviceRow, getMember, listDevices, type MemberRow } from '../store/members.ts';
import { listPending, type PendingRow, removePending, setRoomEvent } from '../store/room-events.ts';
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
  const channel = getChannel(core.db, channelRow);
  if (member === undefined || channel === undefined) return;
  for (const pending of listPending(core.db, channelRow, memberRow, PENDING_TRIED_MAX)) {
    const place = placeOf(core, channel, member, pending);
    if (place === undefined) continue;
    const { device, chain } = place;
    try {
      const event = await openPending({ core, connection, channel, member, pending, device, chain });
      keepOpened({ core, connection, channel, member, pending, device, chain }, event);
    } catch (error) {
      if (!(error instanceof SottoError)) throw error;
    }
  }
};

type Trying = {
  readonly core: Core;
  readonly connection: RoomConnection;
  readonly channel: ChannelRow;
  readonly member: MemberRow;
  readonly pending: PendingRow;
  readonly device: DeviceRow;
  readonly chain: TheirChain;
};

type Event = { readonly header: EventHeader; readonly content: Content | UnknownContent };

/** The device whose chain sealed it, when its key is here. */
const placeOf = (core: Core, channel: ChannelRow, member: MemberRow, { body, keyEpoch }: PendingRow) => {
  const id = readDistributionId(body);
  for (const device of listDevices(core.db, member.id)) {
    const place = {
      channel: idOf<ChannelId>(channel.channelId),
      epoch: keyEpoch,
      device: idOf<DeviceId>(device.deviceId),
    };
    if (distributionIdOf(place) !== id) continue;
    const key = getSenderKey(core.db, { channelRow: channel.id, deviceId: device.deviceId, keyEpoch });
    if (key !== undefined) return { device, chain: new TheirChain(place, key) };
  }
  return undefined;
};

const openPending = async ({ connection, channel, member, pending, device, chain }: Trying): Promise<Event> => {
  const signed = await chain.open(pending.body);
  return openEvent(
    {
      scope: { serverId: connection.row.serverKey, channelHash: channel.hash },
      outer: { id: idOf<EventId>(pending.eventId), sender: idOf<MemberId>(member.memberId), kind: EVENT.content },
      keyOf: (_sender, id) => (id === idOf(device.deviceId) ? device.signingKey : undefined),
    },
    signed,
    decodeContent,
  );
};

const keepOpened = (trying: Trying, { header, content }: Event): void => {
  const { core, connection, channel, member, pending, device, chain } = trying;
  const mayWrite = rankOf(pending.role as Role) >= rankOf(CONTENT_RULES[content.kind]);
  const fits = mayWrite && header.epoch === pending.keyEpoch;
  commit(core, (changes) => {
    const { deviceId } = device;
    putSenderKey(core.db, { channelRow: channel.id, deviceId, keyEpoch: pending.keyEpoch }, chain.serialize());
    const counted = getChannelDevice(core.db, channel.id, deviceId)?.n ?? 0;
    patchChannelDevice(core.db, channel.id, deviceId, { n: Math.max(counted, header.n) });
    removePending(core.db, channel.id, pending.seq);
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
    const scene = { core, server: connection.row, channel, state: stateOfJson(channel.membership), changes };
    const applied = fits
      ? applyContent(scene, { event, member, content, isMine: false })
      : { kind: 'refused', value: 'role', messageRow: null };
    setRoomEvent(core.db, channel.id, { seq: pending.seq, ...applied });
  });
};
