// Asks a running server over its admin socket.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { isErrorCode, SottoError } from '../protocol/errors.ts';
import type { AdminRequest } from './admin.ts';

const Answer = z.union([
  z.object({ item: z.record(z.string(), z.unknown()) }),
  z.object({ done: z.literal(true) }),
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
]);

/** What the server answers, item by item. Throws `server.unreachable` when none runs, and what the server says. */
export const askAdmin = (path: string, request: AdminRequest): Promise<object[]> =>
  new Promise((resolve, reject) => {
    const items: object[] = [];
    const socket = connect(path);
    const absent = new SottoError('server.unreachable', {
      message: 'No server runs in this folder: start sotto serve',
    });
    socket.on('error', () => reject(absent));
    socket.on('close', () => reject(absent));
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    const lines = createInterface({ input: socket });
    // It tells the errors of the socket once more.
    lines.on('error', () => {});
    lines.on('line', (line) => {
      const answer = Answer.parse(JSON.parse(line));
      if ('item' in answer) return void items.push(answer.item);
      socket.removeAllListeners('close');
      socket.end();
      if ('done' in answer) return resolve(items);
      const { code, message } = answer.error;
      reject(new SottoError(isErrorCode(code) ? code : 'internal.bug', { message }));
    });
  });
