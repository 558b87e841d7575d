// One connection's conversation: greeting, log-in, then requests, each checked against the table of protocol/server.ts.

import { type ErrorCode, expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import type { ChannelId, MemberId, RowId } from '../protocol/ids.ts';
import { ASKED_AT_ONCE_MAX } from '../protocol/limits.ts';
import { type AnyRequest, decodeRequest, type Needs, REQUESTS, type RequestName } from '../protocol/server.ts';
import { decodeBinary, type Part, type Publish } from '../protocol/server-frames.ts';
import { CLOSE, textFrame } from '../protocol/websocket.ts';
import { type Asker, mayCall, mayNow, type Place, placeIn, placeWith } from './access.ts';
import type { Peer, ServerContext } from './context.ts';
import { endTelling } from './endings.ts';
import type { Outcome } from './event-log.ts';
import { takePart } from './files.ts';
import { HANDLERS } from './handlers.ts';
import type { Waiter } from './lane.ts';
import { greet, login, logout } from './login.ts';
import { checkPublish, contentDraft, contentPlaced, knownWriter, publish } from './publish.ts';
import type { Standing } from './standings.ts';

/** A text message of a connection: a request. A bug ends the process; everything else is an answer, or ends the connection. */
export const onText = (context: ServerContext, peer: Peer, text: string): void => {
  let request: AnyRequest;
  try {
    request = decodeRequest(text);
  } catch (error) {
    return refuseMessage(context, peer, error);
  }
  answer(context, peer, request.id, () => ask(context, peer, request));
};

/** A binary message of a connection: a publish, or bytes of an upload. */
export const onBinary = (context: ServerContext, peer: Peer, bytes: Uint8Array): void => {
  const message = decodeBinary(bytes);
  if (message.type === 'event') throw new ProtocolError('frame.invalid', { details: { why: 'event' } });
  if (message.type === 'part')
    return answer(context, peer, message.request, () => uploadInTurn(context, peer, message));
  const { state } = peer;
  // Nothing of this connection that came before may still be looked at.
  const isNext = state?.phase === 'in' && state.endedBy === undefined && peer.isOpen && !context.publishing.has(peer);
  const standing = isNext ? knownWriter(context, state.member, message) : undefined;
  if (!isNext || standing === undefined)
    return answer(context, peer, message.request, () => publishInTurn(context, peer, message));
  asked(context, peer);
  const publishing = new Publishing(context, peer, message.request, standing);
  try {
    checkPublish(context, state.member, message);
    context.submit(contentDraft(context, state, standing, message), publishing);
  } catch (error) {
    publishing.failed(error);
  }
};

/** A content that waits for the log, without anything else: a server has thousands of them at once. */
class Publishing implements Waiter {
  readonly #context: ServerContext;
  readonly #peer: Peer;
  readonly #request: number;
  readonly #standing: Standing;

  constructor(context: ServerContext, peer: Peer, request: number, standing: Standing) {
    this.#context = context;
    this.#peer = peer;
    this.#request = request;
    this.#standing = standing;
  }

  placed(outcome: Outcome): void {
    let ok: object;
    try {
      ok = contentPlaced(this.#context, this.#standing, outcome);
    } catch (error) {
      return this.failed(error);
    }
    this.#context.counts.add('publishes');
    answered(this.#context, this.#peer, { id: this.#request, ok });
  }

  failed(error: unknown): void {
    refused(this.#context, this.#peer, this.#request, error);
  }
}

// The turn of the next publish comes when this one has its place among those that wait for the log.
const publishInTurn = async (context: ServerContext, peer: Peer, message: Publish): Promise<object> => {
  checkPublish(context, sessionOf(peer).member, message);
  const { placed } = await context.publishing.run(peer, async () =>
    publish(context, await present(context, peer), message),
  );
  const ok = await placed;
  context.counts.add('publishes');
  return ok;
};

const uploadInTurn = (context: ServerContext, peer: Peer, part: Part): Promise<object> => {
  sessionOf(peer);
  return context.uploading.run(part.upload as RowId, async () => takePart(context, await present(context, peer), part));
};

/** A connection is gone. */
export const onClosed = (context: ServerContext, peer: Peer): void => {
  endTelling(context, peer);
  logout(context, peer);
};

const ask = async (context: ServerContext, peer: Peer, request: AnyRequest): Promise<object> => {
  const session = peer.state ?? { phase: 'new' };
  if (request.name === 'hello') {
    if (session.phase !== 'new') throw new SottoError('request.refused');
    return greet(context, peer, request.params);
  }
  if (request.name === 'login') {
    if (session.phase !== 'greeted') throw new SottoError('request.refused');
    return login(context, peer, session, request.params);
  }
  // What one connection is sent at length it is sent one after another: no more than one page waits for who does not read.
  return SENT_AT_LENGTH.has(request.name)
    ? context.sending.run(peer, () => serve(context, peer, request))
    : serve(context, peer, request);
};

const SENT_AT_LENGTH: ReadonlySet<RequestName> = new Set([
  'log.page',
  'log.control',
  'log.search',
  'resume',
  'blob.get',
]);

type Served = Exclude<AnyRequest, { readonly name: 'hello' | 'login' }>;

const serve = async (context: ServerContext, peer: Peer, request: Served): Promise<object> => {
  const { needs } = REQUESTS[request.name];
  const asker = await admit(context, peer, needs, 'channel' in request.params ? request.params.channel : undefined);
  mayNow(context, 'request', asker.session.member);
  const handler = HANDLERS[request.name] as (
    context: ServerContext,
    asker: Asker,
    params: unknown,
    id: number,
  ) => Promise<object>;
  return handler(context, asker, request.params, request.id);
};

const sessionOf = (peer: Peer): Asker['session'] => {
  if (peer.state?.phase !== 'in') throw new SottoError('login.needed');
  return peer.state;
};

/** The member at the other end, as they are now. Throws `login.needed` or `server.banned`. */
const present = async (context: ServerContext, peer: Peer) => {
  const session = sessionOf(peer);
  // Who was banned, or whose device was revoked, is disconnected with the commit: what they have asked before counts no more.
  const member =
    peer.isOpen && session.endedBy === undefined ? await context.standings.member(session.member) : undefined;
  if (member === undefined || member.banned || member.erasedAt !== null) throw new SottoError('server.banned');
  return { peer, session, member };
};

const admit = async (context: ServerContext, peer: Peer, needs: Needs, channel: string | undefined): Promise<Asker> => {
  const { session, member } = await present(context, peer);
  if (needs.role === 'admin' && member.role === 'member') throw new SottoError('request.notAllowed');
  if (needs.role === 'owner' && member.role !== 'owner') throw new SottoError('request.notAllowed');
  if (needs.channel === undefined || channel === undefined) return { peer, session, member, place: undefined };
  const place = await placeFor(context, needs.channel, member.id, channel as ChannelId);
  return { peer, session, member, place };
};

const placeFor = (
  context: ServerContext,
  right: NonNullable<Needs['channel']>,
  member: MemberId,
  channel: ChannelId,
): Promise<Place | undefined> => {
  if (right === 'call') return mayCall(context, member, channel);
  return right === 'file' ? placeWith(context, member, channel) : placeIn(context, member, channel, right);
};

const answer = (context: ServerContext, peer: Peer, id: number, ask: () => Promise<object>): void => {
  asked(context, peer);
  // What throws at once is an answer like any other.
  (async () => ask())().then(
    (ok) => answered(context, peer, { id, ok }),
    (error: unknown) => refused(context, peer, id, error),
  );
};

const answered = (context: ServerContext, peer: Peer, message: object): void => {
  over(context, peer);
  context.counts.add('requests');
  say(peer, message);
};

const refused = (context: ServerContext, peer: Peer, id: number, error: unknown): void => {
  over(context, peer);
  const known = expectedError(error);
  if (known === undefined) return context.bug(error);
  count(context, peer, known.code);
  say(peer, { id, error: wireError(known) });
};

// What has ended its own session was waiting for this.
const say = (peer: Peer, message: object): void => {
  send(peer, message);
  const session = peer.state;
  if (session?.phase === 'in' && session.endedBy !== undefined && session.ending === 0)
    peer.close(CLOSE.policy, session.endedBy);
};

// A connection that asks faster than it is answered is not read meanwhile.
const asked = ({ asking }: ServerContext, peer: Peer): void => {
  asking.count++;
  if (++peer.asking === ASKED_AT_ONCE_MAX) peer.pause();
};

const over = ({ asking }: ServerContext, peer: Peer): void => {
  asking.count--;
  if (--peer.asking === ASKED_AT_ONCE_MAX - 1 && peer.isOpen) peer.resume();
};

// A connection whose log-in was refused is one log-in that has failed, whatever else it asks for.
const count = ({ counts }: ServerContext, peer: Peer, code: ErrorCode): void => {
  counts.add('requests');
  counts.add('refusals');
  if (code === 'rate.limited') counts.add('rateLimited');
  if (peer.state?.phase !== 'spent' || peer.state.isCounted === true) return;
  counts.add('loginFailures');
  peer.state = { phase: 'spent', isCounted: true };
};

const refuseMessage = (context: ServerContext, peer: Peer, error: unknown): void => {
  if (!(error instanceof ProtocolError)) throw error;
  const { request } = error.details;
  if (typeof request !== 'number') throw error;
  const code: ErrorCode = error.details.why === 'unknown' ? 'request.unknownKind' : 'request.invalid';
  count(context, peer, code);
  send(peer, { id: request, error: { code } });
};

const wireError = (error: SottoError): object => {
  const { retryAfterMs, ...details } = error.details;
  return {
    code: error.code,
    ...(typeof retryAfterMs === 'number' ? { retryAfterMs: Math.ceil(retryAfterMs) } : {}),
    ...(Object.keys(details).length === 0 ? {} : { details }),
  };
};

/** Sends one JSON message. */
const send = (peer: Peer, message: object): void => {
  peer.send(textFrame(JSON.stringify(message)));
};
