// What is in the way of a server, and of a channel or member on it: as one object, and as lines for people.
import type { FileObject, RoomWhy } from '../protocol/rpc-objects.ts';
import type { ChannelObject, MemberObject, ServerObject } from '../protocol/rpc-rooms.ts';
import { asWord, safeFileName, safeLine, safeName } from '../protocol/safe-text.ts';
import { clockText, timeText } from './show.ts';
import { channelStillRead, gapText, isRemoved, joinCommand, passphraseText, takenOffText } from './show-rooms.ts';

/** What was asked about on a server; nothing of it where that is the server itself. `files` wait there. */
export type Asked = {
  readonly conversation?: string | undefined;
  readonly channel?: ChannelObject | undefined;
  readonly member?: MemberObject | undefined;
  readonly files: readonly FileObject[];
};

/** What is in the way on a server as of `now`. */
export const roomWhy = (server: ServerObject, asked: Asked, now: number): RoomWhy => {
  const { conversation, channel, files } = asked;
  const inTheWay = inTheWayOf(server, asked, now);
  const gaps = channel?.gaps ?? [];
  return {
    ...server,
    ...(conversation === undefined ? {} : { conversation }),
    summary: inTheWay[0] ?? headOf(server, files),
    reasons: [
      ...inTheWay,
      ...stuckIn(server).map(stuckText),
      ...stuckFiles(server, files).map(fileWaitsText),
      ...missedIn(server, asked),
      ...(channel === undefined ? [] : channelStillRead(channel)),
      ...gaps.map(gapText),
    ],
    advice: [...adviceFor(server), ...(channel === undefined ? [] : wayIn(channel))],
    ...(channel === undefined ? {} : { gaps: channel.gaps }),
    ...(files.length === 0 ? {} : { files: [...files] }),
  };
};

/** Where a server is reached and what waits for it, with advice. */
export const serverWhyText = (server: ServerObject, files: readonly FileObject[] = []): string =>
  [
    headOf(server, files),
    ...stuckIn(server).map((one) => `waiting  ${stuckText(one)}`),
    ...stuckFiles(server, files).map(
      (file) => `waiting  ${safeName(file.conversation)}: ${fileNameOf(file)}: ${reasonOf(file)}`,
    ),
    ...(server.nextRetryAt === undefined || server.state === 'online'
      ? []
      : [`retry    ${timeText(server.nextRetryAt)}`]),
    ...adviceFor(server).map((line) => `advice   ${line}`),
  ].join('\n');

/** What else is in the way of what was asked about, a line for each. */
export const besides = (server: ServerObject, asked: Asked, now: number): string[] => [
  ...inTheWayOf(server, asked, now),
  ...missedIn(server, asked),
  ...(asked.channel === undefined ? [] : channelStillRead(asked.channel)),
  ...(asked.channel?.gaps ?? []).map(gapText),
];

const inTheWayOf = ({ memberId }: ServerObject, { channel, member }: Asked, now: number): string[] => {
  const why = channel === undefined ? undefined : channelWhyText(channel, memberId, now);
  return [
    ...(why === undefined ? [] : [why]),
    ...(channel?.passphraseNeeded === true ? [passphraseText(channel)] : []),
    ...(member?.banned === true
      ? [`${safeName(member.name)}@${safeName(member.server)} is banned from the server`]
      : []),
  ];
};

// Of direct messages: in a channel nothing of them is missing.
const missedIn = ({ missing = [] }: ServerObject, { channel }: Asked): readonly string[] =>
  channel === undefined ? missing.map(safeLine) : [];

const isOtherKey = ({ lastErrorCode }: ServerObject): boolean =>
  lastErrorCode === 'server.certificateChanged' || lastErrorCode === 'server.keyChanged';

type Stuck = NonNullable<ServerObject['stuck']>[number];

const stuckIn = ({ state, stuck = [] }: ServerObject): readonly Stuck[] => (state === 'online' ? stuck : []);

const stuckText = ({ conversation, reason, goesAt }: Stuck): string =>
  `${safeName(conversation)}: ${safeLine(reason)}${goesAt === undefined ? '' : `, it goes on at ${clockText(goesAt)}`}`;

