// All that a server keeps beside its log, as an interface. Rights are read here and changed by events alone (`changes.ts`).
import type { BlobHash, ChannelId, DeviceId, MemberId, RowId } from '../protocol/ids.ts';
import type { Millis, Seq, Stored } from './event-log.ts';
import type {
  AuditRow,
  BlobRefRow,
  ChannelRow,
  DeviceRow,
  InviteRow,
  JobRow,
  MemberRow,
  MembershipRow,
  PrekeyRow,
  ReadMarkerRow,
  SecondFactorRow,
  ServerRow,
  UploadRow,
} from './rows.ts';

/** What somebody starts a session with a device with: each one-time key is given to one asker. */
export type PrekeyBundle = {
  readonly signed: PrekeyRow;
  /** Absent once all are handed out. */
  readonly ec: PrekeyRow | undefined;
  /** A one-time key, or the one of last resort. */
  readonly kyber: PrekeyRow;
};

export type AuditFilter = {
  /** Null: the administration, or the server itself, which gives alerts. */
  readonly actor?: MemberId | null;
  readonly target?: string;
  readonly kind?: string;
  readonly exceptKind?: string;
  readonly since?: Millis;
  /** Lines older than this one. */
  readonly before?: RowId;
  readonly limit: number;
};

/** Whose a device is, and whether it still is one. */
export type Certified = Pick<DeviceRow, 'member' | 'revokedAt'> & { readonly isSame: boolean };

/**
 * One verb per statement: `get` gives a row or undefined, `list` pages in order of their keys (`after`: the last key seen,
 * undefined for the first page), `put` adds or replaces, `take` gives something to one caller only, `remove` is idempotent,
 * `count` adds up. A `line` of the audit log commits with what it tells, or neither does. Every answer is of what has been committed, and what resolves is committed. Rejects with `disk.*`.
 */
export interface StateStore {
  getServer(): Promise<ServerRow>;
  putServer(set: Partial<Pick<ServerRow, 'name' | 'registration'>>, line: AuditRow): Promise<void>;

  getMember(id: MemberId): Promise<MemberRow | undefined>;
  getMemberByName(skeleton: string): Promise<MemberRow | undefined>;
  /** Without erased ones. */
  listMembers(after: MemberId | undefined, limit: number): Promise<readonly MemberRow[]>;
  countMembers(): Promise<number>;
  /** Prekeys, second factor, read markers and the references of the inbox of a member who goes; their uploads expire at once. */
  removeBelongings(member: MemberId): Promise<void>;
  /** How many events of another member are in an inbox. */
  countInboxEvents(inbox: ChannelId, member: MemberId): Promise<number>;
  /** Erased members of whom something is left that `removeBelongings` removes, or events in their inbox. */
  listErasedWithBelongings(after: MemberId | undefined, limit: number): Promise<readonly MemberId[]>;
  /** Members in whose inbox the oldest event is not younger than `at`. */
  listInboxesOfBefore(at: Millis, limit: number): Promise<readonly MemberId[]>;

  getDevice(id: DeviceId): Promise<DeviceRow | undefined>;
  /** What a log-in needs of a device, without its bytes; `isSame`: the certificate is the one that is kept, byte by byte. */
  getCertified(id: DeviceId, certificate: Uint8Array<ArrayBuffer>): Promise<Certified | undefined>;
  /** Revoked ones too, by serial. */
  listDevices(member: MemberId): Promise<readonly DeviceRow[]>;
  /** The greatest count that a device has published with; 0 for none, and once it is revoked. */
  getSealed(device: DeviceId): Promise<number>;

  /** Adds one-time keys, but for those up to the newest that is there, and replaces `signed` and `last` keys. */
  putPrekeys(device: DeviceId, keys: readonly Omit<PrekeyRow, 'device'>[]): Promise<void>;
  /** Undefined when the device has no signed key, or no Kyber key to give: the newest one-time key of a kind is not given. */
  takePrekeys(device: DeviceId): Promise<PrekeyBundle | undefined>;
  /** One-time keys that are left, with the newest. */
  countPrekeys(device: DeviceId): Promise<{ readonly ec: number; readonly kyber: number }>;

  putInvite(row: InviteRow, line: AuditRow): Promise<void>;
  getInvite(tokenHash: Uint8Array<ArrayBuffer>): Promise<InviteRow | undefined>;
  /** Those that have uses left, are not revoked and have not expired. */
  listInvitesUsable(now: Millis, after: RowId | undefined, limit: number): Promise<readonly InviteRow[]>;
  /** Those that a member has made, newest first. */
  listInvitesOf(madeBy: MemberId, limit: number): Promise<readonly InviteRow[]>;
  /** Revokes it; false when there is no such invite, or it is revoked. */
  removeInvite(id: RowId, now: Millis, line: AuditRow): Promise<boolean>;

  getChannel(id: ChannelId): Promise<ChannelRow | undefined>;
  getChannelByName(skeleton: string): Promise<ChannelRow | undefined>;
  listChannels(after: ChannelId | undefined, limit: number): Promise<readonly ChannelRow[]>;
  /** The events that say who may do what, from after+1 on: they outlive retention. */
  listAuthority(channel: ChannelId, after: Seq, limit: number): Promise<readonly Stored[]>;

