// The part of a server's wire that is about calls: who is in them, tickets for call links, and streams that are announced.
import * as z from 'zod';
import { base64, id, key32 } from './fields.ts';
import { CALL_PAGE_MAX, CALL_PEOPLE_MAX, CALL_SEALED_BYTES_MAX, CALL_SEALED_MAX } from './limits.ts';
import { inChannel, MEMBER, type Needs, none, request, time } from './server-objects.ts';

/** What is between those of a channel, or two members. */
export const CALL: Needs = { role: 'member', channel: 'call' };

const stream = z.string().regex(/^[0-9a-f]{16}$/);
const sealed = base64(CALL_SEALED_BYTES_MAX).min(1);
/** What somebody in a call has switched: who is deafened is sent nothing, and who is either is not heard. */
const switches = { muted: z.boolean(), deafened: z.boolean() };

/** A device in a call; `linked` is false while it has no call link. */
const person = z.object({ member: id, device: id, ...switches, linked: z.boolean() });
/** A call of a channel, or with the member of this id; over when nobody is in it. */
const call = z.object({ call: id, channel: id, startedAt: time, people: z.array(person).max(CALL_PEOPLE_MAX) });
export type ServerCall = z.infer<typeof call>;

export const CALL_REQUESTS = {
  'call.list': request(
    'Calls of channels that this connection is told of, and those with me, a page at a time.',
    MEMBER,
    z.object({ after: id.optional() }),
    z.object({ calls: z.array(call).max(CALL_PAGE_MAX), more: z.boolean() }),
  ),
  'call.join': request(
    'Comes into the call of a channel, or with a member, and starts it when there is none; again, from the same device, for another ticket. A ticket serves once, within 10 s: it is the first message of a call link.',
    CALL,
    inChannel.extend({
      muted: z.boolean().default(false),
      deafened: z.boolean().default(false),
      through: z.enum(['clear', 'tor']).default('clear'),
    }),
    z.object({ call, ticket: key32 }),
  ),
  'call.set': request('Changes what I have switched.', CALL, inChannel.extend(switches), none),
  'call.leave': request('Leaves a call; its link ends.', CALL, inChannel, none),
  'call.stream': request(
    'Lets frames of a stream of mine through from now on, beside those of the one before, and passes its announcement on: to single devices in the call, to each once, or to all of them.',
    CALL,
    inChannel.extend({
      stream,
      to: z
        .array(z.object({ device: id.optional(), sealed }))
        .max(CALL_SEALED_MAX)
        .refine((all) => new Set(all.map(({ device }) => device)).size === all.length),
    }),
    none,
  ),
} as const;

/** What is told of calls: who is in one now, the announcement of a stream, and that too many speak for one more. */
export const CALL_NOTICES = {
  call,
  'call.stream': z.object({ channel: id, call: id, member: id, device: id, stream, sealed }),
  'call.busy': z.object({ channel: id, call: id }),
} as const;
