// Files of channels and inboxes: ciphertext by its hash, uploaded in parts, fetched by who reads the channel or has the inbox.

import { jsonBytes } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import type { BlobHash, ChannelId, RowId } from '../protocol/ids.ts';
import {
  BLOB_PARTS_AHEAD_BYTES,
  MEMBER_FILES_BYTES_MAX,
  UPLOAD_MS,
  UPLOADS_MAX,
  WIRE_PART_BYTES,
} from '../protocol/limits.ts';
import type { Answer, RequestParams } from '../protocol/server.ts';
import { EVENT, encodePart, type Part } from '../protocol/server-frames.ts';
import { binaryFrame } from '../protocol/websocket.ts';
import { type Asker, inboxChanges, mustHaveRoom, mustWrite, type Place, placeWith } from './access.ts';
import { appendFresh } from './append.ts';
import type { ServerContext } from './context.ts';
import { checkRate } from './publish.ts';
import type { UploadRow } from './rows.ts';

/** Begins an upload, or goes on with one of the same bytes. Throws `quota.exceeded`. */
export const beginBlob = async (
  context: ServerContext,
  asker: Asker,
  params: RequestParams<'blob.begin'>,
): Promise<Answer<'blob.begin'>> => context.uploading.run(asker.member.id, () => beginInTurn(context, asker, params));

// Two at once would each find room for themselves.
const beginInTurn = async (
  context: ServerContext,
  { member }: Asker,
  { channel, hash, sizeBytes }: RequestParams<'blob.begin'>,
): Promise<Answer<'blob.begin'>> => {
  const { store, blobs, clock, rowId } = context;
  await mustTake(context, { channel: channel as ChannelId, member: member.id });
  const find = () => store.getUploadOf(member.id, channel as ChannelId, hash as BlobHash);
  const known = await find();
  // One that is being completed is over first.
  const going = known && (await context.uploading.run(known.id, find));
  const isHere = await hasBrought(context, {
    member: member.id,
    channel: channel as ChannelId,
    hash: hash as BlobHash,
    size: sizeBytes,
  });
  if (going !== undefined) {
    const receivedBytes = isHere ? sizeBytes : await blobs.part(going.id, 0, new Uint8Array());
    return { upload: going.id, receivedBytes };
  }
  const isFull = !isHere && (await store.countFileBytes(member.id)) + sizeBytes > MEMBER_FILES_BYTES_MAX;
  if (isFull || (await store.countUploads(member.id)) >= UPLOADS_MAX) throw new SottoError('quota.exceeded');
  const now = clock.now();
  const row: UploadRow = {
    id: rowId(),
    member: member.id,
    channel: channel as ChannelId,
    hash: hash as BlobHash,
    size: sizeBytes,
    received: 0,
    createdAt: now,
    expiresAt: now + UPLOAD_MS,
  };
  await store.putUpload(row);
  return { upload: row.id, receivedBytes: isHere ? sizeBytes : 0 };
};

// Who has brought it there, and may not have heard so, need not bring it again.
const hasBrought = async (
  { store, blobs }: ServerContext,
  { member, channel, hash, size }: Pick<UploadRow, 'member' | 'channel' | 'hash' | 'size'>,
): Promise<boolean> =>
  (await store.getBlobRef(channel, hash))?.member === member && (await blobs.sizeOf(hash)) === size;

// Who may not write may not bring files either; into an inbox everybody may while it has room.
const mustTake = async (
  context: ServerContext,
  { channel, member }: Pick<UploadRow, 'channel' | 'member'>,
): Promise<Place | undefined> => {
  const place = await placeWith(context, member, channel);
  if (place !== undefined) mustWrite(context, place);
  else await mustHaveRoom(context, channel, member);
  return place;
};

/** Takes the next bytes of an upload of the asker's. Throws `file.unknown`, `file.offset` with what is here. */
export const takePart = async (
  { store, blobs, clock }: ServerContext,
  { member }: Pick<Asker, 'member'>,
  part: Part,
): Promise<{ readonly receivedBytes: number }> => {
  const row = await store.getUpload(part.upload as RowId);
  if (row === undefined || row.member !== member.id) throw new SottoError('file.unknown');
  if (part.offset + part.body.length > row.size) throw new SottoError('request.invalid', { details: { why: 'size' } });
  // Who goes on with it has as long again, said once in a while: each time is a commit.
  const until = clock.now() + UPLOAD_MS;
  if (row.expiresAt < until - UPLOAD_MS / 2) await store.putUploadExpiry(row.id, until);
  return { receivedBytes: await blobs.part(row.id, part.offset, part.body) };
};

/** The upload is whole: from now on who reads the channel, or has the inbox, may fetch it. */
export const completeBlob = async (
  context: ServerContext,
  asker: Asker,
  params: RequestParams<'blob.complete'>,
): Promise<Answer<'blob.complete'>> =>
  context.uploading.run(params.upload as RowId, () => completeInTurn(context, asker, params));

