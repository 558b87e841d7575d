// What takes the room of the disk at TMPDIR.
import assert from 'node:assert/strict';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The smallest that a disk gives. */
export const PIECE = Buffer.alloc(4096);
export const ballast = join(tmpdir(), 'ballast');

/** Takes all the room there is. */
export const fill = (): void => {
  const target = openSync(ballast, 'a');
  try {
    for (;;) writeSync(target, PIECE);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    closeSync(target);
  }
};

export const free = (): void => rmSync(ballast);
