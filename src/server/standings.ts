// Who is what, as the tables say, kept in memory until an event changes it.
import type { ChannelId, MemberId } from '../protocol/ids.ts';
import { STANDINGS_MAX } from '../protocol/limits.ts';
import { changesAuthority } from './changes.ts';
import type { Draft, EventLog, Seq } from './event-log.ts';
import type { ChannelRow, MemberRow, MembershipRow } from './rows.ts';
import type { StateStore } from './state-store.ts';

/** A channel, and up to where its rules were looked at: what changed after it makes a draft that rests on this stale. */
type Known = { readonly authoritySeq: Seq; readonly row: ChannelRow };

/** A member in a channel that is there. */
export type Standing = Known & { readonly membership: MembershipRow | undefined };

/** Rows of members, channels and who writes in them. All that changes one of them is an event, and told to `committed`. */
export class Standings {
  readonly #log: Pick<EventLog, 'heads'>;
  readonly #store: Pick<StateStore, 'getChannel' | 'getMembership' | 'getMember'>;
  readonly #members = new Map<MemberId, MemberRow>();
  readonly #channels = new Map<ChannelId, Known>();
  readonly #writers = new Map<ChannelId, Map<MemberId, Standing>>();
  #size = 0;
  /** Counts what was committed to `authoritySeq`s: what was read before may be of before. */
  changes = 0;

  constructor(log: Pick<EventLog, 'heads'>, store: Pick<StateStore, 'getChannel' | 'getMembership' | 'getMember'>) {
    this.#log = log;
    this.#store = store;
  }

  /** A member who is in memory. */
  knownMember(id: MemberId): MemberRow | undefined {
    return this.#members.get(id);
  }

  /** Somebody who has written in a channel, when that is in memory. */
  knownWriter(channel: ChannelId, member: MemberId): Standing | undefined {
    return this.#writers.get(channel)?.get(member);
  }

  /** A member; undefined when there is none. */
  async member(id: MemberId): Promise<MemberRow | undefined> {
    const known = this.#members.get(id);
    if (known !== undefined) return known;
    const changes = this.changes;
    const row = await this.#store.getMember(id);
    if (row !== undefined && this.#keeps(changes)) this.#members.set(id, row);
    return row;
  }

  /** A channel; undefined when there is none. */
  async channel(channel: ChannelId): Promise<ChannelRow | undefined> {
    return (this.#channels.get(channel) ?? (await this.#readChannel(channel)))?.row;
  }

  /** A member in a channel; undefined when there is no such channel. Who `writes` is kept for the next time. */
  async in(channel: ChannelId, member: MemberId, writes: boolean): Promise<Standing | undefined> {
    const changes = this.changes;
    const known = this.#channels.get(channel) ?? (await this.#readChannel(channel));
    if (known === undefined) return undefined;
    const standing: Standing = { ...known, membership: await this.#store.getMembership(channel, member) };
    if (!writes || standing.membership === undefined || !this.#keeps(changes)) return standing;
    const writers = this.#writers.get(channel) ?? new Map<MemberId, Standing>();
    this.#writers.set(channel, writers.set(member, standing));
    return standing;
  }

  async #readChannel(channel: ChannelId): Promise<Known | undefined> {
    const changes = this.changes;
    const [head] = await this.#log.heads([channel]);
    const row = head === undefined ? undefined : await this.#store.getChannel(channel);
    if (head === undefined || row === undefined) return undefined;
    const known: Known = { authoritySeq: head.authoritySeq, row };
    if (this.#keeps(changes)) this.#channels.set(channel, known);
    return known;
  }

  /** An event was committed: whatever it changed is read again. */
  committed({ channel, changes }: Draft): void {
    if (!changesAuthority(changes)) return;
    this.changes++;
    this.#channels.delete(channel);
    this.#writers.delete(channel);
    for (const change of changes) if (change.kind === 'memberSet') this.#members.delete(change.member);
  }

  // Nothing is kept that was read before a change. Beyond its limit everything is forgotten, and comes as it is asked for.
  #keeps(changes: number): boolean {
    if (changes !== this.changes) return false;
    if (++this.#size <= STANDINGS_MAX) return true;
    this.#size = 0;
    for (const map of [this.#members, this.#channels, this.#writers]) map.clear();
    return false;
  }
}
