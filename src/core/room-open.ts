// Opens events of a channel: what is sealed, and by whom it was signed, by the certificates of devices and for that channel alone.
import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { sha256 } from '../crypto/primitives.ts';
import { creationScope, type EventHeader, headOf, openEvent, type Scope, ZERO_HASH } from '../crypto/room-event.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { type Content, decodeContent, decodeControl, type UnknownContent } from '../protocol/room-content.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import type { ChannelRow } from '../store/channels.ts';
import { getMemberById, getSigningKey } from '../store/members.ts';
import { getRoomOutboxByEvent, type RoomOutboxRow } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import { type Core, refuse } from './core.ts';
import { type Unsealer, waitsForKey } from './room-unseal.ts';

/** What an event of a channel turns out to be. */
export type Opened =
  | {
      readonly kind: 'content';
      readonly header: EventHeader;
      readonly content: Content | UnknownContent;
      readonly signed: Uint8Array;
    }
  | { readonly kind: 'control'; readonly event: ControlEvent }
  /** It was sealed here: what it says is in the outbox. */
  | {
      readonly kind: 'mine';
      readonly header: EventHeader;
      readonly content: Content | UnknownContent;
      readonly outbox: RoomOutboxRow;
      readonly signed: Uint8Array | null;
    }
  | { readonly kind: 'erased' }
  | { readonly kind: 'notice' }
  /** It did not open; `waits` for a key that may still come. */
  | { readonly kind: 'closed'; readonly why: string; readonly waits: boolean };

type Opening = {
  readonly core: Core;
  readonly server: ServerRow;
  readonly row: ChannelRow;
  /** What the channel is before the event. */
  readonly state: ChannelState | undefined;
  readonly unsealer: Unsealer;
  /** Members whose devices were just asked for. */
  readonly learned: ReadonlySet<string>;
};

/**
 * Opens an event of a channel: `closed` is one that cannot be, with why; `stranger` one of a device that was not asked for and
 * that nobody here knows.
 */
export const openRoomEvent = async (
  opening: Opening,
  event: LogEvent,
): Promise<Opened | { readonly kind: 'stranger' }> => {
  const { core, server, row, state, unsealer, learned } = opening;
  if (event.erased) return { kind: 'erased' };
  if (event.kind === EVENT.notice) return { kind: 'notice' };
  try {
    if (event.kind === EVENT.control) return { kind: 'control', event: openControl(core, server, row, state, event) };
    if (event.kind !== EVENT.content) return { kind: 'closed', why: 'kind', waits: false };
    const outbox = ownIn(core, server, row, event);
    if (outbox?.sealed != null && isEqual(outbox.sealed, event.body)) {
      const content = decodeContent(outbox.content);
      return { kind: 'mine', header: ownHeader(opening, event, outbox), content, outbox, signed: outbox.signed };
    }
    const said = { id: event.id as EventId, sender: event.member as MemberId };
    const memberRow = getMemberById(core.db, server.id, idBytes(event.member))?.id;
    const keyEpoch = state?.epoch ?? 0;
    const signed = await unsealer.open({ ...said, memberRow, keyEpoch, body: event.body });
    const { header, content } = openContent(core, server, row, { ...said, signed });
    return { kind: 'content', header, content, signed };
  } catch (error) {
    if (!(error instanceof SottoError)) throw error;
    if (error.details.why === 'device' && !learned.has(event.member)) return { kind: 'stranger' };
    refuse(core, error.code);
    return { kind: 'closed', why: error.code, waits: waitsForKey(error) };
  }
};

/** What waits under the id of an event of a channel. Shown as somebody else's, or in another channel, it is none of ours. */
export const ownIn = (core: Core, server: ServerRow, row: ChannelRow, event: LogEvent): RoomOutboxRow | undefined => {
  const outbox = getRoomOutboxByEvent(core.db, server.id, idBytes(event.id));
  return outbox?.channelRow === row.id && event.member === idOf(server.memberId) ? outbox : undefined;
};

// What we sealed ourselves we cannot always open: its place is all that is new.
const ownHeader = ({ server, state }: Opening, event: LogEvent, outbox: RoomOutboxRow): EventHeader => ({
  epoch: state?.epoch ?? 0,
  id: event.id as EventId,
  sender: event.member as MemberId,
  device: idOf(server.deviceId),
  n: Math.abs(outbox.n),
  seenSeq: 0,
  seenHash: ZERO_HASH.slice(0, 16),
  membersHead: headOf(state?.head ?? ZERO_HASH),
  kind: EVENT.content,
});

/** Where an event belongs: its server, and the channel unless it is the creation. */
const scopeOf = (server: ServerRow, row: Pick<ChannelRow, 'hash'>, isCreation: boolean): Scope =>
  isCreation ? creationScope(server.serverKey) : { serverId: server.serverKey, channelHash: row.hash };

// Signing keys are those of certificates that the member's own key has signed.
const signingKeys =
  (core: Core, serverId: number) =>
  (member: MemberId, device: DeviceId): Uint8Array | undefined => {
    const row = getMemberById(core.db, serverId, idBytes(member));
    if (row === undefined) return undefined;
    return getSigningKey(core.db, row.id, idBytes(device));
  };

/** What is kept of a body, also of one that the server has erased: its SHA-256. */
export const hashOfBody = ({ erased, body }: LogEvent): Uint8Array<ArrayBuffer> => (erased ? body : sha256(body));

/** A control event, verified; without `state` it must be the creation. Throws ProtocolError `event.forged`, `event.invalid`. */
export const openControl = (
  core: Core,
  server: ServerRow,
  row: Pick<ChannelRow, 'hash'>,
  state: ChannelState | undefined,
  event: Pick<LogEvent, 'id' | 'member' | 'kind' | 'body' | 'seq'>,
): ControlEvent => {
  const bodyHash = sha256(event.body);
  const isCreation = isEqual(bodyHash, row.hash);
  if (state === undefined && !isCreation) throw new ProtocolError('event.forged', { details: { why: 'creation' } });
  const { header, content } = openEvent(
    {
      scope: scopeOf(server, row, isCreation),
      outer: { id: event.id as EventId, sender: event.member as MemberId, kind: event.kind },
      keyOf: signingKeys(core, server.id),
    },
    event.body,
    decodeControl,
  );
  return { seq: event.seq, header, control: content, bodyHash };
};

/** A content that is in clear here, verified. Throws ProtocolError `event.forged`, `event.invalid`. */
export const openContent = (
  core: Core,
  server: ServerRow,
  row: ChannelRow,
  { id, sender, signed }: { readonly id: EventId; readonly sender: MemberId; readonly signed: Uint8Array },
): { readonly header: EventHeader; readonly content: Content | UnknownContent } =>
  openEvent(
    {
      scope: scopeOf(server, row, false),
      outer: { id, sender, kind: EVENT.content },
      keyOf: signingKeys(core, server.id),
    },
    signed,
    decodeContent,
  );
