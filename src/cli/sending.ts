// A text on its way: what is known of it while it is waited for, and why it did not come as far as was asked.
import type { RpcClient } from '../client/rpc-client.ts';
import { isErrorCode, SottoError, textOf } from '../protocol/errors.ts';
import type { ParamsIn, Result } from '../protocol/rpc.ts';
import type { Message, MessageState } from '../protocol/rpc-objects.ts';
import { asWord } from '../protocol/safe-text.ts';
import type { CommandContext } from './command.ts';
import { orGoesOn } from './give.ts';
import { messageText, shortId } from './show.ts';

/** What can be waited for. */
export const WAIT_WORDS = ['queued', 'sent', 'delivered', 'read'] as const satisfies readonly MessageState[];

const MENDED_BY_NO_WAIT: ReadonlySet<string> = new Set([
  'tor.offline',
  'contact.blocked',
  'contact.paused',
  'server.certificateChanged',
  'server.keyChanged',
]);

/** Why a message did not come as far as was asked. */
export const notReached = (
  { id, state, reason, deletedAt, conversation }: Message,
  { code, to, wait }: { readonly code: string | undefined; readonly to: string; readonly wait: string },
): SottoError => {
  const known = code !== undefined && isErrorCode(code) ? code : 'wait.timeout';
  if (known === 'message.failed')
    return new SottoError(known, {
      message: `The message failed: ${reason}${deletedAt === undefined ? `. sotto resend ${id} sends it again` : ''}`,
    });
  if (state === 'failed') return new SottoError(known);
  if (known === 'contact.blocked')
    return new SottoError(known, {
      message: `${to} is blocked: sotto contact unblock ${asWord(to)} lets them in again. The message stays in the outbox`,
    });
  if (MENDED_BY_NO_WAIT.has(known))
    return new SottoError(known, { message: `${textOf(known)}. The message stays in the outbox` });
  if (state === 'sent' && isOfMember(conversation))
    return new SottoError(known, {
      message: `It is sent, not ${wait} yet: the server has it, and ${conversation} has not taken it`,
    });
  if (state === 'delivered')
    return new SottoError(known, {
      message: `It is delivered, and ${conversation} has not told that it was read: without read receipts they never do`,
    });
  return new SottoError(known, {
    message: `It is ${state}, not ${wait} yet; it stays in the outbox. sotto why ${asWord(to)} explains`,
  });
};

// Contacts are not called so.
const isOfMember = (conversation: string): boolean => /^[^#].*@./.test(conversation);

// What is sent to a contact waits here for its receipt; a server has what is sent to a member.
const goesOn = ({ id, state, conversation }: Message): string =>
  state === 'queued' || (state === 'sent' && !isOfMember(conversation))
    ? `It stays in the outbox; sotto cancel ${shortId(id)} takes it back.`
    : `It is ${state}; sotto delete ${shortId(id)} deletes it for everybody.`;

/**
 * Sends. Who ends the wait for its state is told how to take back what stays in the outbox, or to delete what has left it; when
 * the daemon ends before, what is known of the message is shown. Throws `message.unsure` then.
 */
export const sendWith = async (
  context: CommandContext,
  client: RpcClient,
  params: ParamsIn<'message.send'>,
): Promise<Result<'message.send'>> => {
  const { wait = 'queued' } = params;
  let known: Message | undefined;
  if (wait !== 'queued') {
    context.out.progress(`waiting until it is ${wait}`);
    // What is waited for tells its id and its state in events: the answer comes at the end.
    client.onEvent = (event) => {
      if (!('message' in event) || event.message === undefined || !('body' in event.message)) return;
      const isNew = known === undefined && event.kind === 'message.queued' && event.message.body === params.text;
      if (isNew || event.message.id === known?.id) known = event.message;
    };
    await client.call('event.listen', { kinds: WAIT_WORDS.map((state) => `message.${state}` as const) });
  }
  try {
    return await orGoesOn(context, client.call('message.send', params), () =>
      known === undefined ? undefined : goesOn(known),
    );
  } catch (error) {
    if (known !== undefined) context.out.item(known, messageText);
    throw cutOff(error, known);
  }
};

// Who sends it again because the daemon ended sends it twice.
const cutOff = (error: unknown, known: Message | undefined): unknown => {
  if (!(error instanceof SottoError) || error.code !== 'daemon.gone') return error;
  if (known === undefined) return new SottoError('message.unsure', { cause: error });
  return new SottoError('message.unsure', {
    message: `It was ${known.state} when the daemon ended${known.state === 'queued' ? ', and stays in the outbox' : ''}: it goes on with the next daemon`,
    details: { message: known.id },
    cause: error,
  });
};
