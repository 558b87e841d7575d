// Whether a link still lives: pings, and the end of one that does not answer or is not used.
import {
  ACK_MS_MAX,
  ACK_TALKING_MS_MAX,
  LINK_DOUBT_MS,
  LINK_IDLE_MS,
  LINK_PING_MISSED_MAX,
  LINK_PING_MS,
} from '../protocol/limits.ts';
import { depthOfOutbox } from '../store/outbox.ts';
import type { Core } from './core.ts';
import { type Peer, sendFrame } from './peer.ts';

const HEARTBEAT_MS = 5_000;

/** Asks the other end for a pong; two that stay out end the link. */
export const sendPing = (core: Core, peer: Peer): void => {
  peer.pingsMissed++;
  peer.pingSentAt = core.clock.monotonic();
  sendFrame(peer, { kind: 'ping', n: peer.pingsMissed });
};

/** Who dials although we have a link may have lost it: it must answer soon. */
export const doubt = (core: Core, peer: Peer): void => {
  const { link } = peer;
  let isOver = false;
  peer.pongWaiters.push(() => {
    isOver = true;
  });
  // However often they dial: pings that are out count as missed.
  if (peer.pingsMissed === 0) sendPing(core, peer);
  core.clock.after(LINK_DOUBT_MS, () =>
    core.queue.post(() => {
      if (peer.link === link && !isOver) link?.close('no answer');
    }),
  );
};

// Nothing has come for a while, or only what is no acknowledgement for long.
const isUnanswered = ({ unansweredAt, ackedAt }: Peer, now: number): boolean =>
  unansweredAt !== undefined && (now - unansweredAt > ACK_MS_MAX || now - ackedAt > ACK_TALKING_MS_MAX);

/** Every few seconds: a frame nobody acknowledged, a ping nobody answered, or ten quiet minutes end the link. */
export const heartbeat = (core: Core, peer: Peer): void => {
  const { link } = peer;
  const pingMs = LINK_PING_MS * (0.75 + core.random.fraction() / 2);
  let pingAt = core.clock.monotonic() + pingMs;
  const beat = (): void => {
    if (peer.link !== link || link === undefined) return;
    const now = core.clock.monotonic();
    if (isUnanswered(peer, now)) return link.close('no acknowledgement');
    if (peer.pingsMissed >= LINK_PING_MISSED_MAX) return link.close('no answer');
    if (now - peer.busyAt > LINK_IDLE_MS && depthOfOutbox(core.db, peer.contactId).depth === 0)
      return link.close('idle');
    if (now >= pingAt) {
      pingAt = now + pingMs;
      sendPing(core, peer);
    }
    peer.cancelHeartbeat = core.clock.after(HEARTBEAT_MS, beat);
  };
  peer.cancelHeartbeat = core.clock.after(HEARTBEAT_MS, beat);
};
