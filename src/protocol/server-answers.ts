// What a server says, read by the table of its requests and notices.
import { ProtocolError } from './errors.ts';
import { type Answer, NOTICES, type Notice, type NoticeName, REQUESTS, type RequestName } from './server.ts';

/** The answer to a request, out of its `ok`. Throws ProtocolError `frame.invalid`. */
export const decodeAnswer = <Name extends RequestName>(name: Name, ok: unknown): Answer<Name> => {
  const parsed = REQUESTS[name].ok.safeParse(ok);
  if (!parsed.success) throw new ProtocolError('frame.invalid', { details: { why: `answer of ${name}` } });
  return parsed.data as Answer<Name>;
};

/** What is told unasked; undefined for what is not known. Throws ProtocolError `frame.invalid`. */
export const decodeNotice = (said: { readonly notice: string }): Notice | undefined => {
  if (!Object.hasOwn(NOTICES, said.notice)) return undefined;
  const parsed = NOTICES[said.notice as NoticeName].safeParse(said);
  if (!parsed.success) throw new ProtocolError('frame.invalid', { details: { why: 'notice' } });
  return { notice: said.notice, ...parsed.data } as Notice;
};
