// Appends to the server below a folder as fast as it can, and says on stdout what was answered, until it is killed.

import { systemClock, systemRandom } from '../../src/machine.ts';
import { type EventId, timedId } from '../../src/protocol/ids.ts';
import { Lane } from '../../src/server/lane.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { channelId, draft, quietPorts, turn } from './server.ts';

const [dir = ''] = process.argv.slice(2);
const ports = quietPorts();
const store = ServerStore.open(serverPaths(dir), ports);
const lane = new Lane({ log: store.log, clock: systemClock, turn, committed: () => {} });

const publish = async (): Promise<void> => {
  for (;;) {
    const id = timedId<EventId>(systemClock.now(), systemRandom.bytes(10));
    const outcome = await lane.publish(draft({ channel: channelId(1), id, text: id }));
    if (outcome.kind === 'committed') process.stdout.write(`${outcome.seq} ${id}\n`);
  }
};
await Promise.all(Array.from({ length: 20 }, publish));
