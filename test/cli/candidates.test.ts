// What is said of the beginning of an id that many have: ids that can be given in its place, and of how many more there are.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { databaseOf, furnish } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

const MANY = 23;

let stage: Stage;
let alice: User;
beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (_alice, bob, world) => {
    const path = join(world.dir, 'source');
    writeFileSync(path, 'content');
    for (let i = 0; i < MANY; i++) await bob.call('file.send', { conversation: 'alice', path, name: `-${i}` });
  });
  using db = databaseOf(alice);
  db.exec(`UPDATE messages SET message_id = unhex('abcdef' || substr(hex(message_id), 7))`);
  db.exec(`UPDATE files SET file_id = unhex('abcdef' || substr(hex(file_id), 7))`);
});
afterAll(() => stage[Symbol.asyncDispose]());

test.each([['show'], ['file show']])(
  '%s tells candidates that it takes, and how many it does not tell',
  async (words) => {
    const { code, error } = await alice.run(...words.split(' '), 'abcdef');
    expect([code, error?.code]).toEqual([3, 'name.ambiguous']);
    const { candidates = [], more = 0 } = error?.details ?? {};
    expect(candidates.length + more).toBe(MANY);
    expect(candidates.length).toBe(20);
    expect(error?.message).toMatch(new RegExp(`^More than one fits: ([^,]+, ){4}[^,]+ and ${MANY - 5} more$`));
    for (const id of candidates.slice(0, 2))
      expect((await alice.one<{ id: string }>(...words.split(' '), id)).id).toBe(id);
  },
);
