// Random worlds of a server and three people who talk in its rooms while everything breaks around them.

import { dialServer } from '../../src/net/server-dial.ts';
import { expectedError } from '../../src/protocol/errors.ts';
import { linkOf } from '../../src/server/admin.ts';
import { banMember } from '../../src/server/rights.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { FAIR_SOCKETS, MemorySockets } from '../../src/testing/sockets.ts';
import { Deeds, isSame, memberName } from './room-deeds.ts';
import { Habits } from './room-habits.ts';
import { GOOD_DISK, Host, KEPT_MS } from './room-host.ts';
import { type Traits, traitsOf } from './room-traits.ts';
import { logOf, type Said, wrongIn } from './room-views.ts';
import { stretching } from './stretching.ts';

const NAMES = ['alice', 'bob', 'carol'] as const;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const REST_ROUNDS_MAX = 60;
/** The server takes no id that is further ahead of its clock than an hour. */
const JUMP_MS_MAX = 25 * MINUTE;
const PASSPHRASES = ['first of all', 'second to none', 'third time lucky'] as const;

export type RoomOutcome = {
  readonly trace: string;
  readonly said: number;
  readonly deaths: number;
  readonly restores: number;
  readonly wrong: readonly string[];
};

/** A member is given the keys of another five times a day, and for each of their devices once: then the other cannot read. */
const REVOCATIONS_MAX = 2;

/** Plays one world to its end; the same seed gives the same trace. Every eighth has a passphrase channel, every other is put back. */
export const playRooms = async (seed: number, steps: number): Promise<RoomOutcome> => {
  await using world = new World(seed);
  const sockets = new MemorySockets(world.clock, seededRandom(seed ^ 0x50c7e7));
  await using host = new Host(world, sockets, seed);
  world.others.push(stretching);
  const play = new Play({ world, sockets, host }, seed);
  await play.begin();
  for (let step = 0; step < steps; step++) await play.step();
  await play.rest();
  return await play.outcome();
};

const isDeath = (error: unknown): boolean => error instanceof Error && /died$|^crashed /.test(error.message);

const unlessDeath = (error: unknown): void => {
  if (!isDeath(error)) throw error;
};

/** Whether the server lets somebody in no more, for this reason. */
const isEnded = (who: Person, code: string): boolean =>
  who.account.status().servers.some(({ lastErrorCode }) => lastErrorCode === code);

/** Whether somebody has not joined yet, or has left. */
const isOut = (who: Person): boolean => {
  const { servers } = who.account.status();
  return servers.every(({ state }) => state === 'off');
};

type Scene = { readonly world: World; readonly sockets: MemorySockets; readonly host: Host };

class Play {
  readonly #scene: Scene;
  readonly #dice;
  readonly #traits: Traits;
  #willGrow: boolean;
  readonly #deeds: Deeds | undefined;
  readonly #habits: Habits | undefined;
  readonly #owners = new Map<string, object>();
  readonly #people: Person[] = [];
  #said: Said[] = [];
  readonly #lost = new Set<string>();
  readonly #outcasts = new Set<Person>();
  readonly #forgetful = new Set<string>();
  readonly #going = new Set<Promise<void>>();
  readonly #trace: string[] = [];
  readonly #wrong: string[] = [];
  #deaths = 0;
  #restores = 0;
  #revocations = 0;
  #hasCopy = false;

