// What the daemon tells of itself, and of what happens, as lines for people.
import type { Event, GapEvent } from '../protocol/rpc-events.ts';
import type { Status } from '../protocol/rpc-objects.ts';
import { safeLine, safeName } from '../protocol/safe-text.ts';
import type { Hint } from './output.ts';
import { fileText, messageText, sizeText } from './show.ts';
import { callText, serverText } from './show-rooms.ts';

const networkText = (tor: Status['tor']): string =>
  tor.state === 'off'
    ? 'off by choice'
    : [
        tor.state,
        `${tor.bootstrapPercent} %`,
        tor.reachable ? 'reachable' : 'not reachable now',
        `${tor.descriptorUploads} uploads`,
      ].join(', ');

/** The whole status. */
export const statusText = (status: Status, hint: Hint): string => {
  const { tor } = status;
  return [
    `${safeName(status.nickname)}  ${status.address}`,
    `tor      ${networkText(tor)}${tor.private ? ', private network' : ''}${tor.version === undefined ? '' : `, ${tor.version}`}`,
    ...(tor.warning === undefined ? [] : [`         ${tor.warning}`]),
    ...(tor.lastError === undefined || tor.state === 'online' ? [] : [`         ${tor.lastError.message}`]),
    `outbox   ${status.outboxDepth} waiting`,
    `unread   ${status.unread}, ${status.requests} ${status.requests === 1 ? 'request' : 'requests'}`,
    ...status.links.map(
      (link) =>
        `link     ${safeName(link.contact)}: ${link.state}${link.rttMs === undefined ? '' : `, ${link.rttMs} ms`}`,
    ),
    ...status.servers.map((server) => `server   ${serverText(server, hint)}`),
    `daemon   ${status.daemon.version}, process ${status.daemon.pid}, ${sizeText(status.daemon.rssBytes)}`,
  ].join('\n');
};

const gapText = ({ fromCursor, toCursor }: GapEvent): string =>
  Number(fromCursor) > Number(toCursor)
    ? `gap: there is no event ${fromCursor} here, the last is ${toCursor}: the cursor is of another account, or of before a restore`
    : `gap: events after ${fromCursor} up to ${toCursor} are gone`;

/** An event on one line; the command for a file in it as `hint` has it. */
export const eventText = (event: Event | GapEvent, hint?: Hint): string => {
  if (event.kind === 'gap') return gapText(event);
  const { message, contact, file, channel, member, call } = event;
  const about =
    message !== undefined && 'body' in message
      ? messageText(message, hint)
      : file !== undefined && 'state' in file
        ? fileText(file)
        : contact !== undefined
          ? safeName(contact.name)
          : channel !== undefined || member !== undefined
            ? [channel, member]
                .filter((one) => one !== undefined)
                .map((one) => `${safeName(one.name)}@${safeName(one.server)}`)
                .join('  ')
            : call !== undefined
              ? callText(call)
              : (event.setting?.key ??
                (event.tor === undefined ? (message?.id ?? file?.id ?? '') : networkText(event.tor)));
  const status = event.kind === 'presence.changed' && member?.status !== undefined ? `“${member.status}”` : undefined;
  // The id of a conversation that has a name is for scripts.
  const where = event.setting === undefined ? event.detail : (event.conversation ?? event.detail);
  const rest = [event.state, status, where].filter((one) => one !== undefined).map(safeLine);
  return [event.kind, about, ...rest].join('  ');
};
