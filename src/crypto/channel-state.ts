// What a channel is at one place of its log, and what that state allows: the rules' table put to use, by server and client.
import { toHex } from '../protocol/bytes.ts';
import type { ChannelId, DeviceId, EventId, MemberId } from '../protocol/ids.ts';
import {
  CHANNEL_BANNED_MAX,
  CHANNEL_INVITED_MAX,
  CHANNEL_MEMBERS_MAX,
  SEALED_MEMBERS_MAX,
} from '../protocol/limits.ts';
import {
  type ContentKind,
  type Control,
  type Encryption,
  type KeyWrap,
  ROLES,
  type Role,
  type UnknownControl,
} from '../protocol/room-content.ts';
import { CONTENT_RULES, ERASE_OTHERS, type Refusal, type Rule, ruleOf } from '../protocol/room-rules.ts';
import type { Bytes } from './primitives.ts';
import type { EventHeader } from './room-event.ts';

/** By whose which control somebody got something: `at` counts the channel's controls from 1, the creation. */
export type Grant = { readonly by: MemberId; readonly at: number };

export type Member = {
  readonly role: Role;
  readonly joinedSeq: number;
  /** By the log's clock, in ms; MAX_SAFE_INTEGER until somebody ends it. Absent: not muted. */
  readonly mutedUntil?: number | undefined;
  readonly entry: Grant;
  readonly roleGrant: Grant;
};

export type Mode = {
  readonly slowMs: number;
  readonly retentionMs: number;
  readonly notify: 'all' | 'mentions' | 'none';
};

/** The wrapped key of an epoch of a passphrase channel, and the event that brought it. */
export type EpochKey = { readonly epoch: number; readonly event: EventId; readonly key: KeyWrap };

export type ChannelState = {
  readonly channel: ChannelId;
  readonly hash: Bytes;
  readonly name: string;
  readonly encryption: Encryption;
  readonly private: boolean;
  readonly history: 'joined' | 'all';
  readonly members: ReadonlyMap<MemberId, Member>;
  readonly invited: ReadonlyMap<MemberId, Grant>;
  readonly banned: ReadonlySet<MemberId>;
  /** Until when those were muted who went so, CHANNEL_BANNED_MAX at most, the last to go last: it counts again when they come back. */
  readonly mutedAway?: ReadonlyMap<MemberId, number>;
  readonly mode: Mode;
  readonly epoch: number;
  /** Passphrase channels: the wrapped key of every epoch, oldest first. */
  readonly keys: readonly EpochKey[];
  /** Passphrase channels: who left or was removed since the last rotation, and may still read. */
  readonly exposed: ReadonlySet<MemberId>;
  readonly archived: boolean;
  /** How many controls were of a kind that this version does not know: with any, the state may be another. */
  readonly unknown: number;
  /** Of the last control. */
  readonly seq: number;
  /** The chain of controls: how many, its hash, and the heads (hex of 16 bytes) an event may name, the present one last. */
  readonly controls: number;
  /** How many places of the log, from the first on, are controls with nothing between them; a state of an earlier version does not know. */
  readonly opening?: number;
  readonly head: Bytes;
  readonly heads: readonly string[];
  /** The last n of each device, of its controls. */
  readonly counted: ReadonlyMap<DeviceId, number>;
};

/** A control event that was opened and verified, with its place in the log. */
export type ControlEvent = {
  readonly seq: number;
  readonly header: EventHeader;
  readonly control: Control | UnknownControl;
  /** SHA-256 of the stored body, bytes ‖ signature. For the creation it is the channel's hash. */
  readonly bodyHash: Bytes;
};

/** How far up a role is, from 0. */
export const rankOf = (role: Role): number => ROLES.indexOf(role);

/** How many controls an event's author had seen; undefined when the head it names is none of the recent ones. */
export const seenControls = (state: ChannelState, header: EventHeader): number | undefined => {
  const place = state.heads.lastIndexOf(toHex(header.membersHead));
  return place < 0 ? undefined : state.controls - (state.heads.length - 1 - place);
};

/** Whether one needs an invitation: where messages are sealed for each member, nobody lets himself in. */
export const needsInvitation = (state: ChannelState): boolean => state.private || state.encryption === 'members';

/** Why a control event may not follow `state` (undefined: nothing yet), or undefined when it may. */
export const judgeControl = (state: ChannelState | undefined, event: ControlEvent): Refusal | undefined => {
  const { control, header } = event;
  if (state === undefined) return judgeCreation(event);
  if (event.seq <= state.seq || header.n <= (state.counted.get(header.device) ?? 0)) return 'repeated';
  if (control.op === 'create') return 'alreadyCreated';
  const rule: Rule = control.op === 'unknown' ? { by: 'member', seen: 'recent' } : ruleOf(control.op);
  return (
    judgeAuthor(state, rule, header.sender) ??
    judgeSeen(state, rule, header) ??
    ('member' in control ? judgeTarget(state, rule, header.sender, control.member) : undefined) ??
    judgeOperation(state, header.sender, control)
  );
};

