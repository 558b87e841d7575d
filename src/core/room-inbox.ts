// Takes events of our inbox: what devices of members say to this one inside Signal sessions, and what the server notes for us.
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, idBytes, idOf } from '../protocol/ids.ts';
import { EDITS_PER_MESSAGE_MAX, PINS_PER_CONVERSATION_MAX, REACTIONS_PER_MESSAGE_MAX } from '../protocol/limits.ts';
import { unpadded } from '../protocol/padding.ts';
import { type Direct, decodeDirect, decodeEnvelopes } from '../protocol/room-direct.ts';
import { EVENT, type LogEvent } from '../protocol/server.ts';
import { addUnread, countArrival, getConversationOfMember, putConversation } from '../store/conversations.ts';
import {
  type DeviceRow,
  getDevice,
  getMemberById,
  type MemberRow,
  patchMember,
  putDeviceSession,
} from '../store/members.ts';
import {
  countPins,
  deleteMessage,
  editMessage,
  getMessageById,
  listReactions,
  type MessageRow,
  patchMessage,
  putMessage,
  putReaction,
  removeReaction,
} from '../store/messages.ts';
import { patchServer, putPreKeys } from '../store/servers.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { takeKey } from './room-keys.ts';
import { retryPending } from './room-pending.ts';
import { deviceSession, ownPreKeys } from './room-sessions.ts';

/** libsignal's type of a message that begins a session. */
const PREKEY_MESSAGE = 3;

/** Handles events of the inbox in order; each is opened, applied and passed over in one transaction. Runs in the queue. */
export const receiveInbox = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
): Promise<void> => {
  for (const event of events) {
    const server = connection.row;
    if (event.epoch === server.epoch && event.seq <= server.inboxSeq) continue;
    await receiveOne(core, connection, event);
  }
};

const receiveOne = async (core: Core, connection: RoomConnection, event: LogEvent): Promise<void> => {
  const server = connection.row;
  const passed = (): void =>
    patchServer(core.db, server.id, { epoch: event.epoch, inboxSeq: event.seq, inboxId: idBytes(event.id) });
  const opened = event.kind === EVENT.direct && !event.erased ? await open(core, connection, event) : undefined;
  if (opened === undefined) return commit(core, passed);
  const { member, device, direct, keep } = opened;
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
    return;
  }
  commit(core, (changes) => {
    keep();
    passed();
    applyDirect({ core, changes, connection, member, event }, direct);
  });
};

type Opened = {
  readonly member: MemberRow;
  readonly device: DeviceRow;
  readonly direct: Direct | { readonly kind: 'unknown' };
  readonly keep: () => void;
};

const open = async (core: Core, connection: RoomConnection, event: LogEvent): Promise<Opened | undefined> => {
  const server = connection.row;
  try {
    const { from, envelopes } = decodeEnvelopes(event.body);
    const mine = envelopes.find(({ to }) => to === idOf<DeviceId>(server.deviceId));
    if (mine === undefined) return undefined;
    const member = getMemberById(core.db, server.id, idBytes(event.member));
    const device = member === undefined ? undefined : getDevice(core.db, member.id, idBytes(from));
    if (member === undefined || device === undefined || device.revoked === 1 || member.blocked === 1)
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
  readonly member: MemberRow;
  readonly event: LogEvent;
};

const applyDirect = (scene: DirectScene, direct: Direct | { readonly kind: 'unknown' }): void => {
  switch (direct.kind) {
    case 'text':
      return applyText(scene, direct);
    case 'edit':
      return change(scene, direct.target, (row) => {
        if (row.mine === 1 || direct.number <= row.editNumber || direct.number > EDITS_PER_MESSAGE_MAX) return;
        editMessage(scene.core.db, row, direct.text, { number: direct.number, at: scene.event.at });
        scene.changes.erased = true;
        scene.changes.event({ kind: 'message.edited', messageRow: row.id, memberRow: scene.member.id });
      });
    case 'delete':
      return change(scene, direct.target, (row) => {
        if (row.mine === 1) return;
        if (row.unread === 1) addUnread(scene.core.db, row.conversationId, -1);
        deleteMessage(scene.core.db, row, scene.changes.at);
        scene.changes.erased = true;
        scene.changes.event({ kind: 'message.deleted', messageRow: row.id, subject: direct.target });
      });
    case 'react':
      return change(scene, direct.target, (row) => {
        const reaction = { mine: 0, memberRow: scene.member.id, emoji: direct.emoji };
        const theirs = listReactions(scene.core.db, row.id).filter((one) => one.mine === 0);
        if (direct.on && theirs.length >= REACTIONS_PER_MESSAGE_MAX) return;
        if (direct.on) putReaction(scene.core.db, row.id, { ...reaction, at: scene.event.at });
        else removeReaction(scene.core.db, row.id, reaction);
        scene.changes.event({ kind: 'message.reacted', messageRow: row.id });
      });
    case 'pin':
      return change(scene, direct.target, (row) => {
        const isNew = direct.on && row.pinnedAt === null;
        if (isNew && countPins(scene.core.db, row.conversationId) >= PINS_PER_CONVERSATION_MAX) return;
        patchMessage(scene.core.db, row.id, { pinnedAt: direct.on ? scene.event.at : null });
        scene.changes.event({ kind: 'message.pinned', messageRow: row.id });
      });
    case 'receipt':
      for (const target of direct.targets) change(scene, target, (row) => received(scene, row, direct.state));
      return;
    case 'sender.key':
    case 'unknown':
      return;
  }
};

const applyText = (scene: DirectScene, direct: Extract<Direct, { kind: 'text' }>): void => {
  const { core, changes, member, event } = scene;
  const conversation = ensureConversation(core, changes, member);
  const messageId = idBytes(event.id);
  if (getMessageById(core.db, conversation.id, messageId) !== undefined) return;
  // Somebody we have never written to: what they say is here, and they hear nothing of us before we have answered.
  if (member.request === '') {
    patchMember(core.db, member.id, { request: 'open' });
    changes.event({ kind: 'request.received', memberRow: member.id });
  }
  const expiresAt = direct.expiresMs === undefined ? null : changes.at + direct.expiresMs;
  if (expiresAt !== null) changes.expiry = true;
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId,
    mine: 0,
    body: direct.text,
    state: 'received',
    sentAt: direct.sentAt,
    receivedAt: changes.at,
    unread: 1,
    replyTo: direct.replyTo === undefined ? null : idBytes(direct.replyTo),
    expiresMs: direct.expiresMs ?? null,
    expiresFrom: 'delivery',
    expiresAt,
    fileId: null,
    memberRow: member.id,
    seq: event.seq,
  });
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

const change = ({ core, member }: DirectScene, target: string, step: (row: MessageRow) => void): void => {
  const conversation = getConversationOfMember(core.db, member.id);
  const row = conversation === undefined ? undefined : getMessageById(core.db, conversation.id, idBytes(target));
  if (row !== undefined && row.deletedAt === null) step(row);
};