// While there is no connection, that is what all of them wait for.
const stuckFiles = ({ state }: ServerObject, files: readonly FileObject[]): readonly FileObject[] =>
  state === 'online' ? files : [];

const fileNameOf = ({ name }: FileObject): string => safeFileName(name);

const reasonOf = ({ reason }: FileObject): string => safeLine(reason ?? '');

const fileWaitsText = (file: FileObject): string => `the file ${fileNameOf(file)} waits: ${reasonOf(file)}`;

const waitingText = ({ outboxDepth: depth }: ServerObject, { length }: readonly FileObject[]): string => {
  const files = length === 0 ? '' : length === 1 ? '1 file' : `${length} files`;
  if (depth === 0) return files === '' ? 'nothing waits' : `${files} ${length === 1 ? 'waits' : 'wait'}`;
  return `${depth} ${depth === 1 ? 'waits' : 'wait'} for it${files === '' ? '' : `, and ${files}`}`;
};

const headOf = (server: ServerObject, files: readonly FileObject[]): string => {
  const rest = waitingText(server, files);
  const label = safeName(server.label);
  const error = server.lastError === undefined ? '' : `: ${safeLine(server.lastError)}`;
  switch (server.state) {
    case 'online':
      return `connected with ${label}, ${rest}`;
    case 'dialling':
      return `connecting with ${label}, ${rest}`;
    case 'banned':
    case 'revoked':
      return `${label} does not let you in${error}; ${rest}`;
    default:
      return `no connection with ${label}${error}; ${rest}`;
  }
};

const adviceFor = (server: ServerObject): string[] => {
  switch (server.state) {
    case 'online':
    case 'dialling':
      return [];
    case 'banned':
    case 'revoked':
      return [
        isRemoved(server)
          ? `${server.role === 'member' ? 'an admin or the owner of the server' : 'another device of yours, or another admin,'} makes a link (sotto server invite), by which it joins as a new device: sotto server join LINK`
          : 'only its owner, or another link, can change that: sotto server join LINK, or --retry once they let you in; it is asked again every few minutes',
      ];
    default:
      return [
        isOtherKey(server)
          ? `somebody else answers there, or the server was set up anew: ask its owner. If that is so, join by its new link, sotto server join LINK --label LABEL, and leave this one, sotto server leave ${asWord(safeName(server.label))}; if not, it goes on when the right one answers again`
          : 'it goes on by itself when the server is back; --retry tries now',
      ];
  }
};

// The command that lets one in, where there is one.
const wayIn = ({ name, server, state, encryption, private: isPrivate, passphraseNeeded }: ChannelObject): string[] => {
  const isOut = state === 'removed' || state === 'left' || state === 'joinable';
  const mayJoin = state === 'invited' || (isOut && encryption !== 'members' && !isPrivate);
  return passphraseNeeded === true || mayJoin ? [joinCommand(name, server)] : [];
};

// Why a channel takes nothing from me, whose id on its server is `memberId`; undefined where it does, as of `now`.
const channelWhyText = (channel: ChannelObject, memberId: string, now: number): string | undefined => {
  const name = safeName(channel.name);
  const me = channel.members?.find(({ id }) => id === memberId);
  const { mutedUntilAt } = me ?? {};
  switch (channel.state) {
    case 'joined':
    case 'joining':
      if (channel.archived) return `${name} is archived: it is read only`;
      if (me?.muted !== true || (mutedUntilAt ?? now) < now) return undefined;
      return `you may not write in ${name} until ${mutedUntilAt === undefined ? 'a moderator lets you' : clockText(mutedUntilAt)}`;
    case 'lost':
      return `${safeName(channel.server)} shows ${name} no more: ${channel.private ? 'you were removed, or it has lost it' : 'it may have lost it'}; ${takenOffText(channel)}`;
    case 'banned':
      return `you are banned from ${name}`;
    case 'removed':
      return `you were removed from ${name}`;
    case 'invited':
      return `you are invited to ${name}, and have not joined it`;
    default:
      return `you are not in ${name}`;
  }
};
