// A real server on a small file system of its own, which is full.
import { expect, test } from 'vitest';
import { saidBy } from '../daemon/own-disk.ts';

test('a server whose disk is full says so, lets read, keeps what it has answered, and takes more once there is room', async () => {
  expect(await saidBy('test/rooms/small-server.ts')).toBe('refuses\nreads\ngoesOn\nends\n');
});
