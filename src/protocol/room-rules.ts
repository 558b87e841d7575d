// Who may do what in a channel: one table, which the server enforces and every client replays.
import type { ContentKind, ControlOp, Role } from './room-content.ts';

export type Rule = {
  /** The least role of who does it; `outsider`: only who is no member. */
  readonly by: Role | 'outsider';
  /**
   * What the one it names must be. `below`: a member of a lower role than the doer's; `invited` and `banned`: also one who is
   * invited or banned, respectively; `outsider`: neither a member nor banned.
   */
  readonly to?: readonly ('below' | 'self' | 'invited' | 'banned' | 'outsider')[];
  /**
   * Which state its author must have seen. What gives somebody access or rights counts only in the very state it was signed
   * for, so that nobody can hold it back and show it later; what takes them may come late.
   */
  readonly seen: 'present' | 'recent';
  /** Also in an archived channel. */
  readonly archived?: true;
};

/** Control operations. `create` is only ever the first event. */
export const CONTROL_RULES = {
  create: { by: 'outsider', seen: 'present' },
  invite: { by: 'moderator', to: ['outsider'], seen: 'present' },
  join: { by: 'outsider', seen: 'recent' },
  add: { by: 'admin', to: ['outsider', 'invited'], seen: 'present' },
  remove: { by: 'moderator', to: ['below', 'invited'], seen: 'recent', archived: true },
  leave: { by: 'member', seen: 'recent', archived: true },
  /** Never to a role above the doer's own. */
  role: { by: 'admin', to: ['below', 'self'], seen: 'present' },
  ban: { by: 'moderator', to: ['below', 'invited', 'outsider'], seen: 'recent', archived: true },
  unban: { by: 'moderator', to: ['banned'], seen: 'present' },
  mute: { by: 'moderator', to: ['below'], seen: 'recent' },
  unmute: { by: 'moderator', to: ['below'], seen: 'present' },
  mode: { by: 'admin', seen: 'present' },
  rotate: { by: 'moderator', seen: 'present' },
  /** One's own by anyone, others' from ERASE_OTHERS on. */
  erase: { by: 'member', seen: 'recent', archived: true },
  archive: { by: 'admin', seen: 'present' },
} as const satisfies Record<ControlOp, Rule>;

/** A control operation's rule. */
export const ruleOf = (op: ControlOp): Rule => CONTROL_RULES[op];

/** The least role that erases what others wrote. */
export const ERASE_OTHERS: Role = 'moderator';

/** Contents, which a server cannot read: readers enforce these. An edit is its author's alone. */
export const CONTENT_RULES: Readonly<Record<ContentKind, Role>> = {
  text: 'member',
  edit: 'member',
  react: 'member',
  pin: 'moderator',
  topic: 'moderator',
  file: 'member',
  unknown: 'member',
};

/** Why nobody but a member can show a newcomer what was said before. */
export const NO_OLD_KEYS =
  'Nobody can give a newcomer the keys of what was said before: leave the history as it is; a member who was there can show it: sotto channel share-history';

/** Why an event changes nothing. */
export type Refusal =
  | 'notCreated'
  | 'alreadyCreated'
  /** Its place is not after the one before, or its device has counted so far before. */
  | 'repeated'
  | 'notMember'
  | 'alreadyMember'
  | 'banned'
  | 'muted'
  | 'notInvited'
  | 'role'
  /** Whom it names is not what the rule asks for. */
  | 'target'
  | 'archived'
  /** Its author has not seen the state it changes. */
  | 'stale'
  | 'epoch'
  | 'full'
  | 'lastOwner'
  /** A rotation brings a wrapped key in a passphrase channel, and only there; an open channel has no key. */
  | 'key';
