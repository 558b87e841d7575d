// How often what has happened since the start: numbers for metrics and alerts, of a closed set of things.

export const COUNTED = {
  requests: 'Requests answered, publishes among them',
  refusals: 'Requests answered with an error',
  publishes: 'Events committed for members',
  badMessages: 'Messages that ended their connection',
  refusedConnections: 'Connections that were not taken',
  loginFailures: 'Log-ins refused',
  joins: 'Members that registered',
  rateLimited: 'Requests that came too often',
  callFrames: 'Frames that came over call links',
  callFramesRefused:
    'Frames of calls that were let through to nobody: muted, too often, too many voices, no stream of theirs',
  callFramesForwarded: 'Frames of calls sent to listeners',
  callFramesLate: 'Frames of calls that a listener was too slow for',
} as const;
export type Counted = keyof typeof COUNTED;

/** Counters that only grow. */
export class Counts {
  readonly #counts = new Map<Counted, number>();

  add(what: Counted, times = 1): void {
    this.#counts.set(what, this.of(what) + times);
  }

  of(what: Counted): number {
    return this.#counts.get(what) ?? 0;
  }
}
