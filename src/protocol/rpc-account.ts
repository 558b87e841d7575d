// The methods of the local wire that are about an open account.
import * as z from 'zod';
import { FILE_NAME_BYTES_MAX, NOTE_CHARS_MAX, QUERY_CHARS_MAX, WAIT_MS_MAX } from './limits.ts';
import {
  bytes,
  emoji,
  line,
  milliseconds,
  none,
  note,
  oneEmoji,
  path,
  personName,
  reference,
  time,
} from './rpc-fields.ts';
import {
  account,
  contact,
  conversation,
  expiry,
  file,
  inConversation,
  message,
  method,
  ofContact,
  ofFile,
  ofMessage,
  page,
  settingRow,
  settingValue,
  wait,
  waited,
  why,
} from './rpc-objects.ts';
import { ROOM_METHODS } from './rpc-rooms.ts';

/** Methods of an open account; `core` answers them. */
export const ACCOUNT_METHODS = {
  'account.show': method('My address in every form.', none, account),
  'account.nickname': method(
    'Changes the nickname that new contacts see.',
    z.object({ nickname: personName }),
    account,
  ),
  'contact.add': method(
    'Sends a contact request to an address in any form; `held` is a sentence that says why it waits, where that is known at once; `code` is the error that says why they have not accepted while it was waited for.',
    z.object({
      address: z.string().min(1).max(4096),
      name: personName.optional(),
      note: note.optional(),
      wait: z.enum(['accepted']).optional(),
      ...wait,
    }),
    contact.extend({ held: z.string().optional(), code: z.string().optional() }),
  ),
  'contact.list': method(
    'Contacts by name; `all` with removed ones and open requests.',
    z.object({ all: z.boolean().optional() }),
    z.array(contact),
  ),
  'contact.requests': method('Open requests from others.', none, z.array(contact)),
  'contact.show': method('One contact with safety number and the history of its keys.', ofContact, contact),
  'contact.accept': method('Accepts a request.', ofContact.extend({ name: personName.optional() }), contact),
  'contact.reject': method('Closes a request; the other side is told nothing.', ofContact, contact),
  'contact.verify': method(
    'Marks the safety number as compared, or takes that back; `scanned`, the text of their QR code, is compared first.',
    ofContact.extend({ verified: z.boolean(), scanned: z.string().max(1024).optional() }),
    contact,
  ),
  'contact.rename': method('Changes the name a contact has here.', ofContact.extend({ name: personName }), contact),
  'contact.note': method(
    'Keeps a note about a contact; empty removes it.',
    ofContact.extend({ note: line(NOTE_CHARS_MAX) }),
    contact,
  ),
  'contact.block': method('Lets nothing from a contact in, and says nothing.', ofContact, contact),
  'contact.unblock': method('Lets a blocked contact in again.', ofContact, contact),
  'contact.remove': method(
    'Ends the contact and erases its keys; `erase` its history too.',
    ofContact.extend({ erase: z.boolean().optional() }),
    contact,
  ),
  'contact.why': method('Explains what is in the way of a contact.', ofContact, why),
  'contact.retry': method('Dials a contact now.', ofContact, why),
  'contact.ping': method(
    'Asks the program at the other end of the link to answer, and times it; a minute at most unless `timeoutMs` says so.',
    ofContact.extend({ timeoutMs: milliseconds.max(WAIT_MS_MAX).optional() }),
    z.object({ contact: z.string(), rttMs: z.number() }),
  ),
  'message.send': method(
    'Puts a text into the outbox, and waits for a state when asked. Where it was not reached, `code` is the error that says why; `held` is a sentence that says why it waits, where that is known at once. `thread` is for channels and members.',
    inConversation.extend({
      text: z.string(),
      replyTo: reference.optional(),
      thread: reference.optional(),
      wait: z.enum(['queued', 'sent', 'delivered', 'read']).optional(),
      ...expiry,
      ...wait,
    }),
    z.object({ message, reached: z.boolean(), code: z.string().optional(), held: z.string().optional() }),
  ),
  'message.list': method(
    'A page of a conversation, oldest first; the newest page without a bound. `around` a message stands without other bounds: `before` and `after` are then where it goes on. `sentAt` of a message in a channel is when the server took it, which also orders a look back: while it waits, it is when it was written.',
    inConversation.extend({
      ...page,
      at: time.optional(),
      around: reference.optional(),
      thread: reference.optional(),
      ...wait,
    }),
    z.object({
      messages: z.array(message),
      more: z.boolean(),
      before: z.string().optional(),
      after: z.string().optional(),
      /** What of a room is known to be missing here, in words. */
      missing: z.array(z.string()).optional(),
    }),
  ),
  'message.unread': method(
    'Unread messages of all conversations or one, oldest first.',
    z.object({ conversation: reference.optional(), ...page, markRead: z.boolean().optional(), ...wait }),
    z.object({
      messages: z.array(message),
      more: z.boolean(),
      /** What of the rooms that were looked through is not here, in words. */
      missing: z.array(z.string()).optional(),
    }),
  ),
  'message.show': method('One message with its versions.', ofMessage, message),
  'message.edit': method('Changes the text of a message of mine.', ofMessage.extend({ text: z.string() }), message),
  'message.delete': method(
    'Deletes a message of mine for everybody, in a channel as a moderator anyone’s; `local` only here, of anyone.',
    ofMessage.extend({ local: z.boolean().optional() }),
    message,
  ),
  'message.react': method('Adds a reaction.', ofMessage.extend({ emoji: oneEmoji }), message),
  'message.unreact': method('Takes a reaction back.', ofMessage.extend({ emoji }), message),
  'message.pin': method(
    'Pins a message for everybody in the conversation; in a channel moderators pin.',
    ofMessage,
    message,
  ),
  'message.unpin': method('Takes a pin back.', ofMessage, message),
  'message.resend': method(
    'Puts a failed message into the outbox again; one that was recalled gets another id.',
    ofMessage,
    message,
  ),
  'message.cancel': method(
    'Takes a message back that was not delivered yet: it has failed, `cancelled`; or `recalled`, when it had left already.',
    ofMessage,
    message,
  ),
  'message.search': method(
    'Full text over the history, newest first, with snippets.',
    z.object({
      query: z.string().min(1).max(QUERY_CHARS_MAX),
      conversation: reference.optional(),
      from: reference.optional(),
      ...page,
      ...wait,
    }),
    z.object({
      messages: z.array(message),
      more: z.boolean(),
      /** What of the rooms that were looked through is not here, in words. */
      missing: z.array(z.string()).optional(),
    }),
  ),
  'conversation.list': method(
    'Conversations, the latest first.',
    z.object({ archived: z.boolean().optional() }),
    z.array(conversation),
  ),
  'conversation.show': method('One conversation.', inConversation, conversation),
  'conversation.markRead': method(
    'Marks everything up to a message as read.',
    inConversation.extend({ to: reference.optional() }),
    conversation,
  ),
  'conversation.mute': method(
    'No notifications until a time; without one, for ever.',
    inConversation.extend({ until: time.optional() }),
    conversation,
  ),
  'conversation.unmute': method('Notifications again.', inConversation, conversation),
  'conversation.archive': method(
    'Hides a conversation until something new comes.',
    inConversation.extend({ archived: z.boolean() }),
    conversation,
  ),
  'conversation.clear': method(
    'Erases the history of a conversation here; `takenBack` is how many messages waited, and go no more.',
    inConversation,
    conversation.extend({ takenBack: z.number().int() }),
  ),
  'conversation.draft': method(
    'Keeps, shows (no `text`) or drops (empty `text`) a draft.',
    inConversation.extend({ text: z.string().optional() }),
    conversation,
  ),
  'conversation.typing': method(
    'Tells the other side that you write, if the setting allows. That ends with the link, too.',
    inConversation.extend({ on: z.boolean() }),
    none,
  ),
  'presence.set': method(
    'Online or away, until it is set anew: for contacts the setting allows, now and with each link, and for servers, where who is connected is seen by all.',
    z.object({ state: z.enum(['online', 'away']) }),
    none,
  ),
  'config.list': method(
    'Every setting with its value.',
    z.object({ conversation: reference.optional() }),
    z.array(settingRow),
  ),
  'config.get': method('One setting.', z.object({ key: z.string(), conversation: reference.optional() }), settingRow),
  'config.set': method(
    'Sets a setting, for the account or one conversation.',
    z.object({ key: z.string(), value: settingValue, conversation: reference.optional() }),
    settingRow,
  ),
  'config.unset': method(
    'Back to the wider scope or the default.',
    z.object({ key: z.string(), conversation: reference.optional() }),
    settingRow,
  ),
  'file.send': method(
    'Offers a file at an absolute path.',
    inConversation.extend({
      path,
      name: z.string().max(FILE_NAME_BYTES_MAX).optional(),
      wait: z.enum(['offered', 'done']).optional(),
      ...wait,
    }),
    z.object({ file, ...waited }),
  ),
  'file.open': method(
    'Begins a spooled file for `file.write`. It ends with this connection, unless it was offered by then.',
    inConversation.extend({ name: z.string().max(FILE_NAME_BYTES_MAX), ...wait }),
    z.object({ id: z.string() }),
  ),
  'file.write': method(
    'Appends bytes (base64, at most 512 KiB) to a spooled file; an error ends it.',
    ofFile.extend({ data: z.string().max(700_000) }),
    z.object({ sizeBytes: bytes }),
  ),
  'file.offer': method(
    'Offers a spooled file.',
    ofFile.extend({ wait: z.enum(['offered', 'done']).optional(), ...wait }),
    z.object({ file, ...waited }),
  ),
  'file.list': method(
    'Files of all conversations or one, the latest last.',
    z.object({ conversation: reference.optional(), limit: page.limit, before: page.before, ...wait }),
    z.array(file),
  ),
  'file.show': method('One file.', ofFile, file),
  'file.save': method(
    'Fetches a file and writes it to an absolute path that does not exist yet. Without `timeoutMs` the wait ends after a minute in which nothing came.',
    ofFile.extend({
      path,
      overwrite: z.boolean().optional(),
      wait: z.enum(['active', 'done']).optional(),
      ...wait,
    }),
    z.object({ file, ...waited }),
  ),
  'file.read': method(
    'A chunk of a fetched file, decrypted (base64); empty at its end.',
    ofFile.extend({ index: z.number().int().min(0) }),
    z.object({ data: z.string(), last: z.boolean() }),
  ),
  'file.fetch': method(
    'Fetches a file without saving it.',
    ofFile.extend({ wait: z.enum(['active', 'done']).optional(), ...wait }),
    z.object({ file, ...waited }),
  ),
  'file.pause': method('Pauses what is being fetched; `file.fetch` or `file.save` goes on with it.', ofFile, file),
  'file.cancel': method('Ends a transfer and erases what is kept of it; one that is done stays done.', ofFile, file),
  ...ROOM_METHODS,
} as const;
