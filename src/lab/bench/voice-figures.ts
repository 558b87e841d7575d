// Figures of calls: what a server spends on a frame that it passes on, how long that takes, and that it keeps nothing.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ServerClient } from '../../core/server-client.ts';
import { type Stream, type StreamPlace, sealFrame, streamOf } from '../../crypto/call-keys.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { SocketServerLink } from '../../net/server-link.ts';
import { serverNetwork } from '../../net/server-network.ts';
import type { ServerLink, ServerLinkEvents, ServerTarget } from '../../ports.ts';
import { fromBase64, fromHex, toHex } from '../../protocol/bytes.ts';
import { FRAME_TYPE, readFrameHead } from '../../protocol/call-frame.ts';
import type { DeviceId, MemberId } from '../../protocol/ids.ts';
import { Caller } from '../../testing/caller.ts';
import { bare } from '../load/contenders.ts';
import { buildTown, type Town } from '../load/people.ts';
import { PINNED, pinAsLoad } from '../load/programs.ts';
import { ServerProcess } from '../server-process.ts';
import { type Bench, type Figure, type Judged, type Measured, quantile, short } from './figure.ts';
import { changedSince, type Kept, keptIn } from './kept.ts';

const CALLS = 10;
const PEOPLE = 5;
const TALKERS = 2;
const FRAMES_A_SECOND = 50;
/** A packet of 20 ms of speech at 24 kbit/s. */
const PACKET_BYTES = 60;
// Nobody is behind it: a server that has a proxy leaves TLS to it.
const NO_TLS = 'proxies = ["127.255.255.254"]\n';

const ports = { clock: systemClock, random: systemRandom };

type Talker = { readonly say: () => void };

/** Everybody in a call with a link; those who talk, and how long each frame took to each who heard it. */
class Hall {
  readonly talkers: Talker[] = [];
  readonly delays: number[] = [];
  heard = 0;
  readonly #sentAt = new Map<string, number>();
  readonly #ends: (() => void)[] = [];

  /** At a server, with everybody of the town. */
  static async open(town: Town, target: ServerTarget): Promise<Hall> {
    const hall = new Hall();
    for (const [i, person] of town.people.entries()) await hall.#enter(target, person, talks(i));
    return hall;
  }

  /** At the bare forwarder, which knows nobody. */
  static async bare(port: number): Promise<Hall> {
    const hall = new Hall();
    for (let i = 0; i < CALLS * PEOPLE; i++) {
      const caller = await hall.#link((events) => bareLink(port, events), Uint8Array.of(Math.floor(i / PEOPLE)));
      if (talks(i)) hall.#talk(caller, NOBODY, newStream());
    }
    return hall;
  }

  close(): void {
    for (const end of this.#ends) end();
  }

  async #enter(target: ServerTarget, { rooms, ...device }: Town['people'][number], isTalker: boolean): Promise<void> {
    const client = await ServerClient.open({
      ...ports,
      network: serverNetwork({ ...ports, tor: () => false }),
      target,
      events: { event: () => {}, notice: () => {}, closed: () => {} },
    });
    this.#ends.push(() => client.close('bye'));
    const { member, device: id } = await client.login(device);
    const channel = rooms[0];
    if (channel === undefined) throw new Error('everybody is in a room');
    const { call, ticket } = await client.request('call.join', { channel, through: 'tor' });
    const caller = await this.#link(target, fromBase64(ticket));
    if (!isTalker) return;
    const stream = newStream();
    await client.request('call.stream', { channel, stream: toHex(stream.id), to: [] });
    this.#talk(caller, { channel, call: call.call, sender: member.id as MemberId, device: id as DeviceId }, stream);
  }

  async #link(target: Parameters<typeof Caller.open>[0]['target'], ticket: Uint8Array): Promise<Caller> {
    const caller = await Caller.open({ ...ports, target, ticket, frame: (frame) => this.#hear(frame) });
    this.#ends.push(() => caller.close());
    return caller;
  }

  #talk(caller: Caller, place: StreamPlace, stream: Stream): void {
    let counter = 0;
    this.talkers.push({
      say: () => {
        const plaintext = systemRandom.bytes(5 + PACKET_BYTES);
        const frame = sealFrame(place, stream, { type: FRAME_TYPE.voice, counter: counter++ }, plaintext);
        this.#sentAt.set(nameOf(frame), performance.now());
        caller.send(frame);
      },
    });
  }

