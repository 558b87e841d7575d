// Takes events of our inbox: what devices of members say to this one inside Signal sessions, and what the server notes for us.
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, idBytes, idOf } from '../protocol/ids.ts';
import { decodeNote } from '../protocol/inbox-note.ts';
import { unpadded } from '../protocol/padding.ts';
import { type Direct, decodeDirect, decodeEnvelopes, isOwn, type Own } from '../protocol/room-direct.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import { countArrival, getConversationOfMember, patchConversation, putConversation } from '../store/conversations.ts';
import {
  type DeviceRow,
  getDevice,
  getMemberById,
  type MemberRow,
  patchMember,
  putDeviceSession,
} from '../store/members.ts';
import {
  getMessage,
  getMessageById,
  type MessageRow,
  patchMessage,
  putMessage,
  UNKNOWN_KIND,
} from '../store/messages.ts';
import { patchServer, putPreKeys, type ServerRow } from '../store/servers.ts';
import { type Amending, eraseMessage, isEditable, setPin, setReaction, setText } from './amend.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { putRoomFile } from './room-files.ts';
import { takeKey } from './room-keys.ts';
import { retryPending } from './room-pending.ts';
import { markReadUpTo } from './room-read.ts';
import type { Took } from './room-receive.ts';
import { deviceSession, ownPreKeys } from './room-sessions.ts';
import { takePart } from './room-shared.ts';

/** libsignal's type of a message that begins a session. */
const PREKEY_MESSAGE = 3;

/**
 * Handles events of the inbox in order; each is opened, applied and passed over in one transaction. It stops where a member is
 * to be asked for: another device of mine has told about them and nobody here knows them, or a device of theirs that nobody here
 * knows has written. `learned` are those who were asked for. Runs in the queue.
 */
export const receiveInbox = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
  learned: ReadonlySet<string>,
): Promise<Took> => {
  for (const event of events) {
    const server = connection.row;
    if (event.epoch === server.epoch && event.seq <= server.inboxSeq) continue;
    if (event.epoch === server.epoch && event.seq > server.inboxSeq + 1) {
      // It comes again, in its turn.
      if (connection.visit.isReadingInbox) continue;
      commit(core, (changes) => mayMiss(changes, server));
    }
    const stranger = await receiveOne(core, connection, event, learned);
    if (stranger !== undefined) return { stranger };
  }
  return {};
};

/** Tells that something to me may be lost. */
export const mayMiss = (changes: Changes, { label }: ServerRow): void =>
  changes.event({ kind: 'channel.gap', detail: `messages to you may be missing on ${label}` });

const receiveOne = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
  learned: ReadonlySet<string>,
): Promise<string | undefined> => {
  const server = connection.row;
  const passed = (): void =>
    patchServer(core.db, server.id, { epoch: event.epoch, inboxSeq: event.seq, inboxId: idBytes(event.id) });
  const opened =
    event.kind === EVENT.direct && !event.erased ? await open(core, connection, event, learned) : undefined;
  if (opened === 'stranger') return event.member;
  if (opened === undefined) {
    commit(core, (changes) => {
      passed();
      if (event.kind === EVENT.notice && !event.erased) noted(core, changes, server, event);
    });
    return undefined;
  }
  const { member, device, direct, keep } = opened;
  // Who was rejected says nothing to me; what they say in a channel of both is the channel's, and opens with their key.
  if (member.blocked === 1 && direct.kind !== 'sender.key') {
    commit(core, () => {
      keep();
      passed();
    });
    return undefined;
  }
  const about = isOwn(direct) ? aboutWhom(direct) : undefined;
  if (about !== undefined && !learned.has(about) && getMemberById(core.db, server.id, idBytes(about)) === undefined)
    return about;
  if (direct.kind === 'sender.key') {
    // The key is kept with the step of the session that brought it.
    const channel = await takeKey(core, server, device, direct).catch((error: unknown) => {
      if (!(error instanceof SottoError)) throw error;
      refuse(core, error.code);
      return undefined;
    });
    commit(core, () => {
      keep();
      passed();
    });
    if (channel !== undefined) await retryPending(core, connection, channel.id, member.id);
    return undefined;
  }
  const isMe = isEqual(member.memberId, server.memberId);
  const hasCome = commit(core, (changes) => {
    keep();
    passed();
    if (!isMe && direct.kind === 'history') return takePart(core, changes, member, direct);
    const scene = { core, changes, connection, member, author: member, isMine: false, event };
    // A member speaks for themself, and to themself only as one device to another.
    if (!isMe && !isOwn(direct)) applyDirect(scene, direct);
    if (isMe && isOwn(direct)) applyOwn(scene, direct);
    return false;
  });
  if (hasCome) connection.look().catch(() => {});
  if (isMe && direct.kind === 'joined') connection.meet().catch(() => {});
  return undefined;
};

