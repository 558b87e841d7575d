// Frames that come on a link of talk: decoded, kept within the rate of a contact, and handled in turn with those of others.
import type { Link } from '../ports.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { FRAMES_PER_SECOND_MAX, WINDOW_FRAMES_MAX } from '../protocol/limits.ts';
import { decodeFrame, type PeerFrame } from '../protocol/peer.ts';
import type { Core } from './core.ts';
import { handleFrames } from './frames.ts';
import type { Peer } from './peer.ts';

/** A frame has come on a link. What is no frame, or one that no honest program sends, ends the link. */
export const takeFrame = (core: Core, peer: Peer, link: Link, bytes: Uint8Array<ArrayBuffer>): void => {
  if (peer.link !== link) return;
  try {
    const frame = decodeFrame(bytes);
    peer.inbox.push(frame);
    hears(core, peer, frame);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return link.close(error.code);
  }
  countFrame(core, peer);
  if (isOverRate(core, peer)) holdForSecond(core, peer, link);
  else if (peer.inbox.length >= WINDOW_FRAMES_MAX) link.pause();
  schedule(core, peer);
};

// Who says something lives: on a slow link an answer stands behind all that was said before it, both ways.
const hears = (core: Core, peer: Peer, { kind }: PeerFrame): void => {
  peer.pingsMissed = 0;
  peer.heardAt = core.clock.now();
  if (kind === 'ping' || kind === 'pong') return;
  peer.busyAt = core.clock.monotonic();
  if (peer.unansweredAt !== undefined) peer.unansweredAt = peer.busyAt;
};

// One task of the queue for each contact with waiting frames, so that contacts are served in turn.
const schedule = (core: Core, peer: Peer): void => {
  if (peer.scheduled) return;
  peer.scheduled = true;
  core.queue.post(async () => {
    peer.scheduled = false;
    const { link } = peer;
    try {
      if (await handleFrames(core, peer)) schedule(core, peer);
      else if (!isOverRate(core, peer)) link?.resume();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      link?.close(error.code);
    }
  });
};

const secondOf = (core: Core): number => Math.floor(core.clock.monotonic() / 1000);

const countFrame = (core: Core, peer: Peer): void => {
  const second = secondOf(core);
  if (peer.rate.second !== second) peer.rate = { second, frames: 0 };
  peer.rate.frames++;
};

const isOverRate = (core: Core, peer: Peer): boolean =>
  peer.rate.second === secondOf(core) && peer.rate.frames >= FRAMES_PER_SECOND_MAX;

// A contact who has used up a second's share is read again in the next one. A timer may be early by a part of a millisecond.
const holdForSecond = (core: Core, peer: Peer, link: Link): void => {
  link.pause();
  const ms = 1000 * (secondOf(core) + 1) - core.clock.monotonic();
  peer.cancelHold();
  peer.cancelHold = core.clock.after(ms, () => {
    if (isOverRate(core, peer)) holdForSecond(core, peer, link);
    else if (peer.inbox.length < WINDOW_FRAMES_MAX) link.resume();
  });
};
