// A channel of a server that was put back: what both still have stays, what came after that there is fetched, nothing is skipped.
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type EventId, idBytes, idOf } from '../protocol/ids.ts';
import { ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { WireHead } from '../protocol/server.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { forgetChannelDevices, patchChannel } from '../store/channels.ts';
import { forgetHashes, forgetLog, getHeld, topicAt } from '../store/room-events.ts';
import { forgetPlaces, lastSealedCount } from '../store/room-outbox.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubt } from './room-doubts.ts';
import { hashOfBody } from './room-open.ts';
import { eraseAgain, removedSince } from './room-returned.ts';
import { theChannel } from './room-rows.ts';

type Place = { readonly seq: number; readonly id: EventId };

/**
 * Goes back to the last event that the other log and we both have; what we held beyond it is a visible gap. It is the other log
 * that is held once its epoch is kept: until then it is gone back again. Throws `server.*`.
 */
export const goBack = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  head: WireHead,
): Promise<void> => {
  const shared = await lastShared(core, connection, channelRow, head);
  await core.queue.call(() =>
    commit(core, (changes) => {
      const row = theChannel(core.db, channelRow);
      const seq = shared?.seq ?? 0;
      const isLess = seq < row.lastSeq;
      if (isLess) {
        connection.visit.removed.set(channelRow, removedSince(core, connection, channelRow, seq));
        eraseAgain(core, changes, connection, channelRow, seq);
        const gap = { fromSeq: seq + 1, toSeq: row.lastSeq, reason: 'the server has another history than before' };
        doubt(core, changes, channelRow, gap);
      }
      forgetLog(core.db, channelRow, seq);
      patchChannel(core.db, channelRow, {
        lastSeq: seq,
        lastId: shared === undefined ? null : idBytes(shared.id),
        ...(isLess
          ? {
              readSeq: Math.min(row.readSeq, seq),
              topic: topicAt(core.db, channelRow, seq),
            }
          : {}),
      });
      beginLog(core, channelRow);
    }),
  );
};

/** Forgets what was held after a place of another log, where nobody knows from where on the rest differs. Inside a transaction. */
export const forgetOthers = (core: Core, channelRow: number, after: number): void => {
  forgetLog(core.db, channelRow, after);
  forgetHashes(core.db, channelRow);
  beginLog(core, channelRow);
};

// Counts of devices come again; whom our key was given to is in inboxes that were put back too, and its epoch may come again
// with other members.
// What got no answer, of this program or of one that died, may have been read in the log that is no more: its count is used.
const beginLog = (core: Core, channelRow: number): void => {
  const { sent, epoch } = theChannel(core.db, channelRow);
  forgetChannelDevices(core.db, channelRow);
  forgetPlaces(core.db, channelRow);
  patchChannel(core.db, channelRow, {
    senderKey: null,
    sent: Math.max(sent + (epoch === 0 ? 0 : 1), lastSealedCount(core.db, channelRow)),
  });
};

const lastShared = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  head: WireHead,
): Promise<Place | undefined> => {
  const row = theChannel(core.db, channelRow);
  for (let before = Math.min(row.lastSeq, head.seq) + 1; before > 1; ) {
    const { events } = await connection.client.events('log.page', {
      channel: idOf(row.channelId),
      before,
      limit: ROOM_PAGE_MAX,
    });
    const found = events.findLast((event) => isHeld(core, channelRow, event));
    if (found !== undefined) return { seq: found.seq, id: found.id as EventId };
    const [first] = events;
    if (first === undefined || first.seq <= row.firstSeq) return undefined;
    if (first.seq >= before) throw new ProtocolError('frame.invalid', { details: { why: 'page' } });
    before = first.seq;
  }
  return undefined;
};

// Under its id something may have been sealed anew, which others have seen in its place.
const isHeld = (core: Core, channelRow: number, event: LogEvent): boolean => {
  const held = getHeld(core.db, channelRow, event.seq);
  if (held === undefined || held.hash === null || idOf(held.eventId) !== event.id) return false;
  return isEqual(held.hash, hashOfBody(event));
};