// What the server notes for all devices of a member. Devices that come and go are told of where their certificates are seen.
const noted = (core: Core, changes: Changes, server: ServerRow, event: LogEvent): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  const what = noteOf(core, event);
  const done = what === 'second.set' ? 'set or changed' : what === 'second.removed' ? 'removed' : undefined;
  if (me === undefined || done === undefined) return;
  const at = new Date(event.at).toISOString();
  const detail = `was ${done} at ${at}: if it was not you, end the device that did it: sotto server devices`;
  changes.event({ kind: 'member.secondCheck', memberRow: me.id, detail });
};

const noteOf = (core: Core, event: LogEvent): string => {
  try {
    return decodeNote(event.body).what;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    refuse(core, error.code);
    return 'unknown';
  }
};

const aboutWhom = (own: Own): string | undefined =>
  own.kind === 'sent' ? own.to : own.kind === 'joined' ? undefined : own.of;

type Opened = {
  readonly member: MemberRow;
  readonly device: DeviceRow;
  readonly direct: Direct | { readonly kind: 'unknown' };
  readonly keep: () => void;
};

const open = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
  learned: ReadonlySet<string>,
): Promise<Opened | 'stranger' | undefined> => {
  const server = connection.row;
  try {
    const { from, envelopes } = decodeEnvelopes(event.body);
    const mine = envelopes.find(({ to }) => to === idOf<DeviceId>(server.deviceId));
    if (mine === undefined) return undefined;
    const member = getMemberById(core.db, server.id, idBytes(event.member));
    const device = member === undefined ? undefined : getDevice(core.db, member.id, idBytes(from));
    // It may have come while we were away.
    if (device === undefined && !learned.has(event.member)) return 'stranger';
    if (member === undefined || device === undefined || device.revoked === 1)
      throw new ProtocolError('event.forged', { details: { why: 'device' } });
    // Only the first messages of a session use published keys, and only they change the set.
    const published = mine.type === PREKEY_MESSAGE ? ownPreKeys(core, server) : undefined;
    const session = deviceSession(core, server, device, published);
    const direct = decodeDirect(unpadded(await session.decrypt(mine)));
    return {
      member,
      device,
      direct,
      keep: () => {
        putDeviceSession(core.db, device.id, session.serialize());
        if (published !== undefined) putPreKeys(core.db, server.id, published.serialize());
      },
    };
  } catch (error) {
    if (!(error instanceof SottoError)) throw error;
    refuse(core, error.code);
    core.log.warn('direct.refused', { code: error.code, why: String(error.details.why ?? '') });
    return undefined;
  }
};

type DirectScene = {
  readonly core: Core;
  readonly changes: Changes;
  readonly connection: RoomConnection;
  /** With whom the conversation is. */
  readonly member: MemberRow;
  /** Who says it: they, or I on another device. */
  readonly author: MemberRow;
  readonly isMine: boolean;
  readonly event: LogEvent;
};

// What another device of mine tells.
const applyOwn = (scene: DirectScene, own: Own): void => {
  const { core, changes, connection } = scene;
  const about = aboutWhom(own);
  const member = about === undefined ? undefined : getMemberById(core.db, connection.serverId, idBytes(about));
  if (member === undefined) return;
  switch (own.kind) {
    case 'sent':
      return applyDirect({ ...scene, member, isMine: true }, own.content);
    case 'marked': {
      const conversation = getConversationOfMember(core.db, member.id);
      if (conversation === undefined || own.epoch !== scene.event.epoch) return;
      return markReadUpTo(core, changes, conversation, own.seq, { receipts: false });
    }
    case 'decided':
      return patchMember(core.db, member.id, decisionOf(own.accepted));
    case 'joined':
      return;
  }
};

/** What a member is once I have said whether they may write to me. */
export const decisionOf = (accepted: boolean): Pick<MemberRow, 'request' | 'blocked'> =>
  accepted ? { request: 'accepted', blocked: 0 } : { request: 'rejected', blocked: 1 };

const applyDirect = (scene: DirectScene, direct: Exclude<Direct, Own> | { readonly kind: 'unknown' }): void => {
  const mine = scene.isMine ? 1 : 0;
  switch (direct.kind) {
    case 'text':
      return applyNew(scene, direct, direct.text);
    case 'file':
      return applyNew(scene, direct, direct.name);
    case 'edit':
      return amend(scene, direct.target, (row, amending) => {
        if (row.mine === mine && isEditable(row, direct.number)) setText(amending, row, direct);
      });
    case 'delete':
      return amend(scene, direct.target, (row, amending) => {
        if (row.mine === mine) eraseMessage(amending, row);
      });
    case 'react':
      return amend(scene, direct.target, (row, amending) => {
        setReaction(amending, row, { mine, memberRow: scene.author.id }, direct);
      });
    case 'pin':
      return amend(scene, direct.target, (row, amending) => {
        setPin(amending, row, direct.on);
      });
    case 'receipt':
      for (const target of direct.targets) {
        const row = find(scene, target);
        // What another device of mine has sent may be known here a moment later.
        if (row === undefined) scene.connection.early.add(scene.member.id, target, direct.state);
        else if (row.deletedAt === null) received(scene, row, direct.state);
      }
      return;
    case 'unknown':
      return applyNew(scene, { kind: 'text', text: '', sentAt: scene.event.at }, '', UNKNOWN_KIND);
    case 'sender.key':
    case 'history':
      return;
  }
};

