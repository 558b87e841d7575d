// History and live telling: pages of a channel, resumption from cursors, and the cut-over between the two.
import { SottoError } from '../protocol/errors.ts';
import type { ChannelId, EventId } from '../protocol/ids.ts';
import { GAP_MS, RESUME_CHANNELS_MAX, ROOM_PAGE_BYTES_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { Answer, RequestParams, WireHead } from '../protocol/server.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { type Asker, firstVisible, placeIn } from './access.ts';
import type { Peer, ServerContext } from './context.ts';
import type { Cursor, Head, PageLimit, Seq, Stored } from './event-log.ts';
import type { Ticket } from './fanout.ts';
import { frameOf } from './frames.ts';

const PAGE: PageLimit = { events: ROOM_PAGE_MAX, bytes: ROOM_PAGE_BYTES_MAX };

/** A channel's head as the wire tells it. Throws `channel.unknown`. */
export const headObject = async ({ log }: ServerContext, channel: ChannelId): Promise<WireHead> => {
  const [head] = await log.heads([channel]);
  if (head === undefined) throw new SottoError('channel.unknown');
  return wireHead(head);
};

const wireHead = ({ epoch, seq, id, prunedTo }: Head): WireHead => ({ epoch, seq, id, prunedTo });

/** A page of events, then the answer. Who joined a `joined` channel sees nothing from before. */
export const page = async (
  context: ServerContext,
  { peer, place }: Asker,
  params: RequestParams<'log.page'>,
  request: number,
): Promise<Answer<'log.page'>> => {
  const channel = params.channel as ChannelId;
  const from = firstVisible(place);
  const limit: PageLimit = { events: params.limit, bytes: ROOM_PAGE_BYTES_MAX };
  const before = params.at === undefined ? params.before : (await context.log.seqAt(channel, params.at)) + 1;
  const events =
    before === undefined
      ? await context.log.read(channel, Math.max(params.after ?? 0, from - 1), limit)
      : [...(await context.log.readBack(channel, before, limit))].reverse().filter((one) => one.seq >= from);
  const head = await headObject(context, channel);
  await sendAll(context, peer, { channel, epoch: head.epoch, request }, events);
  return { events: events.length, head };
};

/** The control events of a channel after a seq, then the answer. */
export const controls = async (
  context: ServerContext,
  { peer }: Asker,
  params: RequestParams<'log.control'>,
  request: number,
): Promise<Answer<'log.control'>> => {
  const channel = params.channel as ChannelId;
  const { events, more } = await authorityAfter(context, channel, params.after);
  const head = await headObject(context, channel);
  const controls = events.filter(({ kind }) => kind === EVENT.control);
  await sendAll(context, peer, { channel, epoch: head.epoch, request }, controls);
  return { events: controls.length, more, head };
};

// As much as a page has: controls may be as large as any event.
const authorityAfter = async (
  { store }: ServerContext,
  channel: ChannelId,
  after: Seq,
): Promise<{ readonly events: readonly Stored[]; readonly more: boolean }> => {
  const events: Stored[] = [];
  let bytes = 0;
  while (events.length < ROOM_PAGE_MAX && bytes < ROOM_PAGE_BYTES_MAX) {
    const some = await store.listAuthority(channel, events.at(-1)?.seq ?? after, AUTHORITY_ROWS);
    events.push(...some);
    for (const { body } of some) bytes += body?.length ?? 0;
    if (some.length < AUTHORITY_ROWS) return { events, more: false };
  }
  return { events, more: true };
};
const AUTHORITY_ROWS = 20;

/**
 * From now on the reader is told of these channels. What came after each cursor is sent first, in order, when the log still
 * holds it whole; then the reader joins the fan-out in the turn in which nothing was missing.
 */
export const resume = async (
  context: ServerContext,
  { peer, session }: Asker,
  { cursors }: RequestParams<'resume'>,
): Promise<Answer<'resume'>> => {
  const wanted = Object.entries(cursors);
  if (wanted.length > RESUME_CHANNELS_MAX) throw new SottoError('request.invalid', { details: { why: 'channels' } });
  const tickets = wanted.map(([id]) => context.fanout.begin(peer, id));
  try {
    const places: number[] = [];
    for (const [id] of wanted)
      places.push(firstVisible(await placeIn(context, session.member, id as ChannelId, 'read')));
    const channels: Answer<'resume'>['channels'] = {};
    for (const [i, [id, [epoch, seq, last]]] of wanted.entries()) {
      const cursor: Cursor = { epoch, seq, id: last as EventId | null };
      const ticket = tickets[i] as Ticket<Peer>;
      channels[id] = await resumeOne(context, ticket, { cursor, from: places[i] ?? 0 });
    }
    return { channels };
  } finally {
    for (const ticket of tickets) {
      context.fanout.end(ticket);
      context.hub.idle(ticket.channel as ChannelId);
    }
  }
};

// `from`: nobody reads from before their own join by a cursor of long ago.
const resumeOne = async (
  context: ServerContext,
  ticket: Ticket<Peer>,
  { cursor, from }: { readonly cursor: Cursor; readonly from: number },
): Promise<{ readonly recovered: boolean; readonly head: WireHead }> => {
  const { hub, fanout, log } = context;
  const [peer, channel] = [ticket.reader, ticket.channel as ChannelId];
  let at = cursor;
  let first: { readonly recovered: boolean; readonly head: WireHead } | undefined;
  for (;;) {
    await hub.follow(channel);
    if (ticket.isOver) throw new SottoError('channel.notMember');
    const known = at.seq + 1 >= from ? hub.since(channel, at) : undefined;
    if (known !== undefined) {
      let waited = false;
      for (const frame of known.frames)
        if (!peer.send(frame)) {
          waited = true;
          await context.room(peer);
        }
      at = known.to;
      if (waited && peer.isOpen) continue;
      // In this very turn: nothing can come between the last frame and the subscription.
      if (peer.isOpen) fanout.subscribe(ticket);
      return first ?? { recovered: true, head: await headObject(context, channel) };
    }
    const [resumed] = await log.resume([{ channel, ...at }], PAGE);
    if (resumed === undefined) throw new SottoError('channel.unknown');
    if (ticket.isOver) throw new SottoError('channel.notMember');
    const head = wireHead(resumed.head);
    first ??= { recovered: resumed.recovered, head };
    await context.turn();
    if (resumed.recovered && at.seq + 1 < from) {
      // All that lies between is not for them: however much it is, it is passed over at once.
      const [before] = await log.read(channel, from - 2, { events: 1, bytes: 1 });
      if (before?.seq === from - 1) at = { epoch: head.epoch, seq: before.seq, id: before.id };
      if (at.seq === from - 1) continue;
    }
    const events = resumed.recovered ? resumed.events.filter(({ seq }) => seq >= from) : [];
    await sendAll(context, peer, { channel, epoch: head.epoch, request: 0 }, events);
    if (!peer.isOpen) return first;
    const last = resumed.recovered ? resumed.events.at(-1) : undefined;
    // Level with the log, but this node does not know it yet.
    if (resumed.recovered && last === undefined) await new Promise<void>((done) => context.clock.after(GAP_MS, done));
    at = last === undefined ? resumed.head : { epoch: head.epoch, seq: last.seq, id: last.id };
  }
};

type Page = { readonly channel: ChannelId; readonly epoch: number; readonly request: number };

/** Sends events as frames, many at a time, as fast as they are taken. */
export const sendAll = async (
  context: ServerContext,
  peer: Peer,
  { channel, epoch, request }: Page,
  events: readonly Stored[],
): Promise<void> => {
  let [frames, bytes]: [Uint8Array[], number] = [[], 0];
  for (const [i, event] of events.entries()) {
    const frame = frameOf(channel, epoch, event, request);
    frames.push(frame);
    bytes += frame.length;
    if (bytes < SENT_AT_ONCE_BYTES && i < events.length - 1) continue;
    if (!peer.send(Buffer.concat(frames, bytes))) await context.room(peer);
    [frames, bytes] = [[], 0];
  }
};
const SENT_AT_ONCE_BYTES = 48 * 1024;
