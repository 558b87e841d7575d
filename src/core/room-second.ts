// The second check that a server asks of another device of mine: shown, set, changed and removed from here; nothing of it is kept.
import { toBase64 } from '../protocol/bytes.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { TOTP_STEP_MS } from '../protocol/limits.ts';
import type { Params, Result } from '../protocol/rpc.ts';
import type { Core } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { connectionOf } from './room-control.ts';
import { findServer } from './room-names.ts';

const SECRET_BYTES = 20;

/** Whether it is on, as the server says now. Throws `server.*`. */
export const showSecond = async (
  core: Core,
  { server, timeoutMs }: Params<'server.secondCheck'>,
): Promise<Result<'server.secondCheck'>> => {
  const row = findServer(core.db, server);
  const { on, recoveryCodesLeft } = await (await connectionOf(core, row, timeoutMs)).request('second.show', {});
  return { server: row.label, on, recoveryCodesLeft };
};

/** A secret for an authenticator, as base32 and as the link that it reads. It is kept nowhere and sets nothing. */
export const makeSecret = (core: Core, { server }: Params<'server.secondSecret'>): Result<'server.secondSecret'> => {
  const { label, memberName } = findServer(core.db, server);
  const secret = toBase32(core.random.bytes(SECRET_BYTES));
  const issuer = encodeURIComponent(`sotto ${label}`);
  const link = `otpauth://totp/${issuer}:${encodeURIComponent(memberName)}?secret=${secret}&issuer=${issuer}`;
  return { server: label, secret, link };
};

/** Sets it, or with the present one changes it. Throws `second.on`, `second.off`, `login.second`, `rate.limited`, `server.*`. */
export const setSecond = async (
  core: Core,
  { server, password, secret, code, present, timeoutMs }: Params<'server.setSecondCheck'>,
): Promise<Result<'server.setSecondCheck'>> => {
  const row = findServer(core.db, server);
  const connection = await connectionOf(core, row, timeoutMs);
  await mustBe(connection, present !== undefined);
  const { recoveryCodes } = await shown(core, connection, () =>
    connection.request('second.set', {
      password,
      secret: toBase64(fromBase32(secret)),
      code: bare(code),
      ...(present === undefined ? {} : { present: { password: present.password, code: bare(present.code) } }),
    }),
  );
  return { server: row.label, recoveryCodes };
};

/** Takes it away. Throws `second.off`, `login.second`, `rate.limited`, `server.*`. */
export const removeSecond = async (
  core: Core,
  { server, password, code, timeoutMs }: Params<'server.removeSecondCheck'>,
): Promise<Result<'server.removeSecondCheck'>> => {
  const row = findServer(core.db, server);
  const connection = await connectionOf(core, row, timeoutMs);
  await mustBe(connection, true);
  await shown(core, connection, () => connection.request('second.remove', { password, code: bare(code) }));
  return { server: row.label, on: false, recoveryCodesLeft: 0 };
};

const mustBe = async (connection: RoomConnection, wanted: boolean): Promise<void> => {
  const { on } = await connection.request('second.show', {});
  if (on !== wanted) throw new SottoError(on ? 'second.on' : 'second.off');
};

/** A code as it was shown, without the gap that authenticators leave in it. */
export const bare = (code: string): string => code.replace(/\s/g, '');

// Codes go by the server's clock: when one is refused, and that clock is another than ours, this is said too.
const shown = async <T>(core: Core, connection: RoomConnection, ask: () => Promise<T>): Promise<T> => {
  try {
    return await ask();
  } catch (error) {
    const known = expectedError(error);
    if (known === undefined) throw error;
    const { at } = known.code === 'login.second' ? await connection.request('second.show', {}) : { at: undefined };
    throw refusedSecond(known, at === undefined ? 0 : at - core.clock.now());
  }
};

/** What a server answers to who has shown a second check, with what to do about it; `aheadMs` is how far its clock is ahead. */
export const refusedSecond = (error: SottoError, aheadMs = 0): SottoError => {
  const { retryAfterMs } = error.details;
  if (error.code === 'rate.limited' && typeof retryAfterMs === 'number')
    return new SottoError(error.code, {
      message: `Too many tries: again in ${Math.ceil(retryAfterMs / 60_000)} min. Devices that are in stay in`,
      details: error.details,
    });
  if (error.code !== 'login.second') return error;
  const what =
    error.details.why === 'new'
      ? 'This is no code of the new secret: take the one that your authenticator shows for it now'
      : 'The password or the code is wrong, or the code was used before: wait for the next one, or take a recovery code';
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const clock =
    Math.abs(aheadMs) <= TOTP_STEP_MS
      ? ''
      : `. Codes go by the server’s clock, which is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this one: set the clock that is wrong`;
  return new SottoError(error.code, { message: `${what}${clock}`, details: error.details });
};

// RFC 4648 section 6; 20 bytes need no padding.
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

const toBase32 = (bytes: Uint8Array): string => {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{5}/g) ?? []).map((five) => DIGITS[Number.parseInt(five, 2)]).join('');
};

const fromBase32 = (text: string): Uint8Array => {
  const bits = Array.from(text, (digit) => DIGITS.indexOf(digit).toString(2).padStart(5, '0')).join('');
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (eight) => Number.parseInt(eight, 2));
};
