// What the server itself says in the log: events of server-wide authority, and notices in inboxes.

import { jsonBytes } from '../protocol/bytes.ts';
import { inboxOf, type MemberId, SERVER_CHANNEL } from '../protocol/ids.ts';
import type { InboxNote } from '../protocol/inbox-note.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { placed } from './append.ts';
import type { Change } from './changes.ts';
import type { ServerContext } from './context.ts';

/**
 * Appends an event of server-wide authority with its changes. Nothing was looked at that could be old: each change says itself
 * what it needs. Throws what the log refuses.
 */
export const appendAuthority = async (
  context: ServerContext,
  by: MemberId,
  said: object,
  changes: readonly Change[],
): Promise<void> => {
  const outcome = await context.append({
    channel: SERVER_CHANNEL,
    id: context.eventId(),
    member: by,
    kind: EVENT.notice,
    body: jsonBytes(said),
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes,
  });
  placed(outcome);
};

/** Puts a notice of the server into a member's inbox: all their devices see it. */
export const notify = async (context: ServerContext, member: MemberId, said: InboxNote): Promise<void> => {
  await context.append({
    channel: inboxOf(member),
    id: context.eventId(),
    member,
    kind: EVENT.notice,
    body: jsonBytes(said),
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes: [],
  });
};
