// Whom a text in a channel calls, and whether that is me: as the message reads now.
import { idOf, type MemberId } from '../protocol/ids.ts';
import { MENTIONS_MAX } from '../protocol/limits.ts';
import { type Content, callOf, ROLES, type Role } from '../protocol/room-content.ts';
import { addMentions } from '../store/conversations.ts';
import { listMembersByName } from '../store/members.ts';
import { getMessage, type MessageRow, patchMessage } from '../store/messages.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Core } from './core.ts';
import type { RoomScene } from './room-scene.ts';

type Mentions = Pick<Extract<Content, { kind: 'text' }>, 'mentions'>;

/** `@name`, `@role` and `@here` in a text. */
export const mentionsIn = (core: Core, server: ServerRow, text: string): Mentions => {
  const names = new Set(
    [...text.matchAll(/(?:^|[\s(])@([\p{L}\p{N}_-]{1,32})/gu)].map(([, name = '']) => name.toLowerCase()),
  );
  const members: MemberId[] = [];
  for (const name of names) {
    if (members.length >= MENTIONS_MAX) break;
    const called = listMembersByName(core.db, name).filter((one) => one.serverId === server.id);
    members.push(...called.map((one) => idOf<MemberId>(one.memberId)));
  }
  const roles = ROLES.filter((role) => names.has(callOf(role)));
  const here = names.has('here');
  if (members.length + roles.length === 0 && !here) return {};
  return {
    mentions: {
      ...(members.length === 0 ? {} : { members: members.slice(0, MENTIONS_MAX) }),
      ...(roles.length === 0 ? {} : { roles }),
      ...(here ? { here } : {}),
    },
  };
};

/** Who I am where something is said. */
type Called = Pick<RoomScene, 'server' | 'state'>;

/** Whether what its author says of a text names me: by id, by my role, or everybody who is here. */
export const namesMe = ({ server, state }: Called, { mentions: named }: Mentions): boolean => {
  if (named === undefined) return false;
  const me = idOf<MemberId>(server.memberId);
  const role: Role = state?.members.get(me)?.role ?? 'member';
  return named.here === true || named.members?.includes(me) === true || named.roles?.includes(role) === true;
};

/** Whether a text names me, by its words: of an edit nothing else says so. */
export const callsMe = (where: Called & { readonly core: Core }, text: string): boolean =>
  namesMe(where, mentionsIn(where.core, where.server, text));

/** A message has another text: whether it names me goes with that, and so does the count of what is unread. */
export const mentionAgain = (scene: RoomScene, { id }: Pick<MessageRow, 'id'>): void => {
  const { db } = scene.core;
  const row = getMessage(db, id);
  if (row === undefined || row.mine === 1) return;
  const mention = callsMe(scene, row.body) ? 1 : 0;
  patchMessage(db, id, { mention });
  if (row.unread === 1) addMentions(db, row.conversationId, mention - row.mention);
};
