// As many messages as were asked for, of as many answers as they need: one that is full ends before its limit.
import { SottoError } from '../protocol/errors.ts';
import type { Message } from '../protocol/rpc-objects.ts';

type Page = { readonly messages: Message[]; readonly more: boolean };

/** Where the next page is: before the first message; after the last; or, newest first, before the last. */
type Way = 'back' | 'on' | 'down';

/** The whole page that `params` ask for, in the order of its answers. */
export const wholePage = async <Wanted extends { readonly limit: number }, Got extends Page>(
  ask: (params: Wanted & { before?: string; after?: string }) => Promise<Got>,
  params: Wanted,
  way: Way,
): Promise<Got> => {
  let page = await ask(params);
  while (page.more && page.messages.length < params.limit) {
    const limit = params.limit - page.messages.length;
    const next = await behind(page.messages, way, (bound) => ask({ ...params, ...bound, limit }));
    if (next === undefined) return page;
    const { messages, more } = next;
    page = {
      ...page,
      more,
      messages: way === 'back' ? [...messages, ...page.messages] : [...page.messages, ...messages],
    };
  }
  return page;
};

/** The next page. Messages may end meanwhile: it is behind the last one that is there still; undefined when none is. */
export const behind = async <Got>(
  messages: readonly Message[],
  way: Way,
  ask: (bound: { before: string } | { after: string }) => Promise<Got>,
): Promise<Got | undefined> => {
  for (const { id } of way === 'back' ? messages : messages.toReversed()) {
    const page = await unlessEnded(ask(way === 'on' ? { after: id } : { before: id }));
    if (page !== undefined) return page;
  }
  return undefined;
};

/** What a call gives; undefined when the message or file that it is about has ended. */
export const unlessEnded = <T>(call: Promise<T>): Promise<T | undefined> =>
  call.catch((error: unknown) => {
    if (error instanceof SottoError && ENDED.has(error.code)) return undefined;
    throw error;
  });
const ENDED: ReadonlySet<string> = new Set(['message.unknown', 'file.unknown']);
