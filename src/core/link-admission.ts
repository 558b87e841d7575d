// Links that others open: who may have one, and what the first frame on it is for.
import type { Admission, Link, LinkEvents, LinkPeer } from '../ports.ts';
import { HANDSHAKE_MS_MAX, LINK_IDLE_MS, UNPROVEN_STREAMS_MAX } from '../protocol/limits.ts';
import { decodeFrame, type PlainFrame } from '../protocol/peer.ts';
import { getContactByAddress } from '../store/contacts.ts';
import { type Core, refuseLink } from './core.ts';
import { attach } from './links.ts';
import { refuseKey, showsOtherKeys } from './pinned-keys.ts';

/** Whether a proven peer may have a link. Called by the network, synchronously. */
export const admit = (core: Core, peer: LinkPeer): Admission => {
  const contact = getContactByAddress(core.db, peer.address);
  if (contact === undefined) return 'accept';
  if (contact.blocked === 1) return 'accept';
  if (!showsOtherKeys(contact, peer)) return 'accept';
  core.queue.post(() => refuseKey(core, contact.id));
  return 'close';
};

/**
 * The other side opened a link: its first frame says whether it is for talk or for a file. A link that says nothing ends
 * by the handshake's own time limit.
 */
export const attachIncoming = (
  core: Core,
  link: Link,
  serve: (link: Link, frame: StreamFrame) => LinkEvents,
): LinkEvents => {
  const contact = getContactByAddress(core.db, link.peer.address);
  if (contact?.blocked === 1) return ignore(core, link);
  let talk: LinkEvents | undefined;
  let file: LinkEvents | undefined;
  const cancelTimeout = core.clock.after(HANDSHAKE_MS_MAX, () => link.close('handshake.timeout'));
  const cancel = (): void => {
    cancelTimeout();
    core.silent.delete(link);
  };
  if (contact?.state !== 'accepted') core.silent.add(link);
  const [oldest] = core.silent;
  if (core.silent.size > UNPROVEN_STREAMS_MAX) oldest?.close('too many links');
  return {
    frame: (bytes) => {
      const spoken = talk ?? file;
      if (spoken !== undefined) return spoken.frame(bytes);
      cancel();
      const first = streamFrame(bytes);
      if (first !== undefined) {
        file = serve(link, first);
        return;
      }
      talk = attach(core, link);
      talk.frame(bytes);
    },
    drained: () => (talk ?? file)?.drained(),
    closed: (reason) => {
      cancel();
      if (talk !== undefined) return talk.closed(reason);
      refuseLink(core, reason);
      file?.closed(reason);
    },
  };
};

// A blocked dialler is proven, hears nothing and is not listened to, on one link at a time; unblocking ends the link, so
// that it dials again.
const ignore = (core: Core, link: Link): LinkEvents => {
  const cancel = core.clock.after(LINK_IDLE_MS, () => link.close('idle'));
  stopIgnoring(core, link.peer.address);
  core.ignored.add(link);
  return {
    frame: () => {},
    drained: () => {},
    closed: () => {
      cancel();
      core.ignored.delete(link);
    },
  };
};

/** Ends the link of a contact that was blocked. */
export const stopIgnoring = (core: Core, address: string): void => {
  for (const link of [...core.ignored]) if (link.peer.address === address) link.close('done');
};

type StreamFrame = Extract<PlainFrame, { kind: 'stream' }>;

const streamFrame = (bytes: Uint8Array<ArrayBuffer>): StreamFrame | undefined => {
  try {
    const frame = decodeFrame(bytes);
    return frame.kind === 'stream' ? frame : undefined;
  } catch {
    // Not a frame at all: the ordinary path refuses and counts it.
    return undefined;
  }
};
