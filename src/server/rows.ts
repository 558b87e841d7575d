// The server's tables beside its log: what each row says.
import type { BlobHash, ChannelId, DeviceId, MemberId, RowId } from '../protocol/ids.ts';
import { bytes, flag, id, nullable, number, type Row, Table, text } from './table.ts';

export type ServerRole = 'owner' | 'admin' | 'member';
export type ChannelRole = 'owner' | 'moderator' | 'member';

/** The server itself: one row. The key is sealed under the key file. */
export const SERVER = new Table('server', {
  epoch: number,
  name: text(),
  registration: text<'open' | 'invite' | 'closed'>(),
  sealedKey: bytes,
  createdAt: number,
});
export type ServerRow = Row<typeof SERVER>;

/** Who belongs to the server. An erased member keeps the id only: empty name, no skeleton. */
export const MEMBER = new Table('member', {
  id: id<MemberId>(),
  /** Ed25519, 32 bytes. */
  memberKey: bytes,
  name: text(),
  /** UTS 39: no two members have names that look alike. */
  skeleton: nullable(text()),
  role: text<ServerRole>(),
  status: text(),
  banned: flag,
  joinedAt: number,
  erasedAt: nullable(number),
});
export type MemberRow = Row<typeof MEMBER>;

/** A member's devices, revoked ones too: their serials stay used. */
export const DEVICE = new Table('device', {
  id: id<DeviceId>(),
  member: id<MemberId>(),
  signingKey: bytes,
  signalKey: bytes,
  certificate: bytes,
  serial: number,
  addedAt: number,
  revokedAt: nullable(number),
});
export type DeviceRow = Row<typeof DEVICE>;

/**
 * What others start a session with: `ec` and `kyber` are handed out once, `signed` and `last` (the Kyber key of last resort)
 * again and again.
 */
export const PREKEY = new Table('prekey', {
  device: id<DeviceId>(),
  kind: text<'ec' | 'kyber' | 'signed' | 'last'>(),
  keyId: number,
  body: bytes,
});
export type PrekeyRow = Row<typeof PREKEY>;

/** Who may register; the token itself is in the link only. */
export const INVITE = new Table('invite', {
  id: id<RowId>(),
  /** SHA-256 of the token. */
  tokenHash: bytes,
  role: text<ServerRole>(),
  uses: number,
  usesLeft: number,
  /** Null: made by the administration. */
  madeBy: nullable(id<MemberId>()),
  createdAt: number,
  expiresAt: number,
  revokedAt: nullable(number),
});
export type InviteRow = Row<typeof INVITE>;
/** Of an invite that can be used up to a time: the first owner ends what was to make one. */
export const INVITE_USABLE = `uses_left > 0 AND revoked_at IS NULL AND expires_at > ? AND
  (role <> 'owner' OR NOT EXISTS (SELECT 1 FROM member WHERE member.role = 'owner' AND erased_at IS NULL))`;

const CHANNEL_COLUMNS = {
  id: id<ChannelId>(),
  name: text(),
  skeleton: text(),
  encryption: text<'open' | 'passphrase' | 'members'>(),
  isPrivate: flag,
  history: text<'joined' | 'all'>(),
  /** 0: none. */
  slowMs: number,
  /** 0: for ever. */
  retentionMs: number,
  archivedAt: nullable(number),
  createdBy: id<MemberId>(),
  createdAt: number,
};

/** What a channel is. */
export const CHANNEL = new Table('channel', CHANNEL_COLUMNS);
export type ChannelRow = Row<typeof CHANNEL>;

/** What it is made with: the signed event too, whose hash begins with the channel's id. */
export const NEW_CHANNEL = new Table('channel', { ...CHANNEL_COLUMNS, creation: bytes });
export type NewChannelRow = Row<typeof NEW_CHANNEL>;

/** What a member is in a channel. */
export const MEMBERSHIP = new Table('membership', {
  channel: id<ChannelId>(),
  member: id<MemberId>(),
  state: text<'invited' | 'joined' | 'left' | 'banned'>(),
  role: text<ChannelRole>(),
  /** 0: not muted. */
  mutedUntil: number,
  /** Where the last join is in the channel; 0 before. */
  joinedSeq: number,
});
export type MembershipRow = Row<typeof MEMBERSHIP>;

/** The server's second check for another device. */
export const SECOND_FACTOR = new Table('second_factor', {
  member: id<MemberId>(),
  /** Salt and Argon2id of the password. */
  passwordHash: bytes,
  sealedTotp: bytes,
  /** The last TOTP step that was used, and every one before. */
  lastStep: number,
  updatedAt: number,
});
export type SecondFactorRow = Row<typeof SECOND_FACTOR>;

/** How far a member has read. */
export const READ_MARKER = new Table('read_marker', {
  member: id<MemberId>(),
  channel: id<ChannelId>(),
  seq: number,
});
export type ReadMarkerRow = Row<typeof READ_MARKER>;

/** A file on its way up. */
export const UPLOAD = new Table('upload', {
  id: id<RowId>(),
  member: id<MemberId>(),
  channel: id<ChannelId>(),
  hash: id<BlobHash>(),
  size: number,
  received: number,
  createdAt: number,
  expiresAt: number,
});
export type UploadRow = Row<typeof UPLOAD>;

/** Which channel's members may fetch a blob. */
export const BLOB_REF = new Table('blob_ref', {
  channel: id<ChannelId>(),
  hash: id<BlobHash>(),
  member: id<MemberId>(),
  createdAt: number,
  /** 0: as long as the channel keeps it. */
  expiresAt: number,
});
export type BlobRefRow = Row<typeof BLOB_REF>;

/** Who did what to whom. */
export const AUDIT = new Table('audit', {
  id: id<RowId>(),
  at: number,
  /** Null: the administration. */
  actor: nullable(id<MemberId>()),
  kind: text(),
  /** A member's, channel's or row's id in hex, or empty. */
  target: text(),
  /** JSON of a few short fields, never a text of a person. */
  detail: text(),
});
export type AuditRow = Row<typeof AUDIT>;

/** Work that runs now and then, on one node at a time. */
export const JOB = new Table('job', {
  name: text(),
  leaseUntil: number,
  /** Grows with every lease: who holds an older one has lost it. */
  fencing: number,
  doneAt: number,
});
export type JobRow = Row<typeof JOB>;