  constructor(scene: Scene, seed: number) {
    this.#scene = scene;
    this.#dice = seededRandom(seed ^ 0x2005);
    this.#traits = traitsOf(seed);
    this.#willGrow = this.#traits.grows;
    if (this.#traits.isBusy) this.#deeds = new Deeds(scene.world.clock, seededRandom(seed ^ 0xdeed5));
    if (this.#traits.isSettled) this.#habits = new Habits(seededRandom(seed ^ 0x4ab17));
  }

  async begin(): Promise<void> {
    const { world, host } = this.#scene;
    world.wayFor = (name, clock) => this.#way(name, clock);
    await host.open();
    for (const name of NAMES) this.#people.push(await world.person(name));
    const [alice, ...others] = this.#people;
    if (alice === undefined) throw new Error('three people');
    const join = (who: Person, link: string) =>
      world.during(who.call('server.join', { link, name: who.name, label: 'home' }));
    await join(alice, linkOf(host.server, (await host.server.makeOwnerInvite())?.token ?? ''));
    const { link = '' } = await world.during(alice.call('server.invite', { uses: others.length }));
    for (const who of others) await join(who, link);
    const [bob] = others;
    if (bob !== undefined && this.#traits.hasLaptop) {
      const laptop = await world.person('bob2', bob);
      this.#people.push(laptop);
      await world.during(laptop.call('server.join', { link, label: 'home' }));
    }
    for (const channel of this.#traits.channels) {
      const encryption = channel === '#sealed' ? 'members' : channel === '#locked' ? 'passphrase' : 'open';
      const secret = encryption === 'passphrase' ? { passphrase: PASSPHRASES[0] } : {};
      await world.during(alice.call('channel.create', { name: channel, encryption, ...secret }));
      if (this.#traits.forgets) await world.during(alice.call('channel.set', { channel, retentionMs: KEPT_MS }));
      for (const who of others) {
        if (encryption === 'members') await world.during(alice.call('channel.invite', { channel, member: who.name }));
        await world.during(who.call('channel.join', { channel, ...secret }));
      }
    }
  }

  async step(): Promise<void> {
    const { world, host } = this.#scene;
    if (!host.isUp && this.#dice.fraction() < 0.3) await host.open();
    const roll = this.#dice.fraction();
    const who = this.#pick(this.#people);
    if (this.#willGrow && this.#dice.fraction() < 0.03) await this.#grow();
    else if (this.#traits.isPutBack && this.#dice.fraction() < 0.04) await this.#goBack();
    else if (this.#traits.forgets && this.#dice.fraction() < 0.05 && host.isUp) await host.forget();
    else if (!who.isOpen) {
      if (roll < 0.5) await who.open();
    } else if (this.#traits.isBanned && this.#dice.fraction() < 0.05) this.#ban(this.#dice.fraction() < 0.5);
    else if (this.#traits.isRevoked && this.#dice.fraction() < 0.05) this.#revoke();
    else if (this.#habits?.isTurn() === true) this.#live(this.#habits, who);
    else if (this.#deeds?.isTurn() === true) this.#deed(this.#deeds, who);
    else if (roll < 0.4) this.#send(who, this.#pick(this.#traits.channels));
    else if (roll < 0.47) this.#send(who, memberName(this.#pick(this.#people.filter((one) => !isSame(one, who)))));
    else if (roll < 0.53) this.#change(who);
    else if (roll < 0.63) await world.settle(this.#dice.fraction() * 5 * SECOND);
    else if (roll < 0.72) this.#control(who);
    else if (roll < 0.75) this.#crashSoon(who);
    else if (roll < 0.76) await this.#restart(who);
    else if (roll < 0.85) await this.#trouble(roll, who);
    else if (roll < 0.89) this.#weather();
    else if (roll < 0.92) this.#scene.sockets.heal();
    else if (roll < 0.95) this.#disk();
    else if (roll < 0.97) this.#jump(who);
    else if (roll < 0.985) await this.#copy();
    else await this.#putBack();
    await world.settle(this.#dice.fraction() * 400);
  }

  /** Fair weather, everybody up, good disks, clocks that are right, and time for everything that waits. */
  async rest(): Promise<void> {
    const { world, sockets, host } = this.#scene;
    sockets.weather = FAIR_SOCKETS;
    sockets.heal();
    host.disk = GOOD_DISK;
    host.shift = 0;
    host.spare();
    if (!host.isUp) await host.open();
    this.#ban(false);
    for (const who of this.#people) {
      who.shift = 0;
      who.crashAt(Number.POSITIVE_INFINITY, 'after');
      if (!who.isOpen) await who.open();
    }
    await world.settle(MINUTE);
    // Whoever is in a channel hears of its passphrase in the end.
    for (const channel of this.#traits.channels.filter((name) => name === '#locked'))
      for (const who of this.#people) {
        const { state } = await world.during(who.call('channel.show', { channel }));
        for (const passphrase of state === 'joined' ? PASSPHRASES : [])
          this.#try(who, () => who.call('channel.join', { channel, passphrase }));
      }
    for (let round = 0; round < REST_ROUNDS_MAX; round++) {
      for (const who of this.#people.filter((one) => isEnded(one, 'device.revoked') || isOut(one)))
        this.#try(who, () => this.#joinAnew(who));
      for (const who of this.#people.filter((one) => isEnded(one, 'server.banned'))) {
        // A ban may have been on its way when the last was taken back.
        this.#ban(false);
        this.#try(who, () => who.call('server.retry', { server: 'home' }));
      }
      // It may have died of what was under way.
      if (!host.isUp) {
        await host.open();
        this.#ban(false);
        this.#hurry();
      } else if (round === 0) this.#hurry();
      await world.settle(MINUTE);
      const calm = this.#people.every((who) =>
        who.account.status().servers.every(({ state, outboxDepth }) => state === 'online' && outboxDepth === 0),
      );
      if (calm && !this.#people.some(isOut) && this.#going.size === 0) break;
    }
    // What was said while the server's clock was ahead ends later.
    await world.settle(this.#deeds === undefined ? MINUTE : JUMP_MS_MAX + 5 * MINUTE);
  }

  // No channel is slow any more.
  #hurry(): void {
    const [alice] = this.#people;
    for (const channel of this.#habits === undefined ? [] : this.#traits.channels)
      if (alice !== undefined) this.#try(alice, () => alice.call('channel.set', { channel, slowMs: 0 }));
  }

  async outcome(): Promise<RoomOutcome> {
    const { world, sockets, host } = this.#scene;
    this.#forgetTakenBack();
    const wrong = [
      ...this.#wrong,
      ...host.bugs.map((bug) => `the server: ${bug instanceof Error ? bug.stack : bug}`),
      ...(await wrongIn({
        world,
        host,
        people: this.#people,
        outcasts: this.#outcasts,
        forgetful: this.#forgetful,
        channels: this.#traits.channels,
        said: this.#said,
        lost: this.#lost,
        wasRestored: this.#restores > 0,
        forgets: this.#traits.forgets,
        trace: this.#trace,
        shown: this.#habits?.shown ?? new Set(),
        files: this.#habits?.files ?? [],
      })),
    ];
    const logs = await Promise.all(this.#traits.channels.map((channel) => logOf(host, channel)));
    wrong.push(...((await this.#deeds?.lingering(this.#people, logs.flat())) ?? []));
    if (this.#going.size > 0) wrong.push(`${this.#going.size} calls were never answered`);
    if (sockets.count !== 2 * this.#people.length) wrong.push(`${sockets.count} sockets are held`);
    return {
      trace: this.#trace.join('\n'),
      said: this.#said.length,
      deaths: this.#deaths,
      restores: this.#restores,
      wrong,
    };
  }

  // By a device whose store was put back to when it still waited.
  #forgetTakenBack(): void {
    for (const { db, name } of this.#people.filter((one) => this.#forgetful.has(one.name))) {
      const sql = "SELECT lower(hex(message_id)) AS id FROM messages WHERE state = 'failed' AND reason = 'cancelled'";
      const ended = new Set(db.all<{ id: string }>(sql).map(({ id }) => id));
      this.#said = this.#said.filter(({ from, id }) => from !== name || !ended.has(id));
    }
  }

  #way(name: string, clock: Parameters<World['wayFor']>[1]): ReturnType<World['wayFor']> {
    const { sockets } = this.#scene;
    const owner = { name };
    this.#owners.set(name, owner);
    const random = seededRandom(name.length);
    let isDead = false;
    return {
      // What a program that died was about to do does not happen.
      dialServer: async (target, attach, signal) => {
        if (isDead) return new Promise(() => {});
        return dialServer({
          target,
          path: '/v1',
          clock,
          random,
          attach,
          connect: ({ port }) => sockets.connect(owner, port, `10.0.0.${name.length}`),
          ...(signal === undefined ? {} : { signal }),
        });
      },
      drop: () => {
        isDead = true;
        sockets.drop(owner, this.#dice.fraction() < 0.3);
      },
    };
  }

  #send(who: Person, to: string): void {
    const text = `${who.name[0]}${this.#said.length}`;
    this.#try(who, async () => {
      const { id } = await who.send(to, text);
      this.#said.push({ from: who.name, to, id, text });
    });
  }

  #deed(deeds: Deeds, who: Person): void {
    const channel = this.#pick(this.#traits.channels);
    const said = this.#said.filter(({ to }) => to === channel);
    this.#try(who, deeds.next(who, channel, said));
  }

  // Who has left the server comes back.
  #live(habits: Habits, who: Person): void {
    const [alice] = this.#people;
    if (isOut(who)) return this.#try(who, () => this.#joinAnew(who));
    if (who !== alice && this.#dice.fraction() < 0.05)
      return this.#try(who, () => who.call('server.leave', { server: 'home' }));
    const member = memberName(this.#pick(this.#people.filter((one) => !isSame(one, who))));
    const to = this.#dice.fraction() < 0.8 ? this.#pick(this.#traits.channels) : member;
    const said = this.#said.filter((one) => one.to === to);
    this.#try(who, habits.next(who, to, said));
  }

  #change(who: Person): void {
    const own = this.#said.filter(({ from }) => from === who.name);
    if (own.length === 0) return;
    const { id } = this.#pick(own);
    const edits = this.#dice.fraction() < 0.7;
    const text = `${who.name[0]} again ${this.#dice.fraction().toFixed(3)}`;
    this.#try(who, () => (edits ? who.call('message.edit', { id, text }) : who.call('message.delete', { id })));
  }

  // The server may die of it: nobody waits for the answer.
  #ban(banned: boolean): void {
    const { host } = this.#scene;
    if (!this.#traits.isBanned || !host.isUp) return;
    const [, , carol] = this.#people;
    if (banned && carol !== undefined) this.#outcasts.add(carol);
    const { server, store } = host;
    (async () => {
      const target = (await store.state.listMembers(undefined, NAMES.length)).find(({ name }) => name === 'carol');
      if (target !== undefined) await banMember(server.context, { by: null, target, banned });
    })().catch(() => {});
  }

  // One device of Bob ends the other, which comes back.
  #revoke(): void {
    const [, who, , laptop] = this.#people;
    if (who?.isOpen !== true || laptop?.isOpen !== true) return;
    if (isEnded(laptop, 'device.revoked')) return this.#try(laptop, () => this.#joinAnew(laptop));
    for (const to of ['carol@home', '#sealed']) this.#send(laptop, to);
    this.#try(who, async () => {
      const other = (await who.call('server.devices', {})).find((one) => !one.this && !one.revoked);
      if (other === undefined) return;
      if (this.#habits !== undefined && ++this.#revocations > REVOCATIONS_MAX) return;
      this.#outcasts.add(laptop);
      await who.call('server.revokeDevice', { id: other.id });
    });
  }

  async #joinAnew(who: Person): Promise<void> {
    const [alice] = this.#people;
    if (alice?.isOpen !== true) return;
    const { link = '' } = await alice.call('server.invite', { uses: 1 });
    if (who.isOpen) await who.call('server.join', { link, label: 'home' });
  }

  #control(who: Person): void {
    const channel = this.#pick(this.#traits.channels);
    const passphrase = this.#pick(PASSPHRASES);
    const secret = channel === '#locked' ? { passphrase } : {};
    const roll = this.#dice.fraction();
    if (memberName(who) !== 'alice@home') {
      if (roll < 0.8) return this.#try(who, () => who.call('channel.join', { channel, ...secret }));
      return this.#try(who, () => who.call('channel.leave', { channel }));
    }
    const member = this.#dice.fraction() < 0.5 ? 'bob' : 'carol';
    if (roll < 0.35) return this.#try(who, () => who.call('channel.invite', { channel, member }));
    if (roll < 0.55) return this.#try(who, () => who.call('channel.kick', { channel, member }));
    if (roll < 0.7) return this.#try(who, () => who.call('channel.rotate', { channel, ...secret }));
    if (roll < 0.75) return this.#try(who, () => who.call('channel.ban', { channel, member }));
    if (roll < 0.85) return this.#try(who, () => who.call('channel.unban', { channel, member }));
    if (roll < 0.95) return this.#try(who, () => who.call('channel.topic', { channel, topic: `about ${roll}` }));
    const role = this.#dice.fraction() < 0.5 ? 'moderator' : 'member';
    this.#try(who, () => who.call('channel.role', { channel, member, role }));
  }

  // The server dies or ends, or somebody's connections fall silent.
  async #trouble(roll: number, who: Person): Promise<void> {
    const { sockets, host } = this.#scene;
    const owner = this.#owners.get(who.name);
    if (roll < 0.8) {
      if (!host.isUp) return;
      this.#deaths++;
      const when = this.#dice.fraction() < 0.5 ? 'before' : 'after';
      host.crashAt(1 + Math.floor(this.#dice.fraction() * 20), when, this.#dice.fraction() < 0.3);
    } else if (roll < 0.815) {
      if (host.isUp) host.die(this.#dice.fraction() < 0.3);
    } else if (roll < 0.825) {
      if (host.isUp) await host.stop();
    } else if (owner !== undefined) {
      if (this.#dice.fraction() < 0.5) sockets.silence(owner);
      else sockets.cut(owner);
    }
  }

  #weather(): void {
    const most = this.#dice.fraction() < 0.5 ? 50 : 3_000;
    const bad = this.#dice.fraction();
    this.#scene.sockets.weather = {
      delayMs: [1, most],
      breaks: this.#dice.fraction() * 0.05,
      silences: bad < 0.3 ? 0.01 : 0,
      splits: this.#dice.fraction() * 0.3,
    };
  }

  #disk(): void {
    const roll = this.#dice.fraction();
    const { host } = this.#scene;
    if (roll < 0.4) host.disk = GOOD_DISK;
    else if (roll < 0.6) host.disk = { full: 1, unsure: 0, slowMs: 0 };
    else if (roll < 0.8) host.disk = { full: 0.3, unsure: 0.3, slowMs: 0 };
    else host.disk = { full: 0, unsure: 0, slowMs: this.#dice.fraction() * 3 * SECOND };
  }

  #jump(who: Person): void {
    const ms = Math.round((this.#dice.fraction() * 2 - 1) * JUMP_MS_MAX);
    if (this.#dice.fraction() < 0.5) this.#scene.host.shift = ms;
    else who.shift = ms;
  }

  async #copy(): Promise<void> {
    const { host } = this.#scene;
    if (!this.#traits.isRestored || !host.isUp) return;
    this.#hasCopy = true;
    await host.backup();
  }

  // What the server was told since its copy was made is known to nobody but those who hold it.
  async #putBack(): Promise<void> {
    const { host } = this.#scene;
    if (!this.#hasCopy) return;
    if (!host.isUp) await host.open();
    const before = await host.ids();
    host.die(this.#dice.fraction() < 0.3);
    await host.restore();
    await host.open();
    const after = await host.ids();
    for (const id of before) if (!after.has(id)) this.#lost.add(id);
    this.#restores++;
  }

  async #grow(): Promise<void> {
    const [alice] = this.#people;
    if (alice?.isOpen !== true) return;
    this.#willGrow = false;
    const other = await this.#scene.world.person('alice2', alice);
    this.#people.push(other);
    this.#outcasts.add(other);
    this.#try(other, () => this.#joinAnew(other));
  }

  // What they said since is gone here, and may be with others.
  async #goBack(): Promise<void> {
    const [alice, , carol] = this.#people;
    const who = this.#dice.fraction() < 0.5 ? alice : carol;
    if (who === undefined) return;
    if (this.#dice.fraction() < 0.5) return who.copy();
    if (!who.hasCopy) return;
    await who.close().catch(unlessDeath);
    who.putBack();
    await who.open().catch((error: unknown) => {
      unlessDeath(error);
      return who.open();
    });
    this.#outcasts.add(who);
    this.#forgetful.add(who.name);
    const kept = new Set(
      who.db.all<{ id: string }>('SELECT lower(hex(message_id)) AS id FROM messages').map(({ id }) => id),
    );
    this.#said = this.#said.filter(({ from, id }) => from !== who.name || kept.has(id));
  }

  #crashSoon(who: Person): void {
    this.#deaths++;
    who.crashAt(1 + Math.floor(this.#dice.fraction() * 8), this.#dice.fraction() < 0.5 ? 'before' : 'after');
  }

  async #restart(who: Person): Promise<void> {
    who.crashAt(Number.POSITIVE_INFINITY, 'after');
    await who.close();
    await who.open();
  }

  // A call ends when it ends; of a program that dies in the middle it ends with that. An expected error is an answer.
  #try(who: Person, call: () => Promise<unknown>): void {
    const going: Promise<void> = (async () => call())()
      .then(
        () => {},
        (error: unknown) => {
          if (expectedError(error) === undefined && !isDeath(error))
            this.#wrong.push(`${who.name}: ${error instanceof Error ? error.stack : error}`);
        },
      )
      .finally(() => this.#going.delete(going));
    this.#going.add(going);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#dice.fraction() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}
