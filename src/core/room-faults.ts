// Which errors are of a server, and which of one channel, member or event there: those keep nothing else away.
import type { ErrorCode, SottoError } from '../protocol/errors.ts';
import type { Core } from './core.ts';

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

const OTHER_KEYS = ['server.certificateChanged', 'server.keyChanged'] as const;

/** That somebody else answers at the address of a server, which time alone does not mend; undefined where that is not known. */
export const otherKeyOf = (core: Core, serverId: number | undefined): (typeof OTHER_KEYS)[number] | undefined => {
  const connection = serverId === undefined ? undefined : core.rooms.get(serverId);
  if (connection === undefined || connection.state === 'online') return undefined;
  return OTHER_KEYS.find((code) => code === connection.lastError?.code);
};
