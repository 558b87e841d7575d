// What goes with a member who erases themself, after the event that says so; what a death or a full disk left goes later.
import { inboxOf, type MemberId } from '../protocol/ids.ts';
import type { ServerContext } from './context.ts';
import { pages } from './pages.ts';

type Kept = Pick<ServerContext, 'store' | 'log'>;

/** Removes what the server keeps for an erased member, their inbox too. Again is harmless. */
export const eraseBelongings = async ({ store, log }: Kept, member: MemberId): Promise<void> => {
  await store.removeBelongings(member);
  await log.prune(inboxOf(member), Number.MAX_SAFE_INTEGER);
};

/** The same for every erased member of whom something is left. */
export const finishErasures = async (kept: Kept): Promise<void> => {
  for await (const page of pages(kept.store.listErasedWithBelongings, (member) => member))
    for (const member of page) await eraseBelongings(kept, member);
};
