// Servers, channels, members and invites as lines for people.
import type {
  CallObject,
  ChannelObject,
  DeviceObject,
  InviteObject,
  MemberObject,
  ServerObject,
  ShareObject,
} from '../protocol/rpc-rooms.ts';
import { asWord, safeLine, safeName } from '../protocol/safe-text.ts';
import { durationText } from '../protocol/time-words.ts';
import { requestText, stillReadTexts } from './cautions.ts';
import { AS_IT_IS, safetyHead, shortId, timeText } from './show.ts';
import { alert, bold, dim, good } from './style.ts';

/** By another device of the same member. */
export const isRemoved = ({ state }: ServerObject): boolean => state === 'revoked';

/** A server on one line. */
export const serverText = (server: ServerObject, hint = AS_IT_IS): string =>
  [
    bold(safeName(server.label)),
    isRemoved(server) ? alert('this device was removed') : (server.state === 'online' ? good : alert)(server.state),
    server.url,
    `as ${safeName(server.memberName)}${server.role === 'member' ? '' : ` (${server.role})`}`,
    `through ${server.through}`,
    ...(server.rttMs === undefined ? [] : [`${server.rttMs} ms`]),
    ...(server.outboxDepth === 0 ? [] : [`${server.outboxDepth} waiting`]),
    ...(server.lastError === undefined || server.state === 'online' ? [] : [hint(safeLine(server.lastError))]),
  ].join('  ');

/** An invite: the link alone when it was just made, so that it can be copied. */
export const inviteText = (invite: InviteObject): string =>
  [
    ...(invite.link === undefined ? [] : [invite.link]),
    `${shortId(invite.id)}  ${invite.role}, ${invite.uses} ${invite.uses === 1 ? 'use' : 'uses'} left${invite.expiresAt === undefined ? '' : `, until ${timeText(invite.expiresAt)}`}`,
  ].join('\n');

/** A device on one line. */
export const deviceText = (device: DeviceObject): string =>
  `${device.id.slice(0, 8)}  since ${timeText(device.addedAt)}${device.this ? '  this one' : ''}${device.revoked ? '  revoked' : ''}`;

/** A member, with the safety number when there is one. */
export const memberText = (member: MemberObject, hint = AS_IT_IS): string =>
  [
    [
      `${member.verified ? '◆' : '◇'} ${bold(`${safeName(member.name)}@${safeName(member.server)}`)}`,
      ...(member.role === 'member' ? [] : [member.role]),
      ...(member.presence === undefined ? [] : [member.presence]),
      ...(member.banned === true ? [alert('banned from the server')] : []),
      ...(member.status === undefined ? [] : [`“${safeLine(member.status)}”`]),
      ...(member.request === 'open' ? [hint(requestText(`${member.name}@${member.server}`))] : []),
      ...(member.blocked ? ['rejected'] : []),
      ...(member.contact === undefined ? [] : [`is your contact ${safeName(member.contact)}`]),
      ...(member.contactSaid === undefined
        ? []
        : [`is your contact ${safeName(member.contactSaid)} as you say; they have not said so`]),
      dim(member.id.slice(0, 8)),
    ].join('  '),
    ...(member.safetyNumber === undefined ? [] : [safetyHead(member), `  ${member.safetyNumber}`]),
  ].join('\n');

/** Whether a channel is encrypted is said wherever it is named. */
const encryptionText = ({ encryption }: ChannelObject): string =>
  encryption === 'open' ? alert('NOT ENCRYPTED') : encryption === 'passphrase' ? 'passphrase' : 'members only';

const stateText = ({ state, heldTo = 0, logTo }: ChannelObject): string => {
  if (state === 'joining' && logTo !== undefined) return `joining, ${heldTo} of ${logTo} here`;
  return state === 'byInvitation' ? 'by invitation' : state;
};

/** Who was removed from a channel and may still read. */
export const channelStillRead = ({ name, server, ...rest }: ChannelObject): string[] =>
  stillReadTexts({ name: `${name}@${server}`, ...rest });

/** That this device needs the passphrase of a channel, and the command that takes it. */
export const passphraseText = ({ name, server, passphraseChanged }: ChannelObject): string =>
  passphraseChanged === true
    ? `The passphrase has changed: ${joinCommand(name, server)} takes the new one`
    : `This device needs the passphrase: ${joinCommand(name, server)} takes it`;

/** The command that joins a channel. */
export const joinCommand = (name: string, server: string): string =>
  `sotto channel join ${asWord(`${safeName(name)}@${safeName(server)}`)}`;

/** The command that takes a channel that is lost off the list: by its id, for there may be another of its name by now. */
export const takenOffText = ({ id }: ChannelObject): string =>
  `sotto channel leave ${shortId(id)} takes it off the list`;

// One that waits is marked as a message that waits is.
const topicText = ({ topic, topicState }: ChannelObject): string[] => {
  const text = topic === undefined ? 'no topic' : `“${safeLine(topic)}”`;
  if (topicState !== undefined) return [`${text} ${dim(`[${topicState}]`)}`];
  return topic === undefined ? [] : [text];
};

