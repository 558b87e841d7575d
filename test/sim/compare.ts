// What both sides of a conversation must show alike, once everything has arrived.
import type { Message } from '../../src/protocol/rpc-objects.ts';
import type { Person } from '../../src/testing/people.ts';

type Relation = 'accepted' | 'outgoing' | 'incoming' | 'rejected' | 'unknown';

/** What `to` is for `of`. */
export const stateOf = (of: Person, to: Person): Relation => {
  const { state } = of.db.get<{ state: string }>('SELECT state FROM contacts WHERE address = ?', to.address) ?? {};
  return state === 'removed' ? 'rejected' : ((state ?? 'unknown') as Relation);
};

/** What the other one may be for somebody for whom they are this. */
const FITS: Readonly<Record<Relation, readonly Relation[]>> = {
  accepted: ['accepted'],
  outgoing: ['incoming', 'rejected', 'unknown'],
  incoming: ['outgoing'],
  rejected: ['outgoing', 'rejected', 'unknown'],
  unknown: ['outgoing', 'rejected', 'unknown'],
};

/** Says when what two people are for each other does not go together. */
export const compareRelation = (from: Person, to: Person): string[] => {
  const [ours, theirs] = [stateOf(from, to), stateOf(to, from)];
  return FITS[ours].includes(theirs) ? [] : [`${from.name} is ${theirs} for ${to.name}, who is ${ours} for them`];
};

/** What cannot be known of a message: nothing is expected of those for which one of these is true. */
export type Doubts = {
  /** One of the stores does not remember it, on its user's word or because a copy was put back. */
  readonly isForgotten: (id: string) => boolean;
  /** It was put into the outbox again, behind others. */
  readonly isLate: (id: string) => boolean;
  /** `reader` has told that it was read. */
  readonly hasTold: (reader: Person, id: string) => boolean;
};

/** The conversations of everybody with everybody. */
export type Timelines = (of: Person, to: Person) => readonly Message[];

/** What one wrote is with the other: each once, in order, and both show the same of it. */
export const compareMessages = async (
  from: Person,
  to: Person,
  timelines: Timelines,
  doubts: Doubts,
): Promise<string[]> => {
  // What ends by itself may have ended on one side.
  const counts = ({ id, expiresMs }: Message) => expiresMs === undefined && !doubts.isForgotten(id);
  const known = (messages: readonly Message[], mine: boolean) =>
    new Map(messages.filter((one) => one.mine === mine && counts(one)).map((one) => [one.id, one]));
  const [sent, got] = [known(timelines(from, to), true), known(timelines(to, from), false)];
  const wrong: string[] = [];
  const order = (these: Map<string, Message>, others: Map<string, Message>) =>
    [...these.keys()].filter((id) => others.has(id) && !doubts.isLate(id));
  // A frame that did not open, after a store was put back, comes again behind its neighbours.
  const isDisordered = to.log.unclaimed().some((line) => line.event === 'frame.refused');
  if (!isDisordered && order(sent, got).join() !== order(got, sent).join())
    wrong.push(`${from.name}>${to.name}: another order`);
  for (const id of new Set([...sent.keys(), ...got.keys()])) {
    const [ours, theirs] = [sent.get(id), got.get(id)];
    const differs = lives(ours, theirs) ?? (await shown(from, to, ours, theirs));
    if (differs !== undefined) wrong.push(`${from.name}>${to.name} ${id.slice(0, 8)}: ${differs}`);
    if (ours?.state === 'read' && !doubts.hasTold(to, id)) wrong.push(`${id.slice(0, 8)} is read, which nobody told`);
  }
  return wrong;
};

/** Whether one side has a message and the other may not, or may. */
const lives = (ours: Message | undefined, theirs: Message | undefined): string | undefined => {
  if (ours === undefined) return theirs?.deletedAt === undefined ? 'nobody wrote it' : undefined;
  if (ours.state === 'failed') return failed(ours.reason, theirs);
  if (ours.deletedAt !== undefined) return theirs === undefined ? undefined : isDeleted(theirs);
  if (!['delivered', 'read'].includes(ours.state)) return `is ${ours.state}`;
  if (theirs === undefined) return 'did not arrive';
  return theirs.deletedAt === undefined ? undefined : 'is deleted at the other side only';
};

const failed = (reason: string | undefined, theirs: Message | undefined): string | undefined => {
  if (theirs === undefined) return undefined;
  if (reason === 'cancelled') return 'was cancelled, and arrived';
  return reason === 'recalled' ? isDeleted(theirs) : undefined;
};

const isDeleted = (theirs: Message): string | undefined =>
  theirs.deletedAt === undefined ? 'lives on at the other side' : undefined;

/** How what both show of a living message differs. */
const shown = async (from: Person, to: Person, ours: Message | undefined, theirs: Message | undefined) => {
  if (ours === undefined || theirs === undefined || ours.state === 'failed' || ours.deletedAt !== undefined) return;
  const { id } = ours;
  const [mine, other] = [sight(ours, true), sight(theirs, false)];
  if (mine !== other) return `${mine} is ${other} at the other side`;
  if (theirs.editedAt === undefined) return;
  const [all, their] = [await versions(from, id), await versions(to, id)];
  // What was changed before it left was never there.
  return all.slice(all.length - their.length).join() === their.join() ? undefined : `versions ${all} are ${their}`;
};

const versions = async (who: Person, id: string): Promise<string[]> =>
  ((await who.call('message.show', { id })).versions ?? []).map(({ body }) => body);

const sight = ({ body, replyTo, pinnedAt, reactions }: Message, isOurs: boolean): string => {
  const faces = reactions.map(({ emoji, mine }) => `${mine === isOurs ? '' : 're'}${emoji}`).sort();
  return [`"${body}"`, replyTo?.slice(0, 8), pinnedAt === undefined ? '' : 'pinned', ...faces]
    .filter(Boolean)
    .join(' ');
};
