// A daemon on a real file system of its own that is full: `disk.full`, nothing lost, and all goes on once there is room.
import { expect, test } from 'vitest';
import { saidBy } from './own-disk.ts';

test('a full disk is told as such; the daemon goes on, ends when told to, and makes no half account', async () => {
  expect(await saidBy('test/daemon/small-disk.ts')).toBe('isLow\ngoesOn\nends\nisNotMade\n');
});

test('a file that finds no room is told as such, texts flow, and it goes on once there is room', async () => {
  expect(await saidBy('test/daemon/small-files.ts')).toBe('spools\nreceives\nsaves\n');
});