  #hear(frame: Uint8Array): void {
    this.heard++;
    const at = this.#sentAt.get(nameOf(frame));
    if (at !== undefined) this.delays.push(performance.now() - at);
  }

  /** Everybody who talks does so for a while, one after the other within 20 ms; resolves when it was heard. */
  async talk(seconds: number): Promise<void> {
    const count = seconds * FRAMES_A_SECOND * this.talkers.length;
    const everyMs = 1000 / FRAMES_A_SECOND / this.talkers.length;
    const startedAt = performance.now();
    this.delays.length = 0;
    this.heard = 0;
    this.#sentAt.clear();
    for (let said = 0; said < count; ) {
      for (const due = (performance.now() - startedAt) / everyMs; said < Math.min(count, due); said++)
        this.talkers[said % this.talkers.length]?.say();
      await new Promise((done) => setTimeout(done, 1));
    }
    const endAt = performance.now() + HEARD_MS_MAX;
    while (this.heard < count * (PEOPLE - 1) && performance.now() < endAt)
      await new Promise((done) => setTimeout(done, 1));
  }
}
const HEARD_MS_MAX = 5_000;

const talks = (person: number): boolean => person % PEOPLE < TALKERS;
const NOBODY = Object.fromEntries(
  ['channel', 'call', 'sender', 'device'].map((name) => [name, '00'.repeat(16)]),
) as unknown as StreamPlace;
const newStream = (): Stream => streamOf(systemRandom.bytes(40));

/** A call link without an upgrade. */
const bareLink = (port: number, events: ServerLinkEvents): ServerLink => {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.pause();
  const link = new SocketServerLink({ ...ports, socket, binding: undefined });
  link.begin(events, Buffer.alloc(0));
  return link;
};

const nameOf = (frame: Uint8Array): string => {
  const { stream, counter } = readFrameHead(frame);
  return `${Buffer.from(stream).toString('latin1')}${counter}`;
};

/** CPU seconds of all threads of a process so far; the kernel counts them in nanoseconds. */
const cpuOf = (pid: number): number => {
  const ran = readdirSync(`/proc/${pid}/task`).map((task) => {
    const [nanoseconds = ''] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
    return Number(nanoseconds);
  });
  return ran.reduce((sum, one) => sum + one, 0) / 1e9;
};

/** Bytes that a process has written to disks so far. */
const writtenBy = (pid: number): number =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);

/** What is measured, who talks through it, and what each run gave. */
type Measuring = {
  readonly pid: number;
  readonly hall: Hall;
  readonly cpuUs: number[];
  readonly delayMs: number[];
};

const measuring = (pid: number, hall: Hall): Measuring => ({ pid, hall, cpuUs: [], delayMs: [] });

/** Measures for so long; gives the frames that were not heard. */
const measureOnce = async ({ pid, hall, cpuUs, delayMs }: Measuring, seconds: number): Promise<number> => {
  const startedAt = cpuOf(pid);
  await hall.talk(seconds);
  cpuUs.push(((cpuOf(pid) - startedAt) * 1e6) / hall.heard);
  delayMs.push(quantile(hall.delays, 0.5));
  return seconds * FRAMES_A_SECOND * hall.talkers.length * (PEOPLE - 1) - hall.heard;
};

/**
 * Sees to it that nothing of a call comes to the disk of a server. Beside calls there are its jobs, which take their leases by
 * the clock, whoever is there.
 */
class Disk {
  readonly #dir: string;
  readonly #pid: number;
  readonly #empty: Kept;
  /** Runs in which a job took a lease. */
  jobs = 0;

  /** Before anybody is in a call. */
  constructor(dir: string, pid: number) {
    this.#dir = dir;
    this.#pid = pid;
    this.#empty = keptIn(dir);
  }

