// Appends a draft that rests on what is known of its channel, anew while that changes; what the log says, as an answer.
import { SottoError } from '../protocol/errors.ts';
import { STALE_TRIES_MAX } from '../protocol/limits.ts';
import type { Placed } from '../protocol/server.ts';
import type { ServerContext } from './context.ts';
import type { Draft, Outcome } from './event-log.ts';

/**
 * Appends the draft that `look` makes of the channel as it is, in its try 0, 1 … Where something was appended meanwhile that
 * may forbid it, it is looked at again. Throws what `look` throws, what the log refuses, and `server.unavailable` for a channel
 * that never keeps still.
 */
export const appendFresh = async (context: ServerContext, look: (tries: number) => Promise<Draft>): Promise<Placed> => {
  for (let tries = 0; tries < STALE_TRIES_MAX; tries++) {
    const draft = await look(tries);
    const outcome = await context.append(draft);
    if (outcome.kind !== 'stale') return placed(outcome);
    context.states.forget(draft.channel);
  }
  throw new SottoError('server.unavailable');
};

/** What the log has done with a draft, as an answer. Throws `event.stale`, and what the log refuses. */
export const placed = (outcome: Outcome): Placed => {
  switch (outcome.kind) {
    case 'committed':
    case 'duplicate':
      return { seq: outcome.seq, epoch: outcome.epoch, at: outcome.at };
    case 'stale':
      throw new SottoError('event.stale', { details: { authoritySeq: outcome.authoritySeq } });
    case 'refused':
      throw refusedBy(outcome);
  }
};

const refusedBy = ({ code, retryAfterMs }: Extract<Outcome, { kind: 'refused' }>): SottoError => {
  const details = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (code) {
    case 'taken':
      return new SottoError('name.taken');
    case 'spent':
      return new SottoError('invite.invalid');
    case 'full':
      return new SottoError('channel.tooMany');
    case 'slow_mode':
      return new SottoError('channel.slow', { details });
    case 'archived':
      return new SottoError('channel.archived');
    case 'no_such_channel':
      return new SottoError('channel.unknown');
    case 'no_such_device':
      return new SottoError('device.unknown');
    case 'no_such_member':
      return new SottoError('member.unknown');
    case 'id_taken':
      return new SottoError('request.invalid', { details: { why: 'id' } });
    case 'gone':
      return new SottoError('file.unknown');
  }
};
