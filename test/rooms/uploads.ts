// Files that members of a scene bring and fetch, and what becomes of it, as a word.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { codeOf } from '../../src/testing/code.ts';
import type { Hosted, Member } from './scene.ts';

/** Uploads bytes into a room; gives their hash. */
export const upload = async (
  who: Member,
  { channel }: { readonly channel: string },
  bytes: Uint8Array<ArrayBuffer>,
  ttlSeconds = 0,
): Promise<string> => {
  const hash = createHash('sha256').update(bytes).digest('hex');
  const begun = await who.client.request('blob.begin', { channel, hash, sizeBytes: bytes.length });
  await who.client.upload({ upload: begun.upload, offset: 0, body: bytes });
  await who.client.request('blob.complete', { channel, upload: begun.upload, ttlSeconds });
  return hash;
};

/** What somebody gets who fetches a file: `done` when it is all of it. */
export const fetched = (who: Member, channel: string, hash: string): Promise<unknown> => {
  const parts: Uint8Array[] = [];
  const fetching = who.client.fetch({ channel, hash, limit: 1e6 }, ({ body }) => parts.push(body));
  return codeOf(
    fetching.then(() => expect(createHash('sha256').update(Buffer.concat(parts)).digest('hex')).toBe(hash)),
  );
};

/** Where the blobs and uploads of a server lie, in its folder of them. */
export const filesOf = ({ paths }: Pick<Hosted, 'paths'>): string[] =>
  existsSync(paths.blobs)
    ? (readdirSync(paths.blobs, { recursive: true }) as string[]).filter((name) => name.includes('/'))
    : [];
