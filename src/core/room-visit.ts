// What is learned on one connection to a server and holds no longer than that: it begins empty when the server has proven its key.
import type { SottoError } from '../protocol/errors.ts';
import type { MemberId } from '../protocol/ids.ts';
import type { Removal } from './room-returned.ts';

/** Maps are by member id or channel id in hex, or by row. */
export type Visit = {
  /** What members are, as the server tells while we are connected. */
  readonly presence: Map<string, 'online' | 'away' | 'offline'>;
  /** Channels and members whose devices were asked for: one that was added before is known since. */
  readonly met: Set<string>;
  /** How often members were asked for because of a device that was not known. */
  readonly asked: Map<string, number>;
  /** How often a member has given a key for a channel that was not known. */
  readonly unmet: Map<string, number>;
  /** Members whom the server lets in no more, for now. */
  readonly banned: Set<string>;
  /** Members who have erased themselves. */
  readonly erased: Set<string>;
  /** What was told of members. */
  readonly told: Set<string>;
  /** Calls that were told of before it was known which there are; undefined from then on. */
  calls: Set<string> | undefined;
  /** Members with devices without keys, how many, since when, and when those were last asked for, by the monotonic clock. */
  readonly keyless: Map<number, { readonly devices: number; readonly since: number; readonly askedAt: number }>;
  /** Members for whom the server takes nothing, why, and until when it is not asked again, by the monotonic clock. */
  readonly shut: Map<number, { readonly why: string; readonly until: number }>;
  /** Channels that could not be brought level, and why: the others go on. */
  readonly faults: Map<number, SottoError>;
  /** Who was removed from a channel in a log that is no more, until it is known whether they are in it again. */
  readonly removed: Map<number, ReadonlyMap<MemberId, Removal>>;
  /** Whom this account has to remove again, before anything is said in that channel. */
  readonly returned: Map<number, ReadonlyMap<MemberId, Removal>>;
  /** The inbox is read from its beginning: what comes live meanwhile has its turn behind that. */
  isReadingInbox: boolean;
  /** Our store was put back to before what this device has said: that may be among what comes. */
  isPutBack: boolean;
};

/** Nothing is learned yet; what was left to be done on the visit before is done on this one. */
export const newVisit = ({ returned }: Partial<Pick<Visit, 'returned'>> = {}): Visit => ({
  presence: new Map(),
  met: new Set(),
  asked: new Map(),
  unmet: new Map(),
  banned: new Set(),
  erased: new Set(),
  told: new Set(),
  calls: new Set(),
  keyless: new Map(),
  shut: new Map(),
  faults: new Map(),
  removed: new Map(),
  returned: new Map(returned),
  isReadingInbox: false,
  isPutBack: false,
});
