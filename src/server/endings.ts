// What ends with an event: live telling of a channel to who left it, connections of who was banned, erased or revoked, and
// what is found of a body that was erased.
import type { DeviceId, MemberId } from '../protocol/ids.ts';
import { CLOSE } from '../protocol/websocket.ts';
import type { Change } from './changes.ts';
import type { ServerContext } from './context.ts';
import type { Draft } from './event-log.ts';

const ends = (change: Change): boolean =>
  (change.kind === 'membership' && change.row.state !== 'joined') ||
  (change.kind === 'memberSet' && (change.set.banned === true || typeof change.set.erasedAt === 'number')) ||
  change.kind === 'deviceRevoked' ||
  change.kind === 'erase';

/** Whether somebody may read or find less once an event is committed. */
export const endsReading = ({ changes }: Draft): boolean => changes.some(ends);

/** An event was committed and told: what it ends is over before anything that follows it is told. */
export const endReading = (context: ServerContext, { channel, member, changes }: Draft): void => {
  for (const change of changes) {
    if (!ends(change)) continue;
    if (change.kind === 'membership')
      for (const peer of context.online.get(change.row.member) ?? []) {
        context.fanout.revoke(peer, channel);
        context.hub.idle(channel);
      }
    if (change.kind === 'erase') context.search.forget(channel, [change.seq]);
    if (change.kind === 'memberSet') disconnect(context, change.member);
    if (change.kind === 'deviceRevoked') disconnect(context, member, change.device);
  }
};

// Who ends it himself still gets his answer; nothing else is told to him.
const disconnect = (context: ServerContext, member: MemberId, device?: DeviceId): void => {
  for (const peer of [...(context.online.get(member) ?? [])]) {
    if (peer.state?.phase !== 'in' || (device !== undefined && peer.state.device !== device)) continue;
    context.fanout.drop(peer);
    if (!peer.state.endsItself) peer.close(CLOSE.policy, 'server.banned');
  }
};
