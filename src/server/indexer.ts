// Keeps the index of open channels level with the log, a moment behind it.
import type { Cancel } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import type { ChannelId } from '../protocol/ids.ts';
import { INDEX_MS, INDEX_NEXT_MS, RECONCILE_MS } from '../protocol/limits.ts';
import type { ServerContext } from './context.ts';
import { byId, pages } from './pages.ts';
import type { StateStore } from './state-store.ts';

/** Fills the index of one server in the background. */
export class Indexer implements Disposable {
  readonly #context: Pick<ServerContext, 'search' | 'clock' | 'journal' | 'bug'>;
  readonly #due = new Set<ChannelId>();
  #cancel: Cancel | undefined;
  #cancelLook: Cancel | undefined;
  #isOver = false;

  constructor(context: Pick<ServerContext, 'search' | 'clock' | 'journal' | 'bug'>) {
    this.#context = context;
  }

  /** An open channel may have more than the index has. */
  due(channel: ChannelId): void {
    this.#due.add(channel);
    this.#runIn(INDEX_MS);
  }

  /** Every open channel is looked at: what came while nobody filled the index. */
  async dueAll(store: StateStore): Promise<void> {
    for await (const page of pages(store.listChannels, byId)) {
      if (this.#isOver) return;
      for (const { id, encryption } of page) if (encryption === 'open') this.due(id);
    }
  }

  /** Looks at every entry, a few at a time: what a death between the two files left. One look at all goes on at once. */
  reconcile(): void {
    if (this.#cancelLook === undefined) this.#look(0);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancel?.();
    this.#cancelLook?.();
  }

  #look(doc: number): void {
    if (this.#isOver) return;
    this.#cancelLook = this.#context.clock.after(RECONCILE_MS, () => {
      this.#lookAt(doc).then(
        (next) => {
          this.#cancelLook = undefined;
          if (next !== undefined) this.#look(next);
        },
        (error: unknown) => this.#context.bug(error),
      );
    });
  }

  async #lookAt(doc: number): Promise<number | undefined> {
    try {
      return await this.#context.search.reconcile(doc);
    } catch (error) {
      // A full disk: at the next time.
      if (expectedError(error) === undefined) throw error;
      this.#context.journal.warn('search.notReconciled', {});
      return undefined;
    }
  }

  #runIn(ms: number): void {
    if (!this.#isOver) this.#cancel ??= this.#context.clock.after(ms, () => this.#run());
  }

  // One batch of each channel, then the others' turn; at once while there is more.
  #run(): void {
    this.#fill().then(
      (wasTaken) => {
        this.#cancel = undefined;
        if (this.#due.size > 0) this.#runIn(wasTaken ? INDEX_NEXT_MS : INDEX_MS);
      },
      (error: unknown) => this.#context.bug(error),
    );
  }

  async #fill(): Promise<boolean> {
    for (const channel of [...this.#due]) {
      if (this.#isOver) return false;
      try {
        if (!(await this.#context.search.fill(channel))) this.#due.delete(channel);
      } catch (error) {
        // A full disk: later.
        if (expectedError(error) === undefined) throw error;
        this.#context.journal.warn('search.notFilled', {});
        return false;
      }
    }
    return true;
  }
}
