// What a server tells of itself in numbers.
import { COUNTED, type Counted } from './counts.ts';
import type { Metric } from './metrics.ts';
import type { Onion } from './onion.ts';
import type { RoomServer } from './server.ts';

/** Everything it measures. */
export const metricsOf = (server: RoomServer, onion: Onion | undefined): Metric[] => {
  const { context } = server;
  return [
    { name: 'connections', kind: 'gauge', doc: 'Connections that hold a socket', value: () => server.connections },
    { name: 'members_online', kind: 'gauge', doc: 'Members that are logged in', value: () => context.online.size },
    { name: 'calls', kind: 'gauge', doc: 'Calls that somebody is in', value: () => context.calls.size },
    { name: 'call_links', kind: 'gauge', doc: 'Connections for calls', value: () => context.callLinks.size },
    { name: 'lane_depth', kind: 'gauge', doc: 'Events that wait for their commit', value: () => context.hub.depth },
    { name: 'ring_bytes', kind: 'gauge', doc: 'Frames kept in memory', value: () => context.hub.ringBytes },
    {
      name: 'deliveries_total',
      kind: 'counter',
      doc: 'Events handed to readers',
      value: () => context.fanout.delivered,
    },
    ...(Object.keys(COUNTED) as Counted[]).map((what) => ({
      name: `${what.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`,
      kind: 'counter' as const,
      doc: COUNTED[what],
      value: () => context.counts.of(what),
    })),
    ...(onion === undefined
      ? []
      : [
          {
            name: 'onion_reachable',
            kind: 'gauge' as const,
            doc: 'Whether the onion service can be dialled',
            value: () => Number(onion.state.reachable),
          },
        ]),
    { name: 'resident_bytes', kind: 'gauge', doc: 'Resident memory', value: () => process.memoryUsage.rss() },
  ];
};
