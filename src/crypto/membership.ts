// Replays the control events of a channel into its state: who is a member and may do what is nobody's word but theirs.
import { toHex } from '../protocol/bytes.ts';
import { type DeviceId, ID_BYTES, idOf, type MemberId } from '../protocol/ids.ts';
import { CHANNEL_BANNED_MAX, UNSEEN_CONTROLS_MAX } from '../protocol/limits.ts';
import type { Role } from '../protocol/room-content.ts';
import type { Refusal } from '../protocol/room-rules.ts';
import {
  type ChannelState,
  type ControlEvent,
  type Grant,
  judgeControl,
  type Member,
  rankOf,
  seenControls,
} from './channel-state.ts';
import { headOf, membersHash, ZERO_HASH } from './room-event.ts';

export type Outcome =
  | { readonly seq: number; readonly kind: 'applied' | 'unknown' }
  | { readonly seq: number; readonly kind: 'refused'; readonly why: Refusal };

/**
 * The state after `events`, ascending by seq, and what became of each. `state` is undefined before the creation. What a rule
 * forbids is refused by name and changes nothing, the chain of controls neither. The same events give the same state
 * wherever the pages between them were cut.
 */
export const replay = (
  state: ChannelState | undefined,
  events: readonly ControlEvent[],
): { readonly state: ChannelState | undefined; readonly outcomes: readonly Outcome[] } => {
  let draft = state === undefined ? undefined : draftOf(state);
  const outcomes = events.map((event): Outcome => {
    const why = judgeControl(draft, event);
    if (why !== undefined) return { seq: event.seq, kind: 'refused', why };
    const seen = draft === undefined ? 0 : (seenControls(draft, event.header) ?? 0);
    draft ??= created(event);
    chain(draft, event);
    apply(draft, event, seen);
    return { seq: event.seq, kind: event.control.op === 'unknown' ? 'unknown' : 'applied' };
  });
  return { state: draft, outcomes };
};

type Draft = { -readonly [Key in keyof ChannelState]: ChannelState[Key] } & {
  readonly members: Map<MemberId, Member>;
  readonly invited: Map<MemberId, Grant>;
  readonly banned: Set<MemberId>;
  readonly mutedAway: Map<MemberId, number>;
  exposed: Set<MemberId>;
  readonly counted: Map<DeviceId, number>;
};

const draftOf = (state: ChannelState): Draft => ({
  ...state,
  members: new Map(state.members),
  invited: new Map(state.invited),
  banned: new Set(state.banned),
  mutedAway: new Map(state.mutedAway ?? []),
  exposed: new Set(state.exposed),
  counted: new Map(state.counted),
});

const created = ({ seq, header, control, bodyHash }: ControlEvent): Draft => {
  if (control.op !== 'create') throw new Error('only a creation creates');
  const { name, encryption, history, key, members = [] } = control;
  const grant: Grant = { by: header.sender, at: 1 };
  const first = (role: Role): Member => ({ role, joinedSeq: seq, entry: grant, roleGrant: grant });
  return {
    channel: idOf(bodyHash.subarray(0, ID_BYTES)),
    hash: bodyHash,
    name,
    encryption,
    private: control.private,
    history,
    members: new Map([
      [header.sender, first('owner')],
      ...members.map(({ member, role }) => [member, first(role)] as const),
    ]),
    invited: new Map(),
    banned: new Set(),
    mutedAway: new Map(),
    mode: { slowMs: 0, retentionMs: 0, notify: 'all' },
    epoch: 1,
    keys: key === undefined ? [] : [{ epoch: 1, event: header.id, key }],
    exposed: new Set(),
    archived: false,
    unknown: 0,
    seq,
    controls: 0,
    head: ZERO_HASH,
    heads: [],
    counted: new Map(),
  };
};

const chain = (draft: Draft, { seq, header, bodyHash }: ControlEvent): void => {
  draft.seq = seq;
  draft.controls++;
  if (draft.controls === seq) draft.opening = seq;
  draft.head = membersHash(draft.head, bodyHash);
  draft.heads = [...draft.heads, toHex(headOf(draft.head))].slice(-1 - UNSEEN_CONTROLS_MAX);
  draft.counted.set(header.device, header.n);
};

