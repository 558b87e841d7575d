// Search in open channels, in an index that is level with the log for whoever asks.
import { SottoError } from '../protocol/errors.ts';
import type { ChannelId } from '../protocol/ids.ts';
import { ROOM_PAGE_BYTES_MAX, SEARCH_BATCHES_MAX } from '../protocol/limits.ts';
import { type Term, termsOf } from '../protocol/search-words.ts';
import type { Answer, RequestParams } from '../protocol/server.ts';
import { type Asker, firstVisible, mayNow, placeIn } from './access.ts';
import type { ServerContext } from './context.ts';
import type { Stored } from './event-log.ts';
import { sendAll } from './live.ts';

/** Events with all words, newest first, then the answer. Throws `request.refused` where the server reads nothing, `request.invalid`, `rate.limited`. */
export const search = async (
  context: ServerContext,
  { peer, member, place: asked }: Asker,
  params: RequestParams<'log.search'>,
  request: number,
): Promise<Answer<'log.search'>> => {
  const channel = params.channel as ChannelId;
  if (asked?.row.encryption !== 'open') throw new SottoError('request.refused');
  const terms = termsOf(params.query);
  if (terms.length === 0 || terms.some(isTooWide))
    throw new SottoError('request.invalid', { details: { why: 'query' } });
  mayNow(context, 'search', member.id, terms.length);
  let isLevel = false;
  for (let batches = 0; !isLevel && batches < SEARCH_BATCHES_MAX; batches++)
    isLevel = !(await context.search.fill(channel));
  // What became level meanwhile is told to whoever may read it now.
  const place = await placeIn(context, member.id, channel, 'read');
  const from = firstVisible(place);
  const before = params.before ?? Number.MAX_SAFE_INTEGER;
  const { seqs, more } = context.search.find(channel, terms, { from, before, limit: params.limit });
  const events: Stored[] = [];
  let bytes = 0;
  for (const seq of seqs) {
    const [event] = await context.log.read(channel, seq - 1, { events: 1, bytes: 1 });
    // What was erased or pruned a moment ago is found no more.
    if (event?.seq === seq && event.body !== null) events.push(event);
    bytes += event?.body?.length ?? 0;
    if (bytes > ROOM_PAGE_BYTES_MAX) break;
  }
  const [head] = await context.log.heads([channel]);
  await sendAll(context, peer, { channel, epoch: head?.epoch ?? 0, request }, events);
  return { events: events.length, more: more || !isLevel || bytes > ROOM_PAGE_BYTES_MAX };
};

// One letter begins so many words that to bring their places together takes seconds in a large index.
const isTooWide = ({ text, prefix }: Term): boolean => prefix && !/[\p{L}\p{N}]{2}[^\p{L}\p{N}]*$/u.test(text);
