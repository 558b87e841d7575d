// All members of a real server lose it at one moment, and come back by themselves: nothing is lost, and its memory stays what it was.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { retryMs } from '../../src/core/room-connection.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { dialServer } from '../../src/net/server-dial.ts';
import type { ServerNetwork } from '../../src/ports.ts';
import { expectedError } from '../../src/protocol/errors.ts';
import type { ChannelId } from '../../src/protocol/ids.ts';
import { Program } from './program.ts';
import { Member, type Room } from './scene.ts';

const CLIENTS = Number(process.env.SOTTO_STORM_CLIENTS ?? 50);
/** Twice what a source may have that is not proven. */
const CLIENTS_PER_SOURCE = 40;
/** As many as may register from one source at once. */
const NEWCOMERS_PER_SOURCE = 20;
/** Silence is noticed after a minute and a half. */
const IS_LONG = CLIENTS >= 1_000;
const MIB = 1024 * 1024;

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** A member who comes back whenever the connection is lost, as a daemon does. */
class Comer {
  readonly member: Member;
  address: string;
  isIn = false;
  failures = 0;
  #isOver = false;
  #socket: Socket | undefined;

  constructor(program: Program, number: number) {
    this.address = `127.0.2.${1 + Math.floor(number / NEWCOMERS_PER_SOURCE)}`;
    this.member = new Member(program, `comer-${number}`, undefined, this.#network());
  }

  /** Registers and enters the channel. */
  async join(room: Room): Promise<void> {
    await this.member.join();
    await this.member.control(room, { op: 'join' });
  }

  /** Is told from now on what is said there. */
  async enter({ channel }: Room): Promise<void> {
    await this.#hear(channel);
    this.isIn = true;
  }

  /** Comes back until `leave`. */
  async stay({ channel }: Room): Promise<void> {
    while (!this.#isOver) {
      await this.member.closed;
      this.isIn = false;
      for (let tries = 0; !this.isIn && !this.#isOver; tries++) {
        await pause(retryMs(systemRandom, tries));
        this.isIn = await this.#come(channel);
      }
    }
  }

  /** Resolves once it is in and has heard a text. */
  async hears(channel: ChannelId, text: string): Promise<void> {
    while (!this.isIn || this.member.texts(channel).at(-1) !== text) await pause(10);
  }

  /** Resolves once it knows that the connection is lost. */
  async misses(): Promise<void> {
    while (this.isIn) await pause(100);
  }

  /** The connection is lost, without a word. */
  drop(): void {
    this.#socket?.destroy();
  }

  leave(): void {
    this.#isOver = true;
    this.member.leave();
  }

  async #come(channel: ChannelId): Promise<boolean> {
    try {
      const client = await this.member.dial();
      await client.login(this.member.keys());
      await this.#hear(channel);
      return true;
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
      this.failures++;
      this.drop();
      return false;
    }
  }

  // From where it was, the first time from now on.
  async #hear(channel: ChannelId): Promise<void> {
    const { client } = this.member;
    const last = this.member.events.findLast((event) => event.channel === channel);
    const { epoch, seq, id } = last ?? (await client.events('log.page', { channel, limit: 1 })).answer.head;
    await client.request('resume', { cursors: { [channel]: [epoch, seq, id] } });
  }

  #network(): ServerNetwork {
    return {
      dialServer: (target, attach) =>
        dialServer({
          target,
          path: '/v1',
          clock: systemClock,
          random: systemRandom,
          attach,
          connect: (to) => {
            this.#socket = connect({ ...to, localAddress: this.address });
            return this.#socket;
          },
        }),
    };
  }
}

/** A server in its own process, and what the system says of its memory. */
const residentBytes = ({ pid }: Program): number =>
  1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** A number of the server's, by its name. */
const metric = async ({ ready }: Program, name: string): Promise<number> => {
  const text = await (await fetch(`${ready?.metrics}/metrics`)).text();
  return Number(new RegExp(`^sotto_${name} (\\d+)`, 'm').exec(text)?.[1]);
};

test(`${CLIENTS} clients who lose their server at once come back by themselves and miss nothing`, async () => {
  await using program = new Program();
  await program.start('--registration', 'open');
  const owner = program.member('owner');
  await owner.join();
  const room = await owner.create('storm');
  const { channel } = room;
  const comers = Array.from({ length: CLIENTS }, (_, i) => new Comer(program, i));
  for (const comer of comers) await comer.join(room);
  for (const [i, comer] of comers.entries()) comer.address = `127.0.1.${1 + Math.floor(i / CLIENTS_PER_SOURCE)}`;
  await Promise.all(comers.map((comer) => comer.enter(room)));
  const staying = comers.map((comer) => comer.stay(room));
  const texts: string[] = [];
  /** Says one thing to all, by a connection of its own; and waits until all are in and have heard it. */
  const say = async (text: string): Promise<number> => {
    const startedAt = performance.now();
    texts.push(text);
    await owner.say(channel, text);
    await Promise.all(comers.map((comer) => comer.hears(channel, text)));
    return performance.now() - startedAt;
  };
  await say('before');
  const figures: string[] = [];
  const tell = async (what: string, ms: number): Promise<number> => {
    const resident = residentBytes(program);
    const failures = comers.reduce((sum, comer) => sum + comer.failures, 0);
    const refused = await metric(program, 'refused_connections_total');
    figures.push(
      `${what}: all in after ${(ms / 1000).toFixed(1)} s, ${failures} tries failed, ${refused} refused, ${Math.round(resident / MIB)} MiB`,
    );
    return resident;
  };
  const before = await tell('joined', 0);

  await program.stop('SIGKILL');
  await program.start();
  await owner.join();
  const back = await tell('killed', await say('after a kill'));

  for (let round = 1; round <= 3; round++) {
    for (const comer of comers) comer.drop();
    await tell(`cut ${round}`, await say(`after ${round}`));
  }
  const after = residentBytes(program);

  // A machine that does nothing for a moment: what was sent meanwhile is answered and told, and nobody was lost.
  const failures = comers.reduce((sum, comer) => sum + comer.failures, 0);
  program.signal('SIGSTOP');
  const stalled = ['one', 'two', 'three'].map((text) => owner.say(channel, text));
  texts.push('one', 'two', 'three');
  program.signal('SIGCONT');
  await Promise.all(stalled);
  await Promise.all(comers.map((comer) => comer.hears(channel, 'three')));
  expect(comers.reduce((sum, comer) => sum + comer.failures, 0)).toBe(failures);

  if (IS_LONG) {
    // It stands still for so long that every connection is held to be dead; it never knew.
    program.signal('SIGSTOP');
    const startedAt = performance.now();
    await Promise.all(comers.map((comer) => comer.misses()));
    figures.push(`stopped: all missed it after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    program.signal('SIGCONT');
    await owner.closed;
    await owner.join();
    await tell('gone on', await say('after a stop'));
  }
  for (const comer of comers) comer.leave();
  await Promise.all(staying);
  process.stderr.write(`storm: ${CLIENTS} clients, ${figures.join('; ')}\n`);
  for (const { member } of comers) expect(member.texts(channel)).toEqual(texts);
  expect(back).toBeLessThan(1.5 * before + 64 * MIB);
  expect(after).toBeLessThan(1.5 * back + 64 * MIB);
}, 600_000);
