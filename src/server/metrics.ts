// Health and metrics on a local address of their own: numbers only, no name, no id, a bounded set.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { urlHost } from './listener.ts';

/** A number that is looked up when somebody asks. */
export type Metric = {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly doc: string;
  readonly value: () => number;
};

export type MetricsOptions = {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly metrics: readonly Metric[];
  /** Whether the server takes connections. */
  readonly ready: () => boolean;
};

/** Serves `/metrics`, `/health` and `/ready`, and nothing else. */
export class Metrics implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** Throws what the system says of the address. */
  static async open(options: MetricsOptions): Promise<Metrics> {
    const server = createServer({ requestTimeout: 5_000, maxHeaderSize: 4_096 }, (request, response) => {
      const { status, text } = answer(options, request.method ?? '', request.url ?? '');
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4', 'cache-control': 'no-store' });
      response.end(text);
    });
    server.maxConnections = 16;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.host, resolve);
    });
    const { port } = server.address() as AddressInfo;
    return new Metrics(server, `http://${urlHost(options.host)}:${port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

const answer = (
  { metrics, ready }: MetricsOptions,
  method: string,
  url: string,
): { readonly status: number; readonly text: string } => {
  if (method !== 'GET') return { status: 405, text: 'GET only\n' };
  switch (url) {
    case '/metrics':
      return { status: 200, text: metrics.map(lineOf).join('') };
    case '/health':
      return { status: 200, text: 'ok\n' };
    case '/ready':
      return ready() ? { status: 200, text: 'ready\n' } : { status: 503, text: 'not ready\n' };
    default:
      return { status: 404, text: '/metrics, /health or /ready\n' };
  }
};

const lineOf = ({ name, kind, doc, value }: Metric): string =>
  `# HELP sotto_${name} ${doc}\n# TYPE sotto_${name} ${kind}\nsotto_${name} ${value()}\n`;
