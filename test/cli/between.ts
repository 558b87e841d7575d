// Stands between commands and a daemon: something else may happen just before a request comes.
import { linkSync, renameSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { pathsOf } from '../daemon/furnished.ts';
import type { User } from '../e2e/stage.ts';

type Request = { readonly method: string; readonly params?: Readonly<Record<string, unknown>> };

/** Calls `before` with each request of commands that begin from now on, until it is disposed of. */
export const between = async (user: User, before: (request: Request) => void): Promise<Disposable> => {
  const { socket: path } = pathsOf(user);
  const [real, own] = [`${path}.real`, `${path}.own`];
  const server = createServer((client) => {
    const daemon = connect(real);
    daemon.pipe(client);
    createInterface(client)
      .on('line', (line) => {
        before(JSON.parse(line) as Request);
        daemon.write(`${line}\n`);
      })
      .on('close', () => daemon.end());
  });
  await new Promise<void>((resolve) => server.listen(own, resolve));
  // There is a socket at every moment: a daemon whose socket is gone ends.
  linkSync(path, real);
  renameSync(own, path);
  return {
    [Symbol.dispose]: () => {
      renameSync(real, path);
      server.close();
    },
  };
};
