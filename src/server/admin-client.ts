// Asks a running server over its admin socket.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import type { Clock } from '../ports.ts';
import { isErrorCode, SottoError } from '../protocol/errors.ts';
import type { AdminRequest } from './admin.ts';

const Answer = z.union([
  z.object({ item: z.record(z.string(), z.unknown()) }),
  z.object({ done: z.literal(true) }),
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
]);

/**
 * What the server answers, item by item. Throws `server.unreachable` when none runs, `path.notAllowed` where this user may not
 * ask, `wait.timeout` when it does not answer in `timeoutMs`, and what the server says.
 */
export const askAdmin = (
  path: string,
  request: AdminRequest,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number | undefined },
): Promise<object[]> =>
  new Promise((resolve, reject) => {
    const items: object[] = [];
    const socket = connect(path);
    let asked = false;
    const end = (error: SottoError): void => {
      cancel();
      reject(error);
      socket.destroy();
    };
    const late = () => end(new SottoError('wait.timeout', { message: 'The server runs and does not answer' }));
    const cancel = timeoutMs === undefined ? () => {} : clock.after(timeoutMs, late);
    socket.on('error', (error: NodeJS.ErrnoException) => end(refusedBy(error)));
    socket.on('close', () => end(asked ? CUT : ABSENT));
    socket.on('connect', () => {
      asked = true;
      socket.write(`${JSON.stringify(request)}\n`);
    });
    const lines = createInterface({ input: socket });
    // It tells the errors of the socket once more.
    lines.on('error', () => {});
    lines.on('line', (line) => {
      const answer = Answer.parse(JSON.parse(line));
      if ('item' in answer) return void items.push(answer.item);
      cancel();
      socket.removeAllListeners('close');
      socket.end();
      if ('done' in answer) return resolve(items);
      const { code, message } = answer.error;
      reject(new SottoError(isErrorCode(code) ? code : 'internal.bug', { message }));
    });
  });

const ABSENT = new SottoError('server.unreachable', { message: 'No server runs in this folder: start sotto serve' });
const CUT = new SottoError('server.unreachable', { message: 'The server ended before it had answered' });

const refusedBy = ({ code }: NodeJS.ErrnoException): SottoError =>
  code === 'EACCES' || code === 'EPERM'
    ? new SottoError('path.notAllowed', { message: 'This is the server of another user, who administers it' })
    : ABSENT;
