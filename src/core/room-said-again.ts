// What was said to members of a server that was put back, and may be lost with its log: said again, before what waits for them.
import { idOf, type MessageId } from '../protocol/ids.ts';
import { EVENT_ID_AHEAD_MS_MAX, INBOX_KEPT_MS, OUTBOX_FRAMES_MAX, SAID_AGAIN_MAX } from '../protocol/limits.ts';
import type { Said } from '../protocol/room-direct.ts';
import { getFile } from '../store/files.ts';
import { getMemberById } from '../store/members.ts';
import { listSentToMembers, type SentToMember } from '../store/message-pages.ts';
import { listVersions } from '../store/messages.ts';
import { countRoomOutbox, listRoomOutboxOfMessage } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';
import { fileContent } from './room-files.ts';
import { directIn, endOf, enqueueRoom } from './room-outbox.ts';
import { putOnOf } from './room-put-on.ts';

/**
 * Says the latest of what this device has said to members again: what they have not confirmed, and, where they or I have several
 * devices, what was confirmed by one since the log of now ends, at `keptUpTo` in ms; another has lost it with the log. Under the
 * same ids, with what I have put on it: who has it takes it once, and confirms it. For another epoch of the log, inside the
 * transaction that learns of it: a repeat changes nothing while what is said again waits.
 */
export const sayAgain = (core: Core, changes: Changes, server: ServerRow, keptUpTo: number): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  if (me === undefined) return;
  // Clocks of devices differ by less.
  const since = { sent: changes.at - INBOX_KEPT_MS, confirmed: keptUpTo - EVENT_ID_AHEAD_MS_MAX };
  let room = Math.min(SAID_AGAIN_MAX, OUTBOX_FRAMES_MAX - countRoomOutbox(core.db, server.id));
  for (const message of listSentToMembers(core.db, me, since, SAID_AGAIN_MAX)) {
    if (waits(core, message)) continue;
    const said = wordsOf(core, message);
    room -= said.length;
    if (room < 0) return;
    const to = { serverId: server.id, memberRow: message.to };
    const more = { messageRow: message.id, ...endOf(message, changes.at), goesFirst: true };
    // Each goes before all that wait: the last is put there first.
    for (const direct of said.toReversed()) enqueueRoom(core, changes, to, direct, more);
  }
};

const isNew = ({ kind }: Pick<Said, 'kind'>): boolean => kind === 'text' || kind === 'file';

const waits = ({ db }: Core, { id }: SentToMember): boolean =>
  listRoomOutboxOfMessage(db, id).some((row) => isNew(directIn(row) as Said));

/** A message as it was first, then what has become of it. */
const wordsOf = (core: Core, message: SentToMember): Said[] => {
  const target = idOf<MessageId>(message.messageId);
  const versions = [...listVersions(core.db, message.id), { number: message.editNumber, body: message.body }];
  const [first, ...edits] = versions;
  const said = firstOf(core, message, first?.body ?? '');
  return said === undefined
    ? []
    : [
        said,
        ...edits.map(({ number, body }) => ({ kind: 'edit', target, number, text: body }) as const),
        ...putOnOf(core, message),
      ];
};

const firstOf = (core: Core, message: SentToMember, text: string): Said | undefined => {
  const id = idOf<MessageId>(message.messageId);
  const ends = message.expiresMs === null ? {} : { expiresMs: message.expiresMs };
  if (message.fileId !== null) {
    const file = getFile(core.db, message.fileId);
    return file && { ...fileContent(file, message), id, ...ends };
  }
  return {
    ...{ kind: 'text', id, text, sentAt: message.sentAt, ...ends },
    ...(message.replyTo === null ? {} : { replyTo: idOf(message.replyTo) }),
    ...(message.thread === null ? {} : { thread: idOf(message.thread) }),
  };
};
