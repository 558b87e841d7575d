// A private Tor network on loopback: one authority and five relays, real Tor, for the demo, the tests and the bench.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, generateKeyPair } from 'node:crypto';
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { socketDirFor } from '../client/paths.ts';
import { systemClock, systemRandom } from '../machine.ts';
import { torQuoted } from '../net/tor-config.ts';
import { TorControl } from '../net/tor-control.ts';
import { forgetRunning, noteRunning } from './left-running.ts';

const RELAYS = 5;
const NODES = RELAYS + 1;
const STEP_MS = 25;
const AUTHORITY_FILES = ['authority_identity_key', 'authority_signing_key', 'authority_certificate'] as const;

export type TorLabOptions = {
  /** Where the network lives; made when it does not exist. Socket paths below it must stay under 107 bytes. */
  readonly dir: string;
  /** Where the authority's keys are kept between runs: making them takes seconds. */
  readonly cacheDir: string;
  readonly binary?: string;
  /** True: the network outlives this process, until `stopRunning` of its folder. */
  readonly detached?: boolean;
  /** A node that ends is started again after so long; without it, it stays away. */
  readonly reviveMs?: number;
  /** Aborted, it does not go on to start: it throws then, and nothing of it is left. */
  readonly signal?: AbortSignal;
  /** Tells how far the start is. */
  readonly progress?: (step: string) => void;
  readonly timeoutMs?: number;
};

type Node = {
  readonly name: string;
  readonly dir: string;
  /** Where its control socket is: the same, unless that is none for sockets. */
  readonly sockets: string;
  readonly orPort: number;
  readonly dirPort?: number;
  process?: ChildProcess;
};

/** A running private network. */
export type TorLab = {
  /** File for `[tor] network` in config.toml. */
  readonly networkFile: string;
  /** Names and process ids of the relays, the authority first. */
  readonly nodes: readonly { readonly name: string; readonly pid: number }[];
  stop(): Promise<void>;
};

/**
 * Starts the network and waits until every relay holds the whole consensus: about ten seconds. Throws, and leaves nothing
 * running, when a step is not done within `timeoutMs` (60 s).
 */
export const startTorLab = async (options: TorLabOptions): Promise<TorLab> => {
  const lab = new Lab(options);
  try {
    await lab.start();
    return lab;
  } catch (error) {
    await lab.stop();
    throw error;
  }
};

class Lab implements TorLab {
  readonly networkFile: string;
  readonly #options: TorLabOptions;
  readonly #endAt: number;
  #nodes: Node[] = [];
  #stopping = false;

  constructor(options: TorLabOptions) {
    this.#options = options;
    this.networkFile = join(options.dir, 'network.conf');
    this.#endAt = Date.now() + (options.timeoutMs ?? 60_000);
  }

  get nodes(): { name: string; pid: number }[] {
    return this.#nodes.map(({ name, process: child }) => ({ name, pid: child?.pid ?? 0 }));
  }

