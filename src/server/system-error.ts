// What the system says of an address or a folder.
import { SottoError } from '../protocol/errors.ts';

/** The error of the table for what the system says of an address or a folder, which is no fault of ours; any other one as it is. */
export const systemError = (error: unknown): unknown => {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  const { code = '', address, port, path, hostname } = error as SystemError;
  const place = address === undefined ? (path ?? hostname ?? '') : port === undefined ? address : `${address}:${port}`;
  if (code === 'EADDRINUSE') return new SottoError('server.running', { message: `${place} is in use already` });
  if (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
    return new SottoError('config.invalid', { message: `${place} is no address to listen at here (${code})` });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new SottoError('path.notAllowed', { message: `${place} does not let you: look at its owner and mode` });
  return code === 'ENOSPC' ? new SottoError('disk.full') : error;
};

type SystemError = NodeJS.ErrnoException & {
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
};