  getMembership(channel: ChannelId, member: MemberId): Promise<MembershipRow | undefined>;
  /** Members who have joined. */
  countJoined(channel: ChannelId): Promise<number>;
  listMembershipsOf(member: MemberId, after: ChannelId | undefined, limit: number): Promise<readonly MembershipRow[]>;

  getSecondFactor(member: MemberId): Promise<SecondFactorRow | undefined>;
  /** Replaces the password, the secret and all recovery codes (hashes). */
  putSecondFactor(
    row: SecondFactorRow,
    recoveryCodes: readonly Uint8Array<ArrayBuffer>[],
    line: AuditRow,
  ): Promise<void>;
  /** Gives whether there was one. */
  removeSecondFactor(member: MemberId, line: AuditRow): Promise<boolean>;
  /** True once for a step and every earlier one. */
  takeTotpStep(member: MemberId, step: number): Promise<boolean>;
  countRecoveryCodes(member: MemberId): Promise<number>;
  /** True once for each code. */
  takeRecoveryCode(member: MemberId, hash: Uint8Array<ArrayBuffer>): Promise<boolean>;

  /** Counts a try; a window begins with the first one after the last window's end. */
  putAttempt(
    kind: string,
    subject: string,
    options: { readonly now: Millis; readonly windowMs: number },
  ): Promise<{ readonly tries: number; readonly since: Millis }>;
  getAttempt(kind: string, subject: string): Promise<{ readonly tries: number; readonly since: Millis } | undefined>;
  /** One try less in the window that began at `since`, if it is still that one. */
  takeBackAttempt(kind: string, subject: string, since: Millis): Promise<void>;
  /** Those whose window began before. */
  removeAttempts(before: Millis): Promise<void>;

  listReadMarkers(member: MemberId): Promise<readonly ReadMarkerRow[]>;
  /** Never moves back; false when it is further on already. */
  putReadMarker(row: ReadMarkerRow): Promise<boolean>;

  getUpload(id: RowId): Promise<UploadRow | undefined>;
  /** The upload of these bytes that a member has begun for a channel. */
  getUploadOf(member: MemberId, channel: ChannelId, hash: BlobHash): Promise<UploadRow | undefined>;
  putUpload(row: UploadRow): Promise<void>;
  putUploadExpiry(id: RowId, expiresAt: Millis): Promise<void>;
  removeUpload(id: RowId): Promise<void>;
  /** True when it still has expired: its bytes may go. */
  removeUploadExpired(id: RowId, now: Millis): Promise<boolean>;
  listUploadsExpired(now: Millis, limit: number): Promise<readonly UploadRow[]>;

  /**
   * Said before a blob is made whole, so that collection leaves it alone; `isWhole` says so once it is. Only then an event
   * can refer to it.
   */
  putBlob(
    hash: BlobHash,
    blob: { readonly size: number; readonly isWhole: boolean; readonly now: Millis },
  ): Promise<void>;
  getBlob(hash: BlobHash): Promise<{ readonly size: number; readonly isWhole: boolean } | undefined>;
  getBlobRef(channel: ChannelId, hash: BlobHash): Promise<BlobRefRow | undefined>;
  removeBlobRef(channel: ChannelId, hash: BlobHash): Promise<void>;
  /** Some of those that have expired; gives their blobs. */
  removeBlobRefsExpired(now: Millis, limit: number): Promise<readonly BlobHash[]>;
  /** Those that a channel has had since before: its retention has taken their events. */
  removeBlobRefsBefore(channel: ChannelId, before: Millis): Promise<void>;
  /** Blobs that nobody refers to and nobody touched since `before`. */
  listBlobsUnused(before: Millis, limit: number): Promise<readonly BlobHash[]>;
  /** True when it is still unused: its bytes may go. */
  removeBlob(hash: BlobHash, before: Millis): Promise<boolean>;
  /** Uploads that a member has begun and not ended. */
  listUploadsOf(member: MemberId): Promise<readonly UploadRow[]>;
  countUploads(member: MemberId): Promise<number>;
  /** What a member has brought, newest first. */
  listBlobRefsOf(member: MemberId, limit: number): Promise<readonly BlobRefRow[]>;
  /** Bytes of what a member has in channels and on its way up. */
  countFileBytes(member: MemberId): Promise<number>;

  /** Events whose bodies are due: `erase` of the log takes them off the list. */
  listExpired(now: Millis, limit: number): Promise<readonly { readonly channel: ChannelId; readonly seq: Seq }[]>;

  putAudit(row: AuditRow): Promise<void>;
  /** Newest first. */
  listAudit(filter: AuditFilter): Promise<readonly AuditRow[]>;
  removeAudit(before: Millis): Promise<void>;

  /**
   * A lease on a job, unless somebody has one: at most one runs, and what it does carries its fencing number. One that would last
   * more than twice as long is of a clock that was ahead, and is nobody's.
   */
  takeJob(name: string, lease: { readonly now: Millis; readonly leaseMs: number }): Promise<JobRow | undefined>;
  /** False when the lease was lost to another. */
  putJobDone(name: string, fencing: number, now: Millis): Promise<boolean>;
  /** Gives a lease back with nothing done: anybody may try. False when it was lost to another. */
  putJobFailed(name: string, fencing: number): Promise<boolean>;
  listJobs(): Promise<readonly JobRow[]>;
}