/** A channel on one line. */
export const channelText = (channel: ChannelObject, hint = AS_IT_IS): string =>
  [
    `${channel.encryption === 'open' ? '!' : ' '} ${bold(`${safeName(channel.name)}@${safeName(channel.server)}`)}`,
    encryptionText(channel),
    ...(channel.private ? ['private'] : []),
    stateText(channel),
    ...(channel.invitedBy === undefined ? [] : [`by ${safeName(channel.invitedBy)}`]),
    `${channel.memberCount} ${channel.memberCount === 1 ? 'member' : 'members'}`,
    ...topicText(channel),
    ...(channel.archived ? ['archived'] : []),
    ...(channel.passphraseNeeded === true
      ? [alert(channel.passphraseChanged === true ? 'the passphrase has changed' : 'needs the passphrase')]
      : []),
    ...(channel.state === 'lost' ? [hint(takenOffText(channel))] : []),
    ...channelStillRead(channel).map(hint),
  ].join('  ');

/** What a channel was when what is read of it was said. */
export const thenText = ({ name, topic, memberCount, state, role }: ChannelObject): string => {
  if (state === 'notCreated') return `Then: ${safeName(name)} did not exist yet`;
  if (memberCount === 0) return `Then: nobody was in ${safeName(name)} any more`;
  // Who came later knows those who were there at the first event they hold.
  const known = role === undefined ? ', as far as is known here: you were not in it' : '';
  return `Then: ${topic === undefined ? 'no topic' : `“${safeLine(topic)}”`}, ${memberCount} ${memberCount === 1 ? 'member' : 'members'}${known} (sotto channel show '${safeName(name)}' --at TIME tells who)`;
};

/** Something that is missing in a channel, or was shown and does not count. */
export const gapText = ({ fromSeq, toSeq, reason }: NonNullable<ChannelObject['gaps']>[number]): string =>
  `${fromSeq === 0 ? '' : fromSeq === toSeq ? `at ${fromSeq}: ` : `${fromSeq} to ${toSeq}: `}${safeLine(reason)}`;

/** History that is shared, on one line. */
export const shareText = (share: ShareObject): string =>
  [
    `${share.direction === 'out' ? 'shared with' : 'shown by'} ${safeName(share.member)}`,
    `${share.fromSeq} to ${share.toSeq}`,
    share.state === 'active' ? `${share.doneEvents} of ${share.events} events` : share.state,
    ...(share.reason === undefined ? [] : [safeLine(share.reason)]),
    ...(share.confirmedBy === undefined
      ? []
      : [
          share.confirmedBy.length === 0
            ? 'nobody else confirms that it is whole and in order'
            : `${share.confirmedEvents} of ${share.events} confirmed by ${share.confirmedBy.map(safeName).join(', ')}`,
        ]),
  ].join('  ');

const mutedText = ({ mutedUntilAt }: { readonly mutedUntilAt?: number | undefined }): string =>
  `  muted${mutedUntilAt === undefined ? '' : ` until ${timeText(mutedUntilAt)}`}`;

/** A channel with its members and gaps. */
export const channelDetailText = (channel: ChannelObject, hint = AS_IT_IS): string =>
  [
    channelText(channel, hint),
    `key      ${channel.keyEpoch}, history from ${channel.history === 'all' ? 'the beginning' : 'when one joins'}`,
    ...(channel.passphraseNeeded === true ? [hint(passphraseText(channel))] : []),
    ...(channel.slowMs === undefined || channel.slowMs === 0 ? [] : [`slow     ${channel.slowMs / 1000} s`]),
    ...(channel.retentionMs === undefined || channel.retentionMs === 0
      ? []
      : [`kept     ${durationText(channel.retentionMs)} on the server`]),
    ...(channel.shares ?? []).map((share) => `history  ${shareText(share)}`),
    ...(channel.gaps ?? []).map((gap) => `gap      ${gapText(gap)}`),
    ...(channel.members ?? []).map(
      (member) =>
        `${member.verified ? '◆' : '◇'} ${safeName(member.name)}  ${member.role}${member.muted === true ? mutedText(member) : ''}`,
    ),
    ...(channel.banned === undefined
      ? []
      : [`banned   ${channel.banned.map(({ name }) => safeName(name)).join(', ')}`]),
  ].join('\n');

/** A call on one line. */
export const callText = ({ conversation, startedAt, people }: CallObject): string =>
  [
    safeName(conversation),
    `since ${timeText(startedAt)}`,
    people.length === 0
      ? 'over'
      : people
          .map(({ name, muted, deafened, linked }) => {
            const how = !linked ? ' (away)' : deafened ? ' (deafened)' : muted ? ' (muted)' : '';
            return `${safeName(name)}${how}`;
          })
          .join(', '),
  ].join('  ');
