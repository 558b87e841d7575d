// What happens in the simulated rooms of a seed: more, the higher it is, so that a seed stays the world that it was.

// From this seed on people also react, pin, mute, delete what others said, and write what ends by itself; in every third of these
// worlds Bob has another device.
const BUSY_FROM = 10_000;
// From this seed on he has it in every world; it is revoked, and joins anew as another one.
const REVOKED_FROM = 30_000;
// From this seed on Carol is also banned from the server, and let in again.
const BANNED_FROM = 40_000;
// From this seed on, where the server is not, her data directory or Alice's is put back to an earlier state.
const PUT_BACK_FROM = 50_000;
// From this seed on Alice gets another device in the middle, which does what she may.
const GROWN_FROM = 60_000;
// From this seed on people also send files, answer, read, slow a channel down, show its past, and leave the server for a while.
const SETTLED_FROM = 70_000;
// From this seed on, in every fourth world, which has no other log, channels keep an hour, and the server forgets what is older.
const FORGETFUL_FROM = 110_000;

export type Traits = {
  readonly channels: readonly string[];
  readonly isRestored: boolean;
  readonly hasLaptop: boolean;
  readonly isBusy: boolean;
  readonly isRevoked: boolean;
  readonly isBanned: boolean;
  readonly isPutBack: boolean;
  readonly grows: boolean;
  readonly isSettled: boolean;
  readonly forgets: boolean;
};

/** What the world of a seed has. */
export const traitsOf = (seed: number): Traits => {
  const isRestored = seed % 2 === 0;
  const hasLaptop = seed >= REVOKED_FROM || (seed >= BUSY_FROM && seed % 3 === 0);
  // Another device has only the keys of those passphrases that were typed there in their time.
  const isLocked = seed % 8 === 0 && !hasLaptop;
  return {
    channels: ['#open', '#sealed', ...(isLocked ? ['#locked'] : [])],
    isRestored,
    hasLaptop,
    isBusy: seed >= BUSY_FROM,
    isRevoked: seed >= REVOKED_FROM,
    isBanned: seed >= BANNED_FROM,
    isPutBack: seed >= PUT_BACK_FROM && !isRestored,
    grows: seed >= GROWN_FROM,
    isSettled: seed >= SETTLED_FROM,
    forgets: seed >= FORGETFUL_FROM && seed % 4 === 1,
  };
};
