// In which order test files are taken: the long simulations, each of which keeps a core busy, are spread over the run, and the
// others, which mostly wait for Tor, disks and timers, go on beside them.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// The longest first; the last of them begins at the middle.
const LONG = ['test/sim/first.test.ts', 'test/sim/second.test.ts', 'test/sim/rooms.test.ts'];

export class Spread extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const longOf = ({ moduleId }: TestSpecification) => LONG.findIndex((name) => moduleId.endsWith(name));
    const sorted = await super.sort(files);
    const others = sorted.filter((file) => longOf(file) < 0);
    const long = sorted.filter((file) => longOf(file) >= 0).sort((a, b) => longOf(a) - longOf(b));
    const step = Math.ceil(others.length / (2 * LONG.length - 2));
    return [
      ...long.flatMap((file, i) => [file, ...others.slice(i * step, (i + 1) * step)]),
      ...others.slice(long.length * step),
    ];
  }
}
