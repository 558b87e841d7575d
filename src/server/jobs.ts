// What a server does now and then: erases what is due, lets retention take its part, collects blobs, forgets old counts.
import type { Cancel, Clock, Log as Journal } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import { type BlobHash, type ChannelId, inboxOf } from '../protocol/ids.ts';
import {
  ATTEMPTS_KEPT_MS,
  AUDIT_KEPT_MS,
  BLOB_UNUSED_MS,
  INBOX_KEPT_MS,
  JOB_ERASE_MS,
  JOB_LEASE_MS,
  JOB_MS,
  JOB_TIDY_MS,
} from '../protocol/limits.ts';
import { type BlobStore, isBlobHash } from './blob-store.ts';
import type { Uploading } from './context.ts';
import type { EventLog, Millis, Seq } from './event-log.ts';
import { byId, pages } from './pages.ts';
import type { JobRow } from './rows.ts';
import type { StateStore } from './state-store.ts';
import type { Turn } from './turns.ts';

export type JobPorts = {
  readonly log: EventLog;
  readonly state: StateStore;
  readonly blobs: BlobStore;
  /** Nobody brings the same bytes while they are collected. */
  readonly uploading: Uploading;
  readonly clock: Clock;
  readonly journal: Journal;
  /** Bodies are gone, or all events up to one: frames in memory and the index of words hold nothing of them either. */
  readonly erased: (channel: ChannelId, seqs: readonly Seq[]) => void;
  readonly pruned: (channel: ChannelId, upTo: Seq) => Promise<void>;
  /** The rest of the process has its turn. */
  readonly turn: Turn;
  /** What the server itself keeps in memory and beside the log is put in order. */
  readonly tidy: () => Promise<void>;
  /** A fault of ours. */
  readonly bug: (error: unknown) => void;
};

type Job = {
  readonly name: string;
  readonly everyMs: number;
  /** Looks first, for a job that is asked for often: a lease costs two commits. */
  readonly isDue?: (ports: JobPorts, now: Millis) => Promise<boolean>;
  readonly run: (ports: JobPorts, now: Millis) => Promise<void>;
};

const PAGE = 500;

/** Empties the bodies of events whose time is over. */
const eraseExpired = async ({ log, state, erased, turn }: JobPorts, now: Millis): Promise<void> => {
  for (;;) {
    const due = await state.listExpired(now, PAGE);
    for (const [channel, events] of Map.groupBy(due, (one) => one.channel)) {
      const seqs = events.map(({ seq }) => seq);
      await log.erase(channel, seqs);
      erased(channel, seqs);
    }
    if (due.length < PAGE) return;
    await turn();
  }
};

const isErasureDue = async ({ state }: JobPorts, now: Millis): Promise<boolean> =>
  (await state.listExpired(now, 1)).length > 0;

/** Removes events that are older than their channel keeps, and what they referred to. */
const retain = async (ports: JobPorts, now: Millis): Promise<void> => {
  for await (const page of pages(ports.state.listChannels, byId))
    for (const { id, retentionMs } of page) if (retentionMs > 0) await retainIn(ports, id, now);
};

// As it is when its turn comes: those before it may have taken long.
const retainIn = async (ports: JobPorts, channel: ChannelId, now: Millis): Promise<void> => {
  const retentionMs = (await ports.state.getChannel(channel))?.retentionMs ?? 0;
  if (retentionMs > 0) await forgetBefore(ports, channel, now - retentionMs);
};

/** The same for the inboxes of members. */
const retainInboxes = async (ports: JobPorts, now: Millis): Promise<void> => {
  const before = now - INBOX_KEPT_MS;
  for (;;) {
    const due = await ports.state.listInboxesOfBefore(before, PAGE);
    for (const member of due) await forgetBefore(ports, inboxOf(member), before);
    if (due.length < PAGE) return;
  }
};

const forgetBefore = async ({ log, state, pruned }: JobPorts, channel: ChannelId, before: Millis): Promise<void> => {
  const upTo = await log.seqAt(channel, before);
  await state.removeBlobRefsBefore(channel, before);
  if (upTo === 0) return;
  await log.prune(channel, upTo);
  await pruned(channel, upTo);
};

