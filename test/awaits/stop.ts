// Stops a program at an await of a given name: it never goes on from there. A person's program dies with it.
import { AsyncLocalStorage } from 'node:async_hooks';
import { AccountQueue } from '../../src/core/queue.ts';
import { Person } from '../../src/testing/people.ts';

/** Before the step that is waited for, or after it. */
export type Moment = 'before' | 'after';

declare global {
  // What name-awaits.ts writes into the files.
  var awaitNames: string[];
  var atAwait: <T>(name: string, step: () => Promise<T>) => Promise<T>;
}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

const running = new AsyncLocalStorage<AccountQueue>();
const calling = new AsyncLocalStorage<Person>();
const owners = new WeakMap<AccountQueue, Person>();
let newest: AccountQueue | undefined;
let stop: { readonly name: string; readonly moments: Moment[] } | undefined;
let stopped: () => void = () => {};
let seen = new Set<string>();

const { call, post } = AccountQueue.prototype;
AccountQueue.prototype.call = function <T>(task: () => Promise<T> | T): Promise<T> {
  return call.call(this, known(this, task)) as Promise<T>;
};
AccountQueue.prototype.post = function (task: () => Promise<void> | void): void {
  post.call(this, known(this, task));
};

// A method waits outside of the queue too.
const { call: callMethod } = Person.prototype;
Person.prototype.call = function (...args) {
  return calling.run(this, () => callMethod.apply(this, args)) as never;
};

const known = <T>(queue: AccountQueue, task: () => T): (() => T) => {
  if (!owners.has(queue)) newest = queue;
  return () => running.run(queue, task);
};

globalThis.atAwait = async (name, step) => {
  seen.add(name);
  if (dies(name, 'before')) return never();
  const result = await step();
  return dies(name, 'after') ? never() : result;
};

const dies = (name: string, moment: Moment): boolean => {
  if (stop?.name !== name || stop.moments[0] !== moment) return false;
  const queue = running.getStore();
  const person = queue === undefined ? calling.getStore() : owners.get(queue);
  // Not while an account opens, nor what is left of one that is dead.
  if ((queue ?? person) !== undefined && person?.isOpen !== true) return false;
  stop.moments.shift();
  person?.die();
  stopped();
  return true;
};

/** Says whose program was opened last. */
export const isOpenedBy = (person: Person): void => {
  if (newest !== undefined) owners.set(newest, person);
};

/** The next program that comes to `name` dies there, once for each of `moments`. */
export const stopAt = (name: string, moments: readonly Moment[]): void => {
  stop = { name, moments: [...moments] };
};

/** Runs `step`; true when it came to its end, false when it was stopped. */
export const comesToEnd = (step: () => Promise<unknown>): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  stopped = () => resolve(false);
  return Promise.race([promise, step().then(() => true)]);
};

/** Gives the moments that did not come, and lets everybody live. */
export const stopNobody = (): readonly Moment[] => {
  const left = stop?.moments ?? [];
  stop = undefined;
  return left;
};

/** The awaits that were come to since the last time. */
export const takeSeen = (): ReadonlySet<string> => {
  const taken = seen;
  seen = new Set();
  return taken;
};
