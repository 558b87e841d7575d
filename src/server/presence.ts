// Who is there, told in passing to all who are logged in: what has changed in PRESENCE_TELL_MS once, whatever that was. A
// server that was away gets all its members back in one moment, and all telling all one by one would be the square of them.
// Above so many members nobody is told: whoever was told something hears that it counts no more, and once there are fewer
// everybody hears who is there. Each costs what one telling of all to all at the limit does.
import type { Cancel, Clock } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import type { MemberId } from '../protocol/ids.ts';
import { PRESENCE_TELL_MS } from '../protocol/limits.ts';
import type { Peer, ServerContext } from './context.ts';
import { noticeFrame, tellMembers } from './passing.ts';
import type { MemberRow } from './rows.ts';
import type { Standings } from './standings.ts';

type PresencePorts = {
  readonly clock: Clock;
  readonly standings: Pick<Standings, 'member'>;
  readonly online: ServerContext['online'];
  /** With more members than these nobody is told. */
  readonly membersMax: number;
  readonly bug: (error: unknown) => void;
};

/** Tells it while not too many are there. */
export class Presence implements Disposable {
  readonly #ports: PresencePorts;
  /** Connections over which it was said that nobody is at them. */
  readonly #away = new WeakSet<Peer>();
  #changed = new Set<MemberId>();
  #newcomers = new Set<Peer>();
  /** Too many were there when it was told last: nobody knows anything. */
  #isCrowded = false;
  #cancel: Cancel | undefined;
  #isOver = false;

  constructor(ports: PresencePorts) {
    this.#ports = ports;
  }

  /** A member has come: this connection hears who is there, and the others hear of them when it is their first, or they were away. */
  came(peer: Peer, member: MemberId): void {
    const others = [...(this.#ports.online.get(member) ?? [])].filter((one) => one !== peer);
    if (others.every((one) => this.#away.has(one))) this.#changed.add(member);
    this.#newcomers.add(peer);
    this.#later();
  }

  /** A member says over a connection whether they are at that device: they are away when they are at none. */
  say(peer: Peer, member: MemberId, state: 'online' | 'away'): void {
    if (state === 'away') this.#away.add(peer);
    else this.#away.delete(peer);
    this.#changed.add(member);
    this.#later();
  }

  /** A connection of a member is gone. */
  gone(member: MemberId): void {
    this.#changed.add(member);
    this.#later();
  }

  /** Tells nothing any more. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancel?.();
  }

  #later(): void {
    if (this.#cancel !== undefined || this.#isOver) return;
    this.#cancel = this.#ports.clock.after(PRESENCE_TELL_MS, () => {
      this.#cancel = undefined;
      this.#tell().catch((error: unknown) => {
        // Of whom the disk tells nothing, nothing is told.
        if (expectedError(error) === undefined) this.#ports.bug(error);
      });
    });
  }

  async #tell(): Promise<void> {
    const { online, membersMax } = this.#ports;
    const [changed, newcomers] = [this.#changed, this.#newcomers];
    this.#changed = new Set();
    this.#newcomers = new Set();
    const wasCrowded = this.#isCrowded;
    this.#isCrowded = online.size > membersMax;
    if (this.#isCrowded) {
      if (!wasCrowded) tellMembers({ online }, { notice: 'presence.unknown', members: online.size });
      return;
    }
    const isWhole = (peer: Peer): boolean => wasCrowded || newcomers.has(peer);
    const needsAll = wasCrowded || newcomers.size > 0;
    const [news, all] = [await this.#rows(changed), needsAll ? await this.#rows(online.keys()) : []];
    // In one turn from here on: who comes or goes after it is told of next time.
    const [newsFrames, allFrames] = [this.#frames(news), this.#frames(all)];
    for (const peers of online.values())
      for (const peer of peers) {
        const frames = isWhole(peer) ? allFrames : newsFrames;
        if (frames.length > 0) peer.send(frames);
      }
  }

  // Who was erased is no more.
  async #rows(members: Iterable<MemberId>): Promise<MemberRow[]> {
    const rows: MemberRow[] = [];
    for (const member of [...members]) {
      const row = await this.#ports.standings.member(member);
      if (row !== undefined && row.erasedAt === null) rows.push(row);
    }
    return rows;
  }

  #frames(rows: readonly MemberRow[]): Buffer {
    return Buffer.concat(
      rows.map(({ id, status }) => noticeFrame({ notice: 'presence', member: id, state: this.#stateOf(id), status })),
    );
  }

  #stateOf(member: MemberId): 'online' | 'away' | 'offline' {
    const peers = this.#ports.online.get(member);
    if (peers === undefined) return 'offline';
    return [...peers].every((peer) => this.#away.has(peer)) ? 'away' : 'online';
  }
}