/** Removes uploads that were given up, and blobs that nobody has referred to for a while. */
const collect = async ({ state, blobs, uploading, clock }: JobPorts, now: Millis): Promise<void> => {
  const remove = (hash: BlobHash, before: () => Millis) =>
    uploading.run(hash, async () => {
      if (await state.removeBlob(hash, before())) await blobs.remove(hash);
    });
  for (;;) {
    const expired = await state.removeBlobRefsExpired(now, PAGE);
    // At once: files that live for seconds would fill the disk, and count for nobody.
    for (const hash of new Set(expired)) await remove(hash, () => clock.now() + 1);
    if (expired.length < PAGE) break;
  }
  for (;;) {
    // By the time that it is: what was begun, or goes on, since the job began is not over.
    const uploads = await state.listUploadsExpired(clock.now(), PAGE);
    for (const { id } of uploads)
      await uploading.run(id, async () => {
        if (await state.removeUploadExpired(id, clock.now())) await blobs.remove(id);
      });
    if (uploads.length < PAGE) break;
  }
  const before = now - BLOB_UNUSED_MS;
  for (;;) {
    const unused = await state.listBlobsUnused(before, PAGE);
    for (const hash of unused) await remove(hash, () => before);
    if (unused.length < PAGE) return;
  }
};

const forgetCounts = async ({ state }: JobPorts, now: Millis): Promise<void> => {
  await state.removeAttempts(now - ATTEMPTS_KEPT_MS);
  await state.removeAudit(now - AUDIT_KEPT_MS);
};

const JOBS: readonly Job[] = [
  { name: 'erase', everyMs: JOB_ERASE_MS, isDue: isErasureDue, run: eraseExpired },
  { name: 'retain', everyMs: JOB_MS, run: retain },
  { name: 'inboxes', everyMs: JOB_TIDY_MS, run: retainInboxes },
  { name: 'collect', everyMs: JOB_MS, run: collect },
  { name: 'forget', everyMs: JOB_MS, run: forgetCounts },
  { name: 'tidy', everyMs: JOB_TIDY_MS, run: ({ tidy }) => tidy() },
];

/** Runs each job again and again, one at a time and on one node at a time. A step that fails is tried at the next turn. */
export class Jobs implements AsyncDisposable {
  readonly #ports: JobPorts;
  readonly #cancels = new Map<string, Cancel>();
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(ports: JobPorts) {
    this.#ports = ports;
    for (const job of JOBS) this.#later(job);
  }

  /** Runs a job as if its time had come; resolves at its end. */
  async run(name: string): Promise<void> {
    const job = JOBS.find((one) => one.name === name);
    if (job === undefined) throw new Error(`there is no job ${name}`);
    this.#cancels.get(name)?.();
    this.#begin(job);
    await this.#running;
  }

  /** Resolves when those that were due have come to their end. */
  idle(): Promise<void> {
    return this.#running;
  }

  /** Resolves when the job under way has ended; no other begins. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const cancel of this.#cancels.values()) cancel();
    await this.#running;
  }

  #later(job: Job): void {
    this.#cancels.set(
      job.name,
      this.#ports.clock.after(job.everyMs, () => this.#begin(job)),
    );
  }

  #begin(job: Job): void {
    this.#running = this.#running.then(() => this.#run(job)).catch(this.#ports.bug);
  }

  async #run(job: Job): Promise<void> {
    if (this.#isClosed) return;
    const { state, clock, journal } = this.#ports;
    try {
      const now = clock.now();
      if ((await job.isDue?.(this.#ports, now)) === false) return;
      const lease = await state.takeJob(job.name, { now, leaseMs: JOB_LEASE_MS });
      if (lease === undefined) return;
      try {
        await job.run(this.#ports, now);
      } catch (error) {
        await this.#release(job, lease);
        throw error;
      }
      await state.putJobDone(job.name, lease.fencing, clock.now());
    } catch (error) {
      const known = expectedError(error);
      if (known === undefined) throw error;
      journal.warn('job.failed', { job: job.name, code: known.code });
    } finally {
      if (!this.#isClosed) this.#later(job);
    }
  }

  // On a disk that takes nothing the lease stays until it ends by itself.
  async #release({ name }: Job, { fencing }: JobRow): Promise<void> {
    try {
      await this.#ports.state.putJobFailed(name, fencing);
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
    }
  }
}

/** Removes files that no row knows: what an interrupted upload or removal has left. For the start, before anybody uploads. */
export const collectLeftOver = async ({ state, blobs }: Pick<JobPorts, 'state' | 'blobs'>): Promise<number> => {
  let removed = 0;
  for await (const name of blobs.list()) {
    const row = isBlobHash(name) ? await state.getBlob(name) : await state.getUpload(name);
    if (row !== undefined) continue;
    await blobs.remove(name);
    removed++;
  }
  return removed;
};
