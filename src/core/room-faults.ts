// Which errors are of a server, and which of one channel, member or event there: those keep nothing else away.
import type { ErrorCode, SottoError } from '../protocol/errors.ts';

// After these it is the server that cannot now, whatever was asked; or the account is closed.
const WHOLE: ReadonlySet<ErrorCode> = new Set([
  'server.unavailable',
  'server.unreachable',
  'server.timeout',
  'server.moved',
  'rate.limited',
  'account.locked',
]);

/** Whether nothing that is asked of the server now would come to another end. */
export const isOfServer = ({ code }: SottoError): boolean => WHOLE.has(code);
