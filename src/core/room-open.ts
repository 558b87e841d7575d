// Opens signed events of a channel: by the certificates of devices, and for their place in that channel alone.
import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { sha256 } from '../crypto/primitives.ts';
import { creationScope, type EventHeader, openEvent, type Scope } from '../crypto/room-event.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, idBytes, type MemberId } from '../protocol/ids.ts';
import { type Content, decodeContent, decodeControl, type UnknownContent } from '../protocol/room-content.ts';
import { EVENT, type LogEvent } from '../protocol/server-frames.ts';
import type { ChannelRow } from '../store/channels.ts';
import { getMemberById, getSigningKey } from '../store/members.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Core } from './core.ts';

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
