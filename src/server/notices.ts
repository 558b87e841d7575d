// What the server itself says in the log: events of server-wide authority, and notices in inboxes; and what the log refuses.

import { jsonBytes } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type MemberId, SERVER_CHANNEL } from '../protocol/ids.ts';
import type { InboxNote } from '../protocol/inbox-note.ts';
import { STALE_TRIES_MAX } from '../protocol/limits.ts';
import { EVENT } from '../protocol/server-frames.ts';
import type { Change } from './changes.ts';
import type { ServerContext } from './context.ts';

/** Appends an event of server-wide authority with its changes. Throws what the log refuses. */
export const appendAuthority = async (
  context: ServerContext,
  by: MemberId,
  said: object,
  changes: readonly Change[],
): Promise<void> => {
  const id = context.eventId();
  const body = jsonBytes(said);
  for (let tries = 0; tries < STALE_TRIES_MAX; tries++) {
    const [head] = await context.log.heads([SERVER_CHANNEL]);
    const outcome = await context.append({
      channel: SERVER_CHANNEL,
      id,
      member: by,
      kind: EVENT.notice,
      body,
      checkedAt: head?.authoritySeq ?? 0,
      changes,
    });
    if (outcome.kind === 'committed' || outcome.kind === 'duplicate') return;
    if (outcome.kind === 'refused') throw refusedBy(outcome.code);
  }
  throw new SottoError('server.unavailable');
};

/** Puts a notice of the server into a member's inbox: all their devices see it. */
export const notify = async (context: ServerContext, member: MemberId, said: InboxNote): Promise<void> => {
  await context.append({
    channel: member as string as ChannelId,
    id: context.eventId(),
    member,
    kind: EVENT.notice,
    body: jsonBytes(said),
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes: [],
  });
};

/** What the log refuses, as an answer. */
export const refusedBy = (code: string, retryAfterMs?: number): SottoError => {
  const details = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (code) {
    case 'taken':
      return new SottoError('name.taken');
    case 'spent':
      return new SottoError('invite.invalid');
    case 'full':
      return new SottoError('channel.tooMany');
    case 'slow_mode':
      return new SottoError('channel.slow', { details });
    case 'archived':
      return new SottoError('channel.archived');
    case 'no_such_channel':
      return new SottoError('channel.unknown');
    case 'id_taken':
      return new SottoError('request.invalid', { details: { why: 'id' } });
    default:
      return new SottoError('file.unknown');
  }
};
