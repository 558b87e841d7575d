// The server's second check for another device: a password and a TOTP or recovery code, changed only with the present ones.
import { argon2, createHmac, timingSafeEqual } from 'node:crypto';
import { sha256 } from '../crypto/primitives.ts';
import { concat, fromBase64, toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import type { MemberId } from '../protocol/ids.ts';
import {
  ARGON2_LANES,
  ARGON2_MEMORY_KIB,
  ARGON2_PASSES,
  PASSWORD_HASHES_MAX,
  RECOVERY_CODES,
  SECOND_TRIES_MAX,
  SECOND_WINDOW_MS,
  TOTP_STEP_MS,
} from '../protocol/limits.ts';
import type { Answer, RequestParams } from '../protocol/server.ts';
import { HASH_BYTES, SALT_BYTES } from '../protocol/sizes.ts';
import { type Asker, mayNow } from './access.ts';
import { auditRow } from './audit.ts';
import type { ServerContext } from './context.ts';
import { notify } from './notices.ts';
import type { AuditRow, SecondFactorRow } from './rows.ts';

type Second = { readonly password: string; readonly code: string };

const TOTP_DIGITS = 6;
const SECRET_BYTES_MIN = 16;
const RECOVERY_BYTES = 10;

/** Whether there is one, and what is left of it. */
export const showSecond = async (
  { store, clock }: ServerContext,
  { member }: Asker,
): Promise<Answer<'second.show'>> => ({
  on: (await store.getSecondFactor(member.id)) !== undefined,
  recoveryCodesLeft: await store.countRecoveryCodes(member.id),
  at: clock.now(),
});

/**
 * Sets or changes both; where there are some, the present ones are asked for, once the new code is known to be right: a slip
 * with it costs no try and no code. Throws `login.second`, `rate.limited`, `server.busy`.
 */
export const setSecond = (
  context: ServerContext,
  { member }: Asker,
  params: RequestParams<'second.set'>,
): Promise<Answer<'second.set'>> => context.admitting.run(member.id, () => setInTurn(context, member.id, params));

const setInTurn = async (
  context: ServerContext,
  member: MemberId,
  params: RequestParams<'second.set'>,
): Promise<Answer<'second.set'>> => {
  const secret = fromBase64(params.secret);
  if (secret.length < SECRET_BYTES_MIN) throw new SottoError('request.invalid', { details: { why: 'secret' } });
  const step = stepOf(secret, params.code, context.clock.now());
  if (step === undefined) throw new SottoError('login.second', { details: { why: 'new' } });
  mayNow(context, 'account', member);
  await checkSecond(context, member, params.present);
  const recoveryCodes = Array.from({ length: RECOVERY_CODES }, () =>
    toHex(context.random.bytes(RECOVERY_BYTES)).replace(/(.{5})(?=.)/g, '$1-'),
  );
  const row: SecondFactorRow = {
    member,
    passwordHash: await hashPassword(params.password, context.random.bytes(SALT_BYTES)),
    sealedTotp: context.sealer.seal(labelOf(member), secret),
    lastStep: step,
    updatedAt: context.clock.now(),
  };
  const hashes = recoveryCodes.map((code) => sha256(Buffer.from(code)));
  await context.store.putSecondFactor(row, hashes, await told(context, member, 'second.set'));
  return { recoveryCodes };
};

/** Takes the second check away, with what it asks for. Throws `login.second`. */
export const removeSecond = (
  context: ServerContext,
  { member: { id: member } }: Asker,
  params: RequestParams<'second.remove'>,
): Promise<Answer<'second.remove'>> =>
  context.admitting.run(member, async () => {
    if ((await context.store.getSecondFactor(member)) === undefined) return {};
    mayNow(context, 'account', member);
    await checkSecond(context, member, params);
    await context.store.removeSecondFactor(member, await told(context, member, 'second.removed'));
    return {};
  });

// Every device of theirs hears of it: who did not do it knows what to do. Before it is done, as a false alarm is better than
// none. Gives the line of the audit log.
const told = async (
  context: ServerContext,
  member: MemberId,
  kind: 'second.set' | 'second.removed',
): Promise<AuditRow> => {
  await notify(context, member, { what: kind });
  return auditRow(context, { actor: member, kind, target: member });
};

/**
 * Lets pass who has no second factor, or shows the right ones: the password, and a TOTP step or a recovery code that was not
 * used before. What is wrong counts as a try of the member, and only here: log-ins of known devices are never locked. Throws
 * `login.second`, `rate.limited`, `server.busy`.
 */
export const checkSecond = async (
  context: ServerContext,
  member: MemberId,
  shown: Second | undefined,
): Promise<void> => {
  const row = await context.store.getSecondFactor(member);
  if (row === undefined) return;
  if (shown === undefined) throw new SottoError('login.second');
  const { store, clock } = context;
  const now = clock.now();
  // Counted before it is looked at, so that many at once are as many as one after another.
  const { tries, since } = await store.putAttempt('second', member, { now, windowMs: SECOND_WINDOW_MS });
  if (tries > SECOND_TRIES_MAX)
    throw new SottoError('rate.limited', { details: { retryAfterMs: since + SECOND_WINDOW_MS - now } });
  let isWrong = false;
  try {
    const salt = row.passwordHash.subarray(0, SALT_BYTES);
    const right = timingSafeEqual(await hashPassword(shown.password, salt), row.passwordHash);
    isWrong = !right || !(await useCode(context, row, shown.code));
  } finally {
    if (!isWrong) await store.takeBackAttempt('second', member, since);
  }
  if (isWrong) throw new SottoError('login.second');
};

const useCode = async (context: ServerContext, row: SecondFactorRow, code: string): Promise<boolean> => {
  const secret = context.sealer.open(labelOf(row.member), row.sealedTotp);
  const step = stepOf(secret, code, context.clock.now());
  if (step !== undefined) return context.store.takeTotpStep(row.member, step);
  return context.store.takeRecoveryCode(row.member, sha256(Buffer.from(code.toLowerCase())));
};

/** The step whose code this is, now or one beside it; RFC 6238 with SHA-1, 30 s, 6 digits. */
const stepOf = (secret: Uint8Array, code: string, now: number): number | undefined => {
  const present = Math.floor(now / TOTP_STEP_MS);
  return [present, present - 1, present + 1].find((step) => same(totp(secret, step), code));
};

/** RFC 4226 section 5.3. */
export const totp = (secret: Uint8Array, step: number): string => {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const offset = (mac.at(-1) ?? 0) & 15;
  return String((mac.readUInt32BE(offset) & 0x7fff_ffff) % 10 ** TOTP_DIGITS).padStart(TOTP_DIGITS, '0');
};

const same = (one: string, other: string): boolean => {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
};

let hashing = 0;

/** Salt ‖ Argon2id, on another thread, a few at once: more are told to come later. */
const hashPassword = async (password: string, salt: Uint8Array): Promise<Uint8Array<ArrayBuffer>> => {
  if (hashing >= PASSWORD_HASHES_MAX) throw new SottoError('server.busy');
  hashing++;
  try {
    const hash = await new Promise<Buffer>((resolve, reject) =>
      argon2(
        'argon2id',
        {
          message: password.normalize('NFKC'),
          nonce: salt,
          parallelism: ARGON2_LANES,
          tagLength: HASH_BYTES,
          memory: ARGON2_MEMORY_KIB,
          passes: ARGON2_PASSES,
        },
        (error, tag) => (error === null ? resolve(tag) : reject(error)),
      ),
    );
    return concat([salt, hash]);
  } finally {
    hashing--;
  }
};

const labelOf = (member: MemberId): string => `totp ${member}`;
