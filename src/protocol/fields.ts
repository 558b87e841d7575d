// The smallest parts of schemas: ids, counts, texts and bytes as they stand in JSON from outside, each with its limit.
import * as z from 'zod';
import { ID_PATTERN } from './ids.ts';
import {
  EXPIRY_MS_MAX,
  EXPIRY_MS_MIN,
  FILE_BLOBS_MAX,
  FILE_BYTES_MAX,
  FILE_NAME_BYTES_MAX,
  REACTION_CHARS_MAX,
  TEXT_BYTES_MAX,
} from './limits.ts';

const bytesAtMost = (max: number) => (text: string) => Buffer.byteLength(text) <= max;

/** A text without half a surrogate pair. */
export const wellFormed = (text: string): boolean => text.isWellFormed();

/** Base64 of at most `bytesMax` bytes. */
export const base64 = (bytesMax: number) =>
  z
    .string()
    .max(Math.ceil(bytesMax / 3) * 4)
    .regex(/^[A-Za-z0-9+/]*={0,2}$/);

/** Base64 of exactly `size` bytes. */
export const base64Of = (size: number) =>
  base64(size)
    .length(Math.ceil(size / 3) * 4)
    .refine((text) => Buffer.from(text, 'base64').length === size);

export const id = z.string().regex(ID_PATTERN);
export const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** Base64 of 32 bytes: a key or a hash. */
export const key32 = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);
export const text = z.string().min(1).refine(bytesAtMost(TEXT_BYTES_MAX)).refine(wellFormed);
export const editNumber = z.number().int().min(1).max(1_000_000);
export const emoji = z.string().min(1).max(REACTION_CHARS_MAX).refine(wellFormed);
export const expiresMs = z.number().int().min(EXPIRY_MS_MIN).max(EXPIRY_MS_MAX);
export const fileName = z.string().min(1).refine(bytesAtMost(FILE_NAME_BYTES_MAX)).refine(wellFormed);

/** What a room is told of a file whose ciphertext is on the server. */
export const fileOffer = {
  kind: z.literal('file'),
  name: fileName,
  sizeBytes: z.number().int().min(0).max(FILE_BYTES_MAX),
  key: key32,
  root: key32,
  /** SHA-256 of each uploaded piece of ciphertext, in order. */
  blobs: z.array(key32).min(1).max(FILE_BLOBS_MAX),
  sentAt: count,
  expiresMs: expiresMs.optional(),
};
