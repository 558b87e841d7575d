// What disk-full.test.ts runs on a disk of its own, which TMPDIR names: `sotto serve` there, and members who talk.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorObject } from '../../src/protocol/errors.ts';
import { fill, free } from '../daemon/ballast.ts';
import { Program } from './program.ts';
import type { Member } from './scene.ts';

const LONG = 'x'.repeat(16_000);
const SENDS_MAX = 1_000;

await using program = new Program();
// What there is room for in the log of the database is soon said.
const often = '{ burst = 1000, perHour = 360000 }';
mkdirSync(program.data, { mode: 0o700 });
writeFileSync(join(program.data, 'server.toml'), `[rates]\npublish = ${often}\nburst = ${often}\n`);
await program.start('--registration', 'open');
const alice = program.member('alice');
await alice.join();
const room = await alice.create('small');
const answered: string[] = [];

/** Says something long under a name; gives the code of what the server answered instead of a place. */
const say = async (member: Member, name: string): Promise<string> => {
  try {
    await member.say(room.channel, `${name} ${LONG}`);
    answered.push(name);
    return 'answered';
  } catch (error) {
    const { code, details } = errorObject(error);
    if (code !== 'rate.limited') return code;
    await new Promise((done) => setTimeout(done, Number(details?.retryAfterMs)));
    return say(member, name);
  }
};

/** All that was answered is there once, in order; what was not may be there too. */
const isWhole = async (member: Member): Promise<void> => {
  const { channel } = room;
  const names: string[] = [];
  for (let after = 1; ; ) {
    const { events, answer } = await member.client.events('log.page', { channel, after, limit: 500 });
    names.push(...events.map(({ body }) => Buffer.from(body).toString().split(' ')[0] ?? ''));
    after = events.at(-1)?.seq ?? after;
    if (events.length === 0 || after >= answer.head.seq) break;
  }
  assert.deepEqual(
    names.filter((name) => answered.includes(name)),
    answered,
  );
  assert.equal(new Set(names).size, names.length);
};

const refuses = async (): Promise<void> => {
  await say(alice, 'first');
  fill();
  let said = 'answered';
  for (let n = 0; n < SENDS_MAX && said === 'answered'; n++) said = await say(alice, String(n));
  assert.equal(said, 'server.unavailable');
};

const reads = async (): Promise<void> => {
  await assert.rejects(program.member('bob').join(), { code: 'server.unavailable' });
  await isWhole(alice);
};

const goesOn = async (): Promise<void> => {
  free();
  assert.equal(await say(alice, 'again'), 'answered');
  await isWhole(alice);
  await program.member('bob').join();
};

const ends = async (): Promise<void> => {
  fill();
  assert.equal(await program.stop(), 0);
  free();
  await program.start();
  await alice.join();
  await isWhole(alice);
  const [check] = await program.admin('check', '--deep');
  assert.deepEqual(check?.wrong, []);
};

for (const step of [refuses, reads, goesOn, ends]) {
  await step();
  process.stdout.write(`${step.name}\n`);
}
