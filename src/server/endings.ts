// What ends with an event: live telling and the call of a channel for who left it, connections and calls of who was banned,
// erased or revoked, and their calls for the other of two, what is found of a body that was erased, and the voice of who was muted.
import { expectedError } from '../protocol/errors.ts';
import type { ChannelId, DeviceId, MemberId } from '../protocol/ids.ts';
import { CLOSE } from '../protocol/websocket.ts';
import type { Change } from './changes.ts';
import type { Peer, ServerContext } from './context.ts';
import type { Draft, Seq } from './event-log.ts';

const ends = (change: Change): boolean =>
  change.kind === 'membership' ||
  (change.kind === 'channelSet' && typeof change.set.archivedAt === 'number') ||
  (change.kind === 'memberSet' && (change.set.banned === true || typeof change.set.erasedAt === 'number')) ||
  change.kind === 'deviceRevoked' ||
  change.kind === 'erase';

/** Whether somebody may read, find or say less once an event is committed, or more in a call. */
export const endsReading = ({ changes }: Draft): boolean => changes.some(ends);

/** An event was committed and told: what it ends is over before anything that follows it is told. */
export const endReading = (context: ServerContext, { channel, member, changes }: Draft): void => {
  for (const change of changes) {
    if (!ends(change)) continue;
    if (change.kind === 'membership') {
      const { member: who, state, mutedUntil } = change.row;
      if (state === 'joined') context.calls.silence(channel, who, mutedUntil);
      else exclude(context, channel, who);
    }
    if (change.kind === 'channelSet') context.calls.end(channel, 'channel.archived');
    if (change.kind === 'erase') forget(context, channel, change.seq);
    if (change.kind === 'memberSet') disconnect(context, change.member);
    if (change.kind === 'deviceRevoked') disconnect(context, member, change.device);
  }
};

/** Nothing is told any more to a connection; what nobody else reads is not followed either. */
export const endTelling = ({ fanout, hub }: ServerContext, peer: Peer): void => {
  const channels = [...fanout.channelsOf(peer)];
  fanout.drop(peer);
  for (const channel of channels) hub.idle(channel as ChannelId);
};

// The event is committed whatever the index does: what a full disk leaves in it finds nothing, and the next tidying takes it.
const forget = ({ search, journal }: ServerContext, channel: ChannelId, seq: Seq): void => {
  try {
    search.forget(channel, [seq]);
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    journal.warn('search.notForgotten', {});
  }
};

const exclude = (context: ServerContext, channel: ChannelId, member: MemberId): void => {
  for (const peer of context.online.get(member) ?? []) {
    context.fanout.revoke(peer, channel);
    context.hub.idle(channel);
  }
  context.calls.shutOut(member, 'channel.notMember', { channel });
};

// Who ends it himself still gets his answer; nothing else is told to him.
const disconnect = (context: ServerContext, member: MemberId, device?: DeviceId): void => {
  const why = device === undefined ? 'server.banned' : 'device.revoked';
  context.calls.shutOut(member, why, device === undefined ? {} : { device });
  // Who would join such a call now is answered so, too.
  if (device === undefined) context.calls.endWith(member, 'channel.unknown');
  for (const peer of [...(context.online.get(member) ?? [])]) {
    if (peer.state?.phase !== 'in' || (device !== undefined && peer.state.device !== device)) continue;
    endTelling(context, peer);
    peer.state.endedBy ??= why;
    if (peer.state.ending === 0) peer.close(CLOSE.policy, why);
  }
};
