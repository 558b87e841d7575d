// When messages that end by the clock begin to: each part of the messenger starts their timers here.
import { type MessageRow, patchMessage } from '../store/messages.ts';
import type { Changes, Core } from './core.ts';

/** Starts the timer of a message, or starts it anew; one that does not end has none. */
export const startTimer = (
  { db }: Core,
  changes: Changes,
  { id, expiresMs }: Pick<MessageRow, 'id' | 'expiresMs'>,
): void => {
  if (expiresMs === null) return;
  patchMessage(db, id, { expiresAt: changes.at + expiresMs });
  changes.expiry = true;
};

/** A message of mine that waits to go: its time runs already, but for one that is to be read before. */
export const startWaiting = (
  core: Core,
  changes: Changes,
  message: Pick<MessageRow, 'id' | 'expiresMs' | 'expiresFrom'>,
): void => {
  if (message.expiresFrom === 'delivery') startTimer(core, changes, message);
};

/** A message of mine goes nowhere, says why, and ends in its time all the same. */
export const endUnsent = (core: Core, changes: Changes, message: MessageRow, reason: string): void => {
  patchMessage(core.db, message.id, { state: 'failed', reason });
  if (message.expiresAt === null) startTimer(core, changes, message);
};