/** `seen`: how many controls the author had seen. */
const apply = (draft: Draft, { seq, header, control }: ControlEvent, seen: number): void => {
  const { sender } = header;
  const grant: Grant = { by: sender, at: draft.controls };
  switch (control.op) {
    case 'create':
    case 'erase':
      return;
    case 'unknown':
      draft.unknown++;
      return;
    case 'invite':
      draft.invited.set(control.member, grant);
      return;
    case 'join':
      return enter(draft, sender, seq, draft.invited.get(sender) ?? grant);
    case 'add':
      return enter(draft, control.member, seq, grant);
    case 'leave':
      return lose(draft, [sender]);
    case 'remove':
      return lose(draft, withConcurrent(draft, control.member, { by: sender, at: seen }));
    case 'ban':
      lose(draft, withConcurrent(draft, control.member, { by: sender, at: seen }));
      draft.banned.add(control.member);
      return;
    case 'unban':
      draft.banned.delete(control.member);
      return;
    case 'role':
      return change(draft, control.member, { role: control.role, roleGrant: grant });
    case 'mute':
      return change(draft, control.member, { mutedUntil: control.untilAt ?? Number.MAX_SAFE_INTEGER });
    case 'unmute':
      return change(draft, control.member, { mutedUntil: undefined });
    case 'mode':
      draft.mode = {
        slowMs: control.slowMs ?? draft.mode.slowMs,
        retentionMs: control.retentionMs ?? draft.mode.retentionMs,
        notify: control.notify ?? draft.mode.notify,
      };
      return;
    case 'rotate':
      draft.epoch++;
      if (control.key !== undefined)
        draft.keys = [...draft.keys, { epoch: draft.epoch, event: header.id, key: control.key }];
      draft.exposed = new Set();
      return;
    case 'archive':
      draft.archived = true;
      return;
  }
};

const enter = (draft: Draft, member: MemberId, seq: number, entry: Grant): void => {
  const mutedUntil = draft.mutedAway.get(member);
  const muted = mutedUntil === undefined ? {} : { mutedUntil };
  draft.members.set(member, { role: 'member', joinedSeq: seq, entry, roleGrant: entry, ...muted });
  draft.mutedAway.delete(member);
  draft.invited.delete(member);
  draft.exposed.delete(member);
};

const change = (draft: Draft, id: MemberId, changed: Partial<Member>): void => {
  const member = draft.members.get(id);
  if (member === undefined) throw new Error('the rules let a change of nobody pass');
  draft.members.set(id, { ...member, ...changed });
};

// Whoever could read until now can no more: with sender keys all make new ones, a passphrase somebody has to change.
const lose = (draft: Draft, gone: readonly MemberId[]): void => {
  for (const member of gone) keepMuted(draft, member);
  const lost = gone.filter((member) => draft.members.delete(member));
  for (const member of gone) draft.invited.delete(member);
  if (lost.length === 0) return;
  // Nobody could own it any more: whoever came next would find it without an owner.
  if (draft.members.size === 0) draft.archived = true;
  if (draft.encryption === 'members') draft.epoch++;
  if (draft.encryption === 'passphrase') for (const member of lost) draft.exposed.add(member);
};

// To go and to come back takes no mute away.
const keepMuted = ({ members, mutedAway }: Draft, member: MemberId): void => {
  const { mutedUntil } = members.get(member) ?? {};
  if (mutedUntil === undefined) return;
  mutedAway.set(member, mutedUntil);
  for (const oldest of mutedAway.keys()) if (mutedAway.size > CHANNEL_BANNED_MAX) mutedAway.delete(oldest);
};

/**
 * Whom a removal takes: `target`, and what it gave to others while the remover had not seen it (`removal.at` controls seen):
 * those it let in go too, roles it gave become `member`. Only for whom stands below the remover.
 */
const withConcurrent = (draft: Draft, target: MemberId, removal: Grant): MemberId[] => {
  const rank = rankOf(draft.members.get(removal.by)?.role ?? 'member');
  const gone = [target];
  const isVoid = ({ by, at }: Grant, giver: MemberId) => by === giver && at > removal.at;
  for (const giver of gone) {
    for (const [invited, grant] of draft.invited) if (isVoid(grant, giver)) draft.invited.delete(invited);
    for (const [id, member] of draft.members) {
      if (gone.includes(id) || rankOf(member.role) >= rank) continue;
      if (isVoid(member.entry, giver)) gone.push(id);
      else if (isVoid(member.roleGrant, giver)) change(draft, id, { role: 'member' });
    }
  }
  return gone;
};