  async start(): Promise<void> {
    const { dir, progress = () => {} } = this.#options;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    progress('keys');
    const network = await this.#prepare();
    writeFileSync(this.networkFile, `${network.join('\n')}\n`, { mode: 0o600 });
    for (const node of this.#nodes) this.#spawn(node);
    if (this.#options.detached === true)
      noteRunning(
        dir,
        this.nodes.map(({ pid }) => pid),
      );
    progress('descriptors');
    await this.#vote();
    progress('consensus');
    await this.#consensus();
    progress('relays');
    await this.#relaysReady();
    // Who ends it later knows its folder only.
    if (this.#options.detached === true) this.#removeSockets();
  }

  #removeSockets(): void {
    for (const { dir, sockets } of this.#nodes) if (sockets !== dir) rmSync(sockets, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#nodes.map(async ({ process: child }) => {
        if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
        await gone;
        clearTimeout(timer);
      }),
    );
    this.#removeSockets();
    forgetRunning(this.#options.dir);
  }

  /** Keys, ports and torrc files of all nodes; gives the lines that every member of the network needs. */
  async #prepare(): Promise<string[]> {
    const { dir } = this.#options;
    const ports = await freePorts(NODES + 1);
    const [orPort = 0, dirPort = 0, ...rest] = ports;
    const placed = (name: string) => {
      const own = join(dir, name);
      return { name, dir: own, sockets: socketDirFor(own, process.env) };
    };
    const authority: Node = { ...placed('auth'), orPort, dirPort };
    const relays = rest.map((port, i): Node => ({ ...placed(`relay${i}`), orPort: port }));
    this.#nodes = [authority, ...relays];
    for (const node of this.#nodes)
      for (const made of [join(node.dir, 'keys'), node.sockets]) mkdirSync(made, { recursive: true, mode: 0o700 });
    const v3 = await this.#authorityKeys(authority);
    const fingerprint = await rsaIdentity(authority.dir);
    const network = [
      'TestingTorNetwork 1',
      `DirAuthority auth orport=${orPort} no-v2 v3ident=${v3} 127.0.0.1:${dirPort} ${fingerprint}`,
      'OutboundBindAddress 127.0.0.1',
      'PathsNeededToBuildCircuits 0.67',
      'Schedulers Vanilla',
      'ClientUseIPv6 0',
    ];
    for (const node of this.#nodes) writeFileSync(join(node.dir, 'torrc'), this.#torrc(node, network), { mode: 0o600 });
    return network;
  }

  async #authorityKeys(authority: Node): Promise<string> {
    const cache = join(this.#options.cacheDir, 'tor-authority');
    const certificate = join(cache, 'authority_certificate');
    if (!existsSync(certificate)) await generateAuthority(cache);
    for (const file of AUTHORITY_FILES) copyFileSync(join(cache, file), join(authority.dir, 'keys', file));
    return /^fingerprint (\w{40})/m.exec(readFileSync(certificate, 'latin1'))?.[1] ?? '';
  }

  #torrc(node: Node, network: readonly string[]): string {
    const authority =
      node.dirPort === undefined
        ? []
        : [
            `DirPort 127.0.0.1:${node.dirPort}`,
            'AuthoritativeDirectory 1',
            'V3AuthoritativeDirectory 1',
            'TestingDirAuthVoteGuard *',
            'TestingDirAuthVoteHSDir *',
            'TestingMinExitFlagThreshold 0',
            'V3AuthVotingInterval 1800',
            'V3AuthVoteDelay 2',
            'V3AuthDistDelay 2',
            'V3AuthNIntervalsValid 48',
            'TestingV3AuthInitialVoteDelay 2',
            'TestingV3AuthInitialDistDelay 2',
            'TestingV3AuthInitialVotingInterval 1800',
          ];
    return [
      ...network,
      `Nickname ${node.name}`,
      `DataDirectory ${torQuoted(node.dir)}`,
      `ControlPort unix:${node.sockets}/control`,
      'CookieAuthentication 1',
      'AvoidDiskWrites 1',
      'NumCPUs 1',
      'ShutdownWaitLength 0',
      'SocksPort 0',
      'Address 127.0.0.1',
      `ORPort 127.0.0.1:${node.orPort}`,
      'AssumeReachable 1',
      'ExitRelay 0',
      'ExitPolicy reject *:*',
      'ContactInfo nobody',
      'ServerDNSDetectHijacking 0',
      'ServerDNSTestAddresses',
      'ServerDNSAllowBrokenConfig 1',
      // Weights of zero make every relay equally likely; measured ones would leave clients with one last hop.
      'TestingMinTimeToReportBandwidth 1 day',
      ...(this.#options.detached === true ? [] : [`__OwningControllerProcess ${process.pid}`]),
      ...authority,
      '',
    ].join('\n');
  }

  #spawn(node: Node): void {
    const log = openSync(join(node.dir, 'tor.log'), 'a', 0o600);
    const args = ['--defaults-torrc', '/dev/null', '-f', join(node.dir, 'torrc'), '--hush'];
    const detached = this.#options.detached === true;
    const child = spawn(this.#options.binary ?? 'tor', args, { stdio: ['ignore', log, log], detached });
    closeSync(log);
    child.on('error', () => {});
    if (detached) child.unref();
    node.process = child;
    const { reviveMs } = this.#options;
    if (reviveMs !== undefined)
      child.once('exit', () => setTimeout(() => this.#stopping || this.#spawn(node), reviveMs));
  }

  /** Waits for all descriptors, then lets the authority vote within two seconds instead of half an hour. */
  async #vote(): Promise<void> {
    const [authority] = this.#nodes;
    if (authority === undefined) throw new Error('no authority');
    const control = await this.#control(authority);
    await this.#until(
      'relay descriptors',
      async () => (await control.info('desc/all-recent').catch(() => '')).match(/^router /gm)?.length === NODES,
    );
    const start = Math.ceil((Date.now() + 250) / 1000) + 2;
    await control.command(`SETCONF TestingV3AuthInitialVotingInterval=5 TestingV3AuthVotingStartOffset=${start % 5}`);
    control.close();
  }

  async #consensus(): Promise<void> {
    const file = join(this.#options.dir, 'auth', 'cached-microdesc-consensus');
    const running = () => (existsSync(file) ? (readFileSync(file, 'latin1').match(/^s .*Running/gm)?.length ?? 0) : 0);
    await this.#until('consensus', async () => running() >= NODES);
    // Relays that asked too early wait for long before they ask again; a reload makes them ask at once.
    for (const node of this.#nodes.slice(1)) node.process?.kill('SIGHUP');
  }

  async #relaysReady(): Promise<void> {
    for (const node of this.#nodes.slice(1)) {
      const control = await this.#control(node);
      await this.#until(
        `${node.name} to hold all relays`,
        async () => (await control.info('md/all').catch(() => '')).match(/^onion-key/gm)?.length === NODES,
      );
      control.close();
    }
  }

  async #control(node: Node): Promise<TorControl> {
    for (;;) {
      try {
        return await TorControl.open(join(node.sockets, 'control'), { clock: systemClock, random: systemRandom });
      } catch (error) {
        if (Date.now() > this.#endAt) throw error;
        this.#options.signal?.throwIfAborted();
        await sleep(STEP_MS);
      }
    }
  }

  async #until(what: string, done: () => Promise<boolean>): Promise<void> {
    while (!(await done())) {
      this.#options.signal?.throwIfAborted();
      if (Date.now() > this.#endAt) throw new Error(`the private Tor network did not get to: ${what}`);
      await sleep(STEP_MS);
    }
  }
}

const generateAuthority = async (cache: string): Promise<void> => {
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const args = [
    '--create-identity-key',
    '-m',
    '12',
    '--passphrase-fd',
    '0',
    '-i',
    AUTHORITY_FILES[0],
    '-s',
    AUTHORITY_FILES[1],
    '-c',
    AUTHORITY_FILES[2],
  ];
  const child = spawn('tor-gencert', args, { cwd: cache, stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.end('loopback only\n');
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`tor-gencert failed: ${said.trim()}`);
};

// Tor's RSA identity: PKCS#1 PEM; its fingerprint is SHA-1 of the DER public key.
const rsaIdentity = async (dir: string): Promise<string> => {
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 1024,
    publicExponent: 65537,
    publicKeyEncoding: { type: 'pkcs1', format: 'der' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  writeFileSync(join(dir, 'keys', 'secret_id_key'), privateKey, { mode: 0o600 });
  return createHash('sha1').update(publicKey).digest('hex').toUpperCase();
};

/** TCP ports of loopback that nobody uses now. */
export const freePorts = async (count: number): Promise<number[]> => {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
