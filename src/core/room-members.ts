// What follows here from a control event of a channel: whether I am in it, and what others are told.
import type { ChannelState } from '../crypto/channel-state.ts';
import type { EventHeader } from '../crypto/room-event.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import type { Control, UnknownControl } from '../protocol/room-content.ts';
import { type ChannelRow, type ChannelState as Place, patchChannel } from '../store/channels.ts';
import { getMemberById } from '../store/members.ts';
import { forgetUnanswered } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';

type Happened = {
  readonly server: ServerRow;
  readonly row: ChannelRow;
  readonly before: ChannelState | undefined;
  readonly after: ChannelState | undefined;
  readonly header: EventHeader;
  readonly control: Control | UnknownControl;
};

const KINDS: Readonly<Partial<Record<Control['op'], string>>> = {
  invite: 'channel.invited',
  join: 'channel.joined',
  add: 'channel.joined',
  remove: 'channel.removed',
  leave: 'channel.left',
  role: 'channel.role',
  ban: 'channel.banned',
  unban: 'channel.unbanned',
  mute: 'channel.muted',
  unmute: 'channel.unmuted',
  mode: 'channel.changed',
  rotate: 'channel.rotated',
  archive: 'channel.archived',
};

/** Brings the channel's row to what the replayed list says, and tells front ends. Inside the transaction of `receiveRoom`. */
export const afterControl = (core: Core, changes: Changes, happened: Happened): void => {
  const { server, row, after, header, control } = happened;
  if (after === undefined) return;
  const me = idOf<MemberId>(server.memberId);
  const place = placeOf(after, me, header.sender === me && control.op === 'leave', row.state);
  patchChannel(core.db, row.id, { state: place, keyEpoch: after.epoch });
  // What was sealed before is stale: sent again as it is, who has come could not read it, and who has gone could. Had the server
  // taken it before, it would have come before.
  forgetUnanswered(core.db, row.id);
  // What waits for a rule may go now.
  changes.flush.add(server.id);
  const kind = control.op === 'unknown' ? undefined : KINDS[control.op];
  if (kind === undefined) return;
  const about = 'member' in control ? control.member : header.sender;
  const nameOf = (id: MemberId) => getMemberById(core.db, server.id, idBytes(id))?.name ?? id.slice(0, 8);
  const member = getMemberById(core.db, server.id, idBytes(about));
  changes.event({
    kind,
    channelRow: row.id,
    ...(member === undefined ? {} : { memberRow: member.id }),
    ...(control.op === 'role' ? { detail: control.role } : {}),
    ...(control.op === 'invite' ? { detail: `by ${nameOf(header.sender)}` } : {}),
  });
};

const placeOf = (state: ChannelState, me: MemberId, iLeft: boolean, now: Place): Place => {
  // What I was before, on the way to now: `entered` says what I am.
  if (now === 'joining') return now;
  if (state.members.has(me)) return 'joined';
  if (state.banned.has(me)) return 'banned';
  if (iLeft) return 'left';
  if (state.invited.has(me)) return 'invited';
  return now === 'joined' ? 'removed' : now;
};
