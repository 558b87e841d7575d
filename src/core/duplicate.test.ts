import { expect, test } from 'vitest';
import { putInstallId } from '../store/self.ts';
import { type Person, World } from '../testing/people.ts';

test('LINK-5: two copies of an account that take turns are told to both sides, once a day', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  const told = (person: Person) =>
    person.account.events
      .since('0')
      .events.flatMap(({ kind, detail }) => (kind === 'account.duplicate' ? [detail] : []));
  const [one, two] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
  const runs = async (copy: Uint8Array) => {
    await alice.close();
    await bob.close();
    await alice.open();
    putInstallId(alice.db, copy);
    await alice.close();
    await alice.open();
    await alice.send(bob, 'it is me');
    await bob.open();
    await world.settle(60_000);
  };
  await runs(one);
  await runs(two);
  expect([told(alice), told(bob)]).toEqual([[], []]);
  await runs(one);
  expect([told(alice), told(bob)]).toEqual([
    ['they see two copies of your account take turns'],
    ['two copies of their account take turns'],
  ]);
  for (const copy of [two, one, two]) await runs(copy);
  expect([told(alice).length, told(bob).length]).toEqual([1, 1]);
  expect((await bob.contact('alice')).history?.at(-1)?.kind).toBe('account.duplicate');
  world.clock.jump(25 * 3_600_000);
  await runs(one);
  expect([told(alice).length, told(bob).length]).toEqual([2, 2]);
  world.clock.jump(-60 * 3_600_000);
  for (const copy of [two, one]) await runs(copy);
  expect([told(alice).length, told(bob).length]).toEqual([3, 3]);
});