/** A message with its body: a text, or a file with its name. */
const applyNew = (
  scene: DirectScene,
  direct: Extract<Direct, { kind: 'text' | 'file' }>,
  body: string,
  reason = '',
): void => {
  const { core, changes, member, author, isMine, event } = scene;
  const conversation = ensureConversation(core, changes, member);
  const messageId = idBytes(direct.id ?? event.id);
  if (getMessageById(core.db, conversation.id, messageId) !== undefined) return;
  const fileId =
    direct.kind === 'file'
      ? putRoomFile(core, changes, conversation, { id: idOf(messageId), content: direct })
      : undefined;
  if (direct.kind === 'file' && fileId === undefined) return;
  // To write to somebody is to let them write.
  if (isMine) patchMember(core.db, member.id, { request: 'accepted' });
  // Somebody we have never written to: what they say is here, and they hear nothing of us before we have answered.
  else if (member.request === '') {
    patchMember(core.db, member.id, { request: 'open' });
    changes.event({ kind: 'request.received', memberRow: member.id });
  }
  const expiresAt = direct.expiresMs === undefined ? null : changes.at + direct.expiresMs;
  if (expiresAt !== null) changes.expiry = true;
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId,
    mine: isMine ? 1 : 0,
    body,
    state: isMine ? 'sent' : 'received',
    sentAt: direct.sentAt,
    receivedAt: isMine ? null : changes.at,
    unread: isMine ? 0 : 1,
    replyTo: direct.kind === 'file' || direct.replyTo === undefined ? null : idBytes(direct.replyTo),
    thread: direct.kind === 'file' || direct.thread === undefined ? null : idBytes(direct.thread),
    expiresMs: direct.expiresMs ?? null,
    expiresFrom: 'delivery',
    expiresAt,
    fileId: fileId ?? null,
    memberRow: author.id,
    seq: isMine ? null : event.seq,
    reason,
  });
  if (fileId !== undefined) changes.event({ kind: 'file.offered', fileRow: fileId });
  if (isMine) {
    patchConversation(core.db, conversation.id, { lastAt: changes.at, archived: 0 });
    changes.event({ kind: 'message.sent', messageRow: row });
    const early = scene.connection.early.take(member.id, idOf(messageId));
    const sent = early === undefined ? undefined : getMessage(core.db, row);
    if (early !== undefined && sent !== undefined) received(scene, sent, early);
    return;
  }
  countArrival(core.db, conversation.id, changes.at);
  changes.event({ kind: 'message.received', messageRow: row, memberRow: member.id });
  if (member.request === 'accepted') scene.connection.receipts.add(member.id, idOf(messageId));
};

/** The conversation with a member, made when it is first needed. */
export const ensureConversation = (core: Core, changes: Changes, member: MemberRow) => {
  const known = getConversationOfMember(core.db, member.id);
  if (known !== undefined) return known;
  putConversation(core.db, { uid: core.random.bytes(16), memberRow: member.id, createdAt: changes.at });
  const made = getConversationOfMember(core.db, member.id);
  if (made === undefined) throw new Error('a conversation that was put is there');
  return made;
};

const received = ({ core, changes, member }: DirectScene, row: MessageRow, state: 'delivered' | 'read'): void => {
  const rank = { queued: 0, failed: 0, sent: 1, delivered: 2, read: 3, received: 4 };
  if (row.mine === 0 || rank[row.state] >= rank[state]) return;
  patchMessage(core.db, row.id, {
    state,
    ...(row.deliveredAt === null ? { deliveredAt: changes.at } : {}),
    ...(state === 'read' ? { readAt: changes.at } : {}),
  });
  changes.event({ kind: state === 'read' ? 'message.read' : 'message.delivered', messageRow: row.id });
  // Who confirms has taken us as somebody to talk with.
  if (member.request !== 'accepted') patchMember(core.db, member.id, { request: 'accepted' });
};

const find = ({ core, member }: DirectScene, target: string): MessageRow | undefined => {
  const conversation = getConversationOfMember(core.db, member.id);
  return conversation === undefined ? undefined : getMessageById(core.db, conversation.id, idBytes(target));
};

// What points at nothing, or at what was deleted, changes nothing.
const amend = (scene: DirectScene, target: string, step: (row: MessageRow, amending: Amending) => void): void => {
  const { core, changes, member, event } = scene;
  const row = find(scene, target);
  if (row === undefined || row.deletedAt !== null) return;
  step(row, { core, changes, at: event.at, tell: (said) => changes.event({ ...said, memberRow: member.id }) });
};
