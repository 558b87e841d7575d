// Log events as finished WebSocket messages: built once, the same bytes for every reader.
import { sizeOfEvent, writeEvent } from '../protocol/server-frames.ts';
import { emptyBinaryFrame } from '../protocol/websocket.ts';
import type { Stored } from './event-log.ts';

/** One event; `request` 0 is live, else the page that it answers. */
export const frameOf = (channel: string, epoch: number, stored: Stored, request = 0): Uint8Array => {
  const event = {
    request,
    channel,
    epoch,
    seq: stored.seq,
    id: stored.id,
    member: stored.member,
    at: stored.at,
    kind: stored.kind,
    erased: stored.body === null,
    body: stored.body === null ? stored.hash : stored.body,
  };
  const size = sizeOfEvent(event);
  const frame = emptyBinaryFrame(size);
  writeEvent(event, frame, frame.length - size);
  return frame;
};
