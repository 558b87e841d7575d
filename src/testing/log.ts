// A log that tests can read: a warning nobody claimed fails the test.
import type { Log, LogFields } from '../ports.ts';

type Line = { readonly level: 'warn' | 'error'; readonly event: string; readonly fields: LogFields | undefined };

/** Collects warnings and errors. */
export class TestLog implements Log {
  #lines: Line[] = [];
  debug(): void {}
  info(): void {}
  warn(event: string, fields?: LogFields): void {
    this.#lines.push({ level: 'warn', event, fields });
  }
  error(event: string, fields?: LogFields): void {
    this.#lines.push({ level: 'error', event, fields });
  }

  /** Takes the warnings named `event` away and says how many there were. */
  claim(event: string): number {
    const claimed = this.#lines.filter((line) => line.event === event).length;
    this.#lines = this.#lines.filter((line) => line.event !== event);
    return claimed;
  }

  /** What nobody claimed. */
  unclaimed(): readonly Line[] {
    return this.#lines;
  }
}