/** Why a content may not stand after `state`, or undefined. `at` is the log's time of it, in ms. An edit is its author's. */
export const judgeContent = (
  state: ChannelState,
  { header, kind, at }: { readonly header: EventHeader; readonly kind: ContentKind; readonly at: number },
): Refusal | undefined => {
  const member = state.members.get(header.sender);
  if (member === undefined) return state.banned.has(header.sender) ? 'banned' : 'notMember';
  if (state.archived) return 'archived';
  if (at < (member.mutedUntil ?? 0)) return 'muted';
  if (header.epoch !== state.epoch) return 'epoch';
  return rankOf(member.role) < rankOf(CONTENT_RULES[kind]) ? 'role' : undefined;
};

/** Whether a member may erase what `author` wrote. An `erase` event is in its place even when this says no: it does nothing. */
export const mayErase = (state: ChannelState, member: MemberId, author: MemberId): boolean => {
  const role = state.members.get(member)?.role;
  return role !== undefined && (member === author || rankOf(role) >= rankOf(ERASE_OTHERS));
};

const judgeCreation = ({ control, header }: ControlEvent): Refusal | undefined => {
  if (control.op !== 'create') return 'notCreated';
  if (header.membersHead.some((byte) => byte !== 0) || header.seenSeq !== 0) return 'stale';
  if (header.epoch !== 0) return 'epoch';
  if (control.members?.some((one) => one.member === header.sender) === true) return 'alreadyMember';
  return undefined;
};

const judgeAuthor = (state: ChannelState, rule: Rule, sender: MemberId): Refusal | undefined => {
  const role = state.members.get(sender)?.role;
  if (state.archived && rule.archived !== true) return 'archived';
  if (rule.by === 'outsider') {
    if (role !== undefined) return 'alreadyMember';
    return state.banned.has(sender) ? 'banned' : undefined;
  }
  if (role === undefined) return 'notMember';
  return rankOf(role) < rankOf(rule.by) ? 'role' : undefined;
};

// What takes rights may be signed before the last rotation; what gives them has seen the present head, and so the epoch.
const judgeSeen = (state: ChannelState, rule: Rule, header: EventHeader): Refusal | undefined => {
  const seen = seenControls(state, header);
  if (seen === undefined || (rule.seen === 'present' && seen !== state.controls)) return 'stale';
  return header.epoch > state.epoch || (seen === state.controls && header.epoch !== state.epoch) ? 'epoch' : undefined;
};

const judgeTarget = (state: ChannelState, rule: Rule, sender: MemberId, target: MemberId): Refusal | undefined => {
  const allowed = rule.to ?? [];
  const member = state.members.get(target);
  if (member !== undefined) {
    if (allowed.includes('self') && sender === target) return undefined;
    if (!allowed.includes('below')) return allowed.includes('outsider') ? 'alreadyMember' : 'target';
    return rankOf(member.role) < rankOf(state.members.get(sender)?.role ?? 'member') ? undefined : 'role';
  }
  if (state.banned.has(target)) return allowed.includes('banned') ? undefined : 'banned';
  return allowed.includes(state.invited.has(target) ? 'invited' : 'outsider') ? undefined : 'target';
};

const judgeOperation = (
  state: ChannelState,
  sender: MemberId,
  control: Control | UnknownControl,
): Refusal | undefined => {
  switch (control.op) {
    case 'join':
      if (needsInvitation(state) && !state.invited.has(sender)) return 'notInvited';
      return isFull(state) ? 'full' : undefined;
    case 'add':
      return isFull(state) ? 'full' : undefined;
    case 'invite':
      return state.invited.size >= CHANNEL_INVITED_MAX ? 'full' : undefined;
    case 'ban':
      return state.banned.size >= CHANNEL_BANNED_MAX ? 'full' : undefined;
    case 'role': {
      const own = rankOf(state.members.get(sender)?.role ?? 'member');
      if (rankOf(control.role) > own) return 'role';
      return sender === control.member && control.role !== 'owner' ? judgeLastOwner(state, sender) : undefined;
    }
    case 'leave':
      return state.members.size > 1 ? judgeLastOwner(state, sender) : undefined;
    case 'rotate':
      if (state.encryption === 'open') return 'key';
      return (state.encryption === 'passphrase') === (control.key !== undefined) ? undefined : 'key';
    default:
      return undefined;
  }
};

const isFull = ({ encryption, members }: ChannelState): boolean =>
  members.size >= (encryption === 'members' ? SEALED_MEMBERS_MAX : CHANNEL_MEMBERS_MAX);

const judgeLastOwner = ({ members }: ChannelState, sender: MemberId): Refusal | undefined => {
  if (members.get(sender)?.role !== 'owner') return undefined;
  const owners = [...members.values()].filter(({ role }) => role === 'owner').length;
  return owners === 1 ? 'lastOwner' : undefined;
};
