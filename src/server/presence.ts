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

/** What is told at once: whose state is another, who has heard nothing yet, and whether nobody knows anything. */
type Due = {
  readonly changed: ReadonlySet<MemberId>;
  readonly newcomers: ReadonlySet<Peer>;
  readonly wasCrowded: boolean;
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
      this.#tell().catch(this.#ports.bug);
    });
  }

  async #tell(): Promise<void> {
    const { online, membersMax } = this.#ports;
    const due: Due = { changed: this.#changed, newcomers: this.#newcomers, wasCrowded: this.#isCrowded };
    this.#changed = new Set();
    this.#newcomers = new Set();
    this.#isCrowded = online.size > membersMax;
    if (this.#isCrowded) {
      if (!due.wasCrowded) tellMembers({ online }, { notice: 'presence.unknown', members: online.size });
      return;
    }
    try {
      await this.#tellDue(due);
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
      this.#putBack(due);
    }
  }

  // What the disk does not let tell is told with what comes next.
  #putBack({ changed, newcomers, wasCrowded }: Due): void {
    for (const member of changed) this.#changed.add(member);
    for (const peer of newcomers) this.#newcomers.add(peer);
    this.#isCrowded ||= wasCrowded;
    this.#later();
  }

  async #tellDue({ changed, newcomers, wasCrowded }: Due): Promise<void> {
    const { online } = this.#ports;
    const isWhole = (peer: Peer): boolean => wasCrowded || newcomers.has(peer);
    const needsAll = wasCrowded || newcomers.size > 0;
    const [news, everybody] = [await this.#rows(changed), needsAll ? await this.#rows(online.keys()) : []];
    // Of who was erased the others hear that they are gone, and who comes nothing.
    const all = everybody.filter(({ erasedAt }) => erasedAt === null);
    // In one turn from here on: who comes or goes after it is told of next time.
    const [newsFrames, allFrames] = [this.#frames(news), this.#frames(all)];
    for (const peers of online.values())
      for (const peer of peers) {
        const frames = isWhole(peer) ? allFrames : newsFrames;
        if (frames.length > 0) peer.send(frames);
      }
  }

  async #rows(members: Iterable<MemberId>): Promise<MemberRow[]> {
    const rows: MemberRow[] = [];
    for (const member of [...members]) {
      const row = await this.#ports.standings.member(member);
      if (row !== undefined) rows.push(row);
    }
    return rows;
  }

  #frames(rows: readonly MemberRow[]): Buffer {
    return Buffer.concat(
      rows.map((row) =>
        noticeFrame({ notice: 'presence', member: row.id, state: this.#stateOf(row), status: row.status }),
      ),
    );
  }

  #stateOf({ id, erasedAt }: MemberRow): 'online' | 'away' | 'offline' {
    const peers = this.#ports.online.get(id);
    // A connection over which somebody erases themself is there until that is answered.
    if (peers === undefined || erasedAt !== null) return 'offline';
    return [...peers].every((peer) => this.#away.has(peer)) ? 'away' : 'online';
  }
}
