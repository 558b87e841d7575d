// What each channel is now, by replay of its control events: loaded once, then moved on by what is committed.

import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { replay } from '../crypto/membership.ts';
import { sha256 } from '../crypto/primitives.ts';
import { contentOfEvent, readEventHeader } from '../crypto/room-event.ts';
import type { ChannelId } from '../protocol/ids.ts';
import { CHANNEL_STATES_MAX } from '../protocol/limits.ts';
import { decodeControl } from '../protocol/room-content.ts';
import type { Seq, Stored } from './event-log.ts';
import type { StateStore } from './state-store.ts';
import type { Turn } from './turns.ts';

const PAGE = 500;

/** A channel's state and the seq up to which it is true. */
export type KnownState = { readonly state: ChannelState; readonly authoritySeq: Seq };

/** Keeps the states of channels in use, at most CHANNEL_STATES_MAX: the longest unused go first. */
export class ChannelStates {
  readonly #store: StateStore;
  readonly #known = new Map<ChannelId, KnownState>();
  /** The rest of the process has its turn after each page of a long past. */
  readonly #turn: Turn;
  readonly #loading = new Map<ChannelId, Promise<KnownState | undefined>>();

  constructor(store: StateStore, turn: Turn) {
    this.#store = store;
    this.#turn = turn;
  }

  /** The state of a channel now; undefined when there is no such channel. */
  async get(channel: ChannelId): Promise<KnownState | undefined> {
    const known = this.#known.get(channel);
    if (known !== undefined) {
      this.#known.delete(channel);
      this.#known.set(channel, known);
      return known;
    }
    const loading = this.#loading.get(channel) ?? this.#load(channel).finally(() => this.#loading.delete(channel));
    this.#loading.set(channel, loading);
    return loading;
  }

  /** A control event was committed. */
  follow(channel: ChannelId, event: Stored): void {
    const known = this.#known.get(channel);
    if (known === undefined) return;
    if (event.seq <= known.authoritySeq) return;
    const { state } = replay(known.state, [controlOf(event)]);
    if (state === undefined) throw new Error('a channel that is there stays');
    this.#known.set(channel, { state, authoritySeq: event.seq });
  }

  /** Reads it again the next time: what is known may be old. */
  forget(channel: ChannelId): void {
    this.#known.delete(channel);
  }

  async #load(channel: ChannelId): Promise<KnownState | undefined> {
    let state: ChannelState | undefined;
    let seq = 0;
    for (;;) {
      const page = await this.#store.listAuthority(channel, seq, PAGE);
      if (page.length > 0) state = replay(state, page.map(controlOf)).state;
      seq = page.at(-1)?.seq ?? seq;
      if (page.length < PAGE) break;
      await this.#turn();
    }
    if (state === undefined) return undefined;
    const known = { state, authoritySeq: seq };
    this.#known.set(channel, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= CHANNEL_STATES_MAX) break;
      this.#known.delete(oldest);
    }
    return known;
  }
}

/** A committed control event as the replay takes it: its signature was verified before it was appended. */
const controlOf = (stored: Stored): ControlEvent => {
  if (stored.body === null) throw new Error('a control event is never erased');
  const control = decodeControl(contentOfEvent(stored.body));
  return { seq: stored.seq, header: readEventHeader(stored.body), control, bodyHash: sha256(stored.body) };
};