  /** Throws what else than a lease was written meanwhile, and when bytes were where no lease was. */
  async during<T>(body: () => Promise<T>): Promise<T> {
    // The tables first and last: what is written between is in both then.
    const before = keptIn(this.#dir);
    const bytes = writtenBy(this.#pid);
    const result = await body();
    const written = writtenBy(this.#pid) - bytes;
    const now = keptIn(this.#dir);
    const also = changedSince(this.#empty, now).filter((name) => name !== LEASES);
    if (also.length > 0) throw new Error(`a call has written to the disk: ${also.join(', ')}`);
    const isJob = changedSince(before, now).length > 0;
    if (!isJob && written > 0)
      throw new Error(`a call has written ${written} bytes to the disk, of which nothing is left`);
    if (isJob) this.jobs++;
    return result;
  }
}
const LEASES = 'table job';

type Voices = { readonly own: Measuring; readonly floor: Measuring; readonly lost: number; readonly jobs: number };

const measureVoices = async (bench: Bench, name: string, config: string): Promise<Voices> => {
  const dir = join(bench.dir, name);
  mkdirSync(dir, { mode: 0o700 });
  const plan = { people: CALLS * PEOPLE, rooms: CALLS, roomsOf: (i: number) => [Math.floor(i / PEOPLE)] };
  const town = await buildTown(dir, { ...plan, speaks: () => false });
  writeFileSync(join(town.dir, 'server.toml'), config);
  const seconds = bench.quick ? 1 : 3;
  const server = new ServerProcess(town.dir, { under: PINNED });
  const forwarder = await bare('forward', dir, bench.cacheDir);
  const halls: Hall[] = [];
  try {
    const { url, fingerprint } = await server.start();
    const serverKey = fromHex(fingerprint);
    const disk = new Disk(town.dir, server.pid);
    const own = measuring(server.pid, await Hall.open(town, { origin: url, serverKey, trust: 'pinned' }));
    const floor = measuring(forwarder.pid, await Hall.bare(forwarder.port));
    halls.push(own.hall, floor.hall);
    // What a program spends until it is compiled is not what a frame costs.
    await own.hall.talk(WARM_SECONDS);
    let lost = 0;
    for (let run = 0; run < bench.runs; run++) {
      await measureOnce(floor, seconds);
      lost += await disk.during(() => measureOnce(own, seconds));
    }
    return { own, floor, lost, jobs: disk.jobs };
  } finally {
    for (const hall of halls) hall.close();
    await server.stop();
    await forwarder.stop();
  }
};
const WARM_SECONDS = 10;

const DELAY: Judged = {
  name: 'voice.forward.delay',
  unit: 'ms',
  doc: 'from the word to its frame at a listener, the middle of each run, with all that the machine adds',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 2 },
};

const forward: Figure = {
  name: 'voice.forward',
  unit: 'µs',
  doc: `CPU of the server for a frame that it passes on: ${CALLS} calls of ${PEOPLE}, ${TALKERS} talk in each, ${FRAMES_A_SECOND} frames a second`,
  bound: { of: 'value', at: 'median', better: 'lower', limit: 8 },
  also: [DELAY],
  measure: async (bench): Promise<Measured> => {
    pinAsLoad();
    const { own, floor, lost, jobs } = await measureVoices(bench, 'clear', NO_TLS);
    const { own: tls } = await measureVoices({ ...bench, runs: Math.min(3, bench.runs) }, 'tls', '');
    const disk = `leases of the server's jobs came to the disk in ${jobs} of ${own.cpuUs.length} runs, and nothing else`;
    const note = `${lost} frames were not heard; ${disk}. With TLS in the server: ${short(quantile(tls.cpuUs, 0.5))} µs, ${short(quantile(tls.delayMs, 0.5))} ms`;
    const beside = (values: readonly number[]) => ({ name: 'a bare forwarder in C', values });
    return {
      values: own.cpuUs,
      floor: beside(floor.cpuUs),
      note,
      also: { [DELAY.name]: { values: own.delayMs, floor: beside(floor.delayMs), note } },
    };
  },
};

/** Figures of this file. */
export const VOICE_FIGURES: readonly Figure[] = [forward];