const completeInTurn = async (
  context: ServerContext,
  { member, place }: Asker,
  { channel, upload, ttlSeconds }: RequestParams<'blob.complete'>,
): Promise<Answer<'blob.complete'>> => {
  const { store, blobs, clock } = context;
  const row = await store.getUpload(upload as RowId);
  if (row === undefined || row.member !== member.id || row.channel !== channel) throw new SottoError('file.unknown');
  await mustTake(context, row);
  // Who knows the name of bytes that are here for others has not brought them.
  const hasBytes = (await blobs.part(row.id, 0, new Uint8Array())) > 0;
  if (!hasBytes && !(await hasBrought(context, row))) throw new SottoError('file.unknown');
  // It puts an event there, and flushes the file to the disk.
  checkRate(context, member.id, place === undefined ? 'direct' : 'publish');
  const now = clock.now();
  const expiresAt = ttlSeconds === 0 ? 0 : now + ttlSeconds * 1000;
  // Never while collection takes the same bytes away.
  await context.uploading.run(row.hash, async () => {
    await store.putBlob(row.hash, { size: row.size, isWhole: false, now });
    await blobs.complete(row.id, { hash: row.hash, size: row.size });
    await store.putBlob(row.hash, { size: row.size, isWhole: true, now });
    await refer(context, row, expiresAt);
  });
  await store.removeUpload(row.id);
  return {};
};

// To hash a file takes a while: whether its member may still bring it is looked at again, against what is under way.
const refer = async (
  context: ServerContext,
  { channel, member, hash }: UploadRow,
  expiresAt: number,
): Promise<void> => {
  const id = context.eventId();
  const body = jsonBytes({ what: 'file', hash });
  await appendFresh(context, async () => {
    const [head] = await context.log.heads([channel]);
    const row = await context.standings.member(member);
    if (row === undefined || row.banned || row.erasedAt !== null) throw new SottoError('server.banned');
    const place = await mustTake(context, { channel, member });
    const counted = place === undefined ? inboxChanges(channel, member) : [];
    const changes = [...counted, { kind: 'file', hash, expiresAt } as const];
    return { channel, id, member, kind: EVENT.notice, body, checkedAt: head?.authoritySeq ?? 0, changes };
  });
};

/** Sends bytes of a blob that the channel or inbox refers to, then the answer. Throws `file.unknown`. */
export const getBlob = async (
  context: ServerContext,
  { peer, member, place }: Asker,
  { channel, hash, from, limit }: RequestParams<'blob.get'>,
  request: number,
): Promise<Answer<'blob.get'>> => {
  const name = hash as BlobHash;
  const reference = await context.store.getBlobRef(channel as ChannelId, name);
  // What is in the inbox of another is for who brought it, and for nobody else.
  const isOthers = place === undefined && channel !== member.id && reference?.member !== member.id;
  if (reference === undefined || isOthers) throw new SottoError('file.unknown');
  const end = from + Math.min(limit, BLOB_PARTS_AHEAD_BYTES);
  let at = from;
  while (at < end && peer.isOpen) {
    const bytes = await context.blobs.get(name, { from: at, size: Math.min(WIRE_PART_BYTES, end - at) });
    if (bytes === undefined) throw new SottoError('file.unknown');
    if (bytes.length === 0) break;
    const part = encodePart({ request, upload: hash.slice(0, 32), offset: at, body: new Uint8Array(bytes) });
    if (!peer.send(binaryFrame(part))) await context.room(peer);
    at += bytes.length;
  }
  return { sentBytes: at - from };
};

/** Takes back what the asker has brought, or as a moderator of the channel what anybody has. Throws `file.unknown`. */
export const removeBlob = async (
  context: ServerContext,
  { member }: Asker,
  { channel, hash }: RequestParams<'blob.remove'>,
): Promise<Answer<'blob.remove'>> => {
  const { store, blobs, uploading, clock } = context;
  const [at, name] = [channel as ChannelId, hash as BlobHash];
  const going = await store.getUploadOf(member.id, at, name);
  // One that is being completed may be fetched first.
  if (going !== undefined)
    await uploading.run(going.id, async () => {
      await store.removeUpload(going.id);
      await blobs.remove(going.id);
    });
  await uploading.run(name, async () => {
    const brought = await store.getBlobRef(at, name);
    const place = await placeWith(context, member.id, at);
    const isModerator = place?.membership !== undefined && place.membership.role !== 'member';
    if (brought !== undefined && (brought.member === member.id || isModerator)) {
      await store.removeBlobRef(at, name);
      // Nobody brings the same bytes meanwhile: what has no other reference goes now.
      if (await store.removeBlob(name, clock.now() + 1)) await blobs.remove(name);
    } else if (going === undefined) throw new SottoError('file.unknown');
  });
  return {};
};
