// Commands about files.
import { existsSync, fstatSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError, textOf } from '../protocol/errors.ts';
import { PAGE_DEFAULT, PAGE_MAX } from '../protocol/limits.ts';
import type { Result } from '../protocol/rpc.ts';
import type { FileObject } from '../protocol/rpc-objects.ts';
import { safeFileName } from '../protocol/safe-text.ts';
import { barText } from './bar.ts';
import type { Command, CommandContext } from './command.ts';
import { each, mustBeFree, optional, orGoesOn, waitGiven } from './give.ts';
import { usage } from './parse.ts';
import { fileStateText, fileText, shortId, sizeText } from './show.ts';

const WRITE_BYTES = 512 * 1024;
const STDIN_NAME = 'stdin';
const WAITING = 'waiting for the other side';
const FETCHED_BY_THEM = 'They have to fetch it, with sotto file save.';
const fileArg = {
  name: 'id',
  doc: 'a file id, or at least 6 of its first digits',
  required: true,
  complete: 'file',
} as const;
const SEND_WAITS = ['offered', 'done'] as const;
const SAVE_WAITS = ['active', 'done'] as const;
const WAIT_FLAG = {
  wait: {
    doc: 'done: until the other side has it all; in a channel and with a member, until their server has it',
    value: 'STATE',
    words: SEND_WAITS,
  },
} as const;

const timeout = (context: CommandContext) => {
  const ms = context.flags.duration('timeout');
  return ms === undefined ? {} : { timeoutMs: ms };
};

/** Draws a bar while a file comes, by its id or the beginning of it. */
const follow = async (context: CommandContext, client: RpcClient, id: string): Promise<void> => {
  if (context.out.json) return;
  client.onEvent = (event) => {
    if (
      'file' in event &&
      event.file !== undefined &&
      'state' in event.file &&
      event.file.id.startsWith(id.toLowerCase())
    )
      context.out.progress(barText(event.file, process.stderr.columns));
  };
  await client.call('event.listen', { kinds: ['file.progressed'] });
};

const finish = (context: CommandContext, { file, reached, useless }: Result<'file.save'>): void => {
  context.out.item(file, fileText);
  if (!reached) throw unfinished(file, useless);
};

type Offer = { readonly name: string; readonly wait: (typeof SEND_WAITS)[number] };

// What is waited for tells its id in an event: the answer comes at the end. Who ends the wait is shown the offer, and what ends it.
const offerWith = async (
  context: CommandContext,
  { name, wait }: Offer,
  offering: () => Promise<Result<'file.offer'>>,
): Promise<void> => {
  const { out } = context;
  let known: FileObject | undefined;
  const keep = (shown: FileObject): void => {
    known = shown;
  };
  const ear = wait === 'done' || !out.json ? await heard(context, name, keep) : undefined;
  if (wait === 'done') out.progress(WAITING);
  const tell = () => (known === undefined ? undefined : goesOn(shortId(known.id)));
  const result = await orGoesOn(context, offering(), tell)
    .catch((error: unknown) => {
      if (known !== undefined) out.item(known, fileText);
      throw error;
    })
    .finally(() => ear?.close());
  offered(context, wait, result);
};

// Over a connection of its own: one that listens ends when the account is locked, and the other one is told so.
const heard = async (context: CommandContext, name: string, keep: (file: FileObject) => void): Promise<RpcClient> => {
  const client = await context.connect();
  let id: string | undefined;
  client.onEvent = (event) => {
    if (event.kind === 'gap') return;
    const { file, message } = event;
    if (file !== undefined && 'state' in file && file.id === id) {
      keep(file);
      context.out.progress(barText(file, process.stderr.columns));
    }
    if (id !== undefined || message === undefined || !('body' in message)) return;
    if (message.file === undefined || !message.mine || message.body !== name) return;
    id = message.file;
    client.call('file.show', { id }).then(keep, () => {});
  };
  await client.call('event.listen', { kinds: ['message.queued', 'file.progressed'] });
  return client;
};

// A person is told that the other has to do something; anybody, that nothing can be offered now.
const offered = (context: CommandContext, wait: (typeof SEND_WAITS)[number], result: Result<'file.offer'>): void => {
  finish(context, result);
  if (wait !== 'offered') return;
  if (result.held !== undefined) context.out.say(result.held);
  else if (process.stderr.isTTY) context.out.say(FETCHED_BY_THEM);
};

const unfinished = (file: FileObject, useless: Result<'file.offer'>['useless']): SottoError => {
  if (useless !== undefined) return new SottoError(useless, { message: `${textOf(useless)}. The transfer stays open` });
  if (file.state === 'cancelled' || file.state === 'failed' || file.state === 'paused')
    return new SottoError('file.stopped', { message: `The transfer is ${fileStateText(file)}` });
  return new SottoError('wait.timeout', { message: 'The transfer is not done yet; it goes on' });
};

// Whatever ends this connection before the file is offered, also Ctrl-C, ends the file.
const spool = async (context: CommandContext, client: RpcClient, conversation: string): Promise<string> => {
  mustBeFree(context.flags);
  if (fstatSync(0).isDirectory()) throw new SottoError('usage.invalid', { message: 'What stdin gives is a folder' });
  const { id } = await client.call('file.open', {
    conversation,
    name: context.flags.text('name') ?? STDIN_NAME,
    ...waitGiven(context),
  });
  for await (const chunk of process.stdin) {
    const bytes = chunk as Buffer;
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      const { sizeBytes } = await client.call('file.write', {
        id,
        data: bytes.subarray(at, at + WRITE_BYTES).toString('base64'),
      });
      context.out.progress(`reading stdin: ${sizeText(sizeBytes)}`);
    }
  }
  return id;
};

const fileSave = (): Command => ({
  path: 'file save',
  doc: 'fetch a file and write it to a path, or to stdout with -: its bytes and nothing else, with --json too',
  args: [fileArg, { name: 'path', doc: 'where to, or a folder for its own name; this one when absent', path: true }],
  flags: {
    wait: {
      doc: 'active: until it is asked for; done (as without): until it is saved',
      value: 'STATE',
      words: SAVE_WAITS,
    },
    overwrite: { doc: 'replace what is there' },
  },
  methods: ['file.save', 'file.fetch', 'file.read'],
  waits: true,
  run: async (context) => {
    const [id = '', path] = context.args;
    if (path === '-' && !context.out.takesBytes)
      throw usage('- writes the file itself to stdout, which may be no terminal', fileSave());
    const wait = context.flags.choice('wait', SAVE_WAITS);
    if (path === '-' && (wait !== undefined || context.flags.has('overwrite')))
      throw usage('- writes the file itself to stdout: without --wait and --overwrite', fileSave());
    const client = await context.connect();
    await follow(context, client, id);
    context.out.progress(WAITING);
    if (path === '-') return toStdout(context, client, id);
    const file = await client.call('file.show', { id });
    const name = safeFileName(file.name);
    const target = resolve(path === undefined || isFolder(path) ? join(path ?? '', name) : path);
    const saved = client.call('file.save', {
      id,
      path: target,
      overwrite: context.flags.has('overwrite'),
      wait: wait ?? 'done',
      ...timeout(context),
    });
    finish(context, await orGoesOn(context, saved, () => goesOn(shortId(file.id))));
  },
});

const goesOn = (id: string): string => `It goes on in the background; sotto file cancel ${id} ends it.`;

const isFolder = (path: string): boolean => path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory());

const fileSend = (): Command => ({
  path: 'file send',
  doc: 'offer a file; - reads it from stdin first',
  args: [
    { name: 'to', doc: 'a contact, #channel or member@server', required: true, complete: 'conversation' },
    { name: 'path', doc: 'a file, or - for stdin; it must be given', path: true },
  ],
  flags: { ...WAIT_FLAG, name: { doc: 'the name the other side sees', value: 'NAME' } },
  methods: ['file.send', 'file.open', 'file.write', 'file.offer'],
  waits: true,
  run: async (context) => {
    const { args, flags } = context;
    const [conversation = '', path] = args;
    if (path === undefined) throw usage('path is missing (- reads stdin)', fileSend());
    const wait = flags.choice('wait', SEND_WAITS) ?? 'offered';
    const client = await context.connect();
    if (path === '-') {
      const id = await spool(context, client, conversation);
      const offer = { name: flags.text('name') ?? STDIN_NAME, wait };
      return offerWith(context, offer, () => client.call('file.offer', { id, wait, ...timeout(context) }));
    }
    const offer = { name: flags.text('name') ?? basename(path), wait };
    const params = { conversation, path: resolve(path), ...offer, ...timeout(context) };
    await offerWith(context, offer, () => client.call('file.send', params));
  },
});

/** Commands of this file, in the order of the help. */
export const fileCommands = (): readonly Command[] => [
  fileSend(),
  {
    path: 'file list',
    doc: 'files offered and received',
    args: [{ name: 'conversation', doc: 'only of this conversation', complete: 'conversation' }],
    flags: {
      limit: { doc: 'how many at most (50)', value: 'N' },
      before: { doc: 'only before this file', value: 'ID' },
    },
    methods: ['file.list'],
    run: async (context) => {
      const [conversation] = context.args;
      const limit = context.flags.number('limit', { min: 1, max: PAGE_MAX }) ?? PAGE_DEFAULT;
      const client = await context.connect();
      const page = { limit, ...optional('conversation', conversation), ...waitGiven(context) };
      const files = await client.call('file.list', { ...page, ...optional('before', context.flags.text('before')) });
      each(context, files, fileText, 'No files.');
      const [oldest] = files;
      if (oldest === undefined || files.length < limit) return;
      const older = await client.call('file.list', { ...page, limit: 1, before: oldest.id });
      if (older.length > 0) context.out.more(`--before ${oldest.id}`);
    },
  },
  {
    path: 'file show',
    doc: 'one file',
    args: [fileArg],
    methods: ['file.show'],
    run: async (context) => context.out.item(await context.call('file.show', { id: context.args[0] ?? '' }), fileText),
  },
  fileSave(),
  {
    path: 'file pause',
    doc: 'pause a transfer; file save goes on with it',
    args: [fileArg],
    methods: ['file.pause'],
    run: async (context) => context.out.item(await context.call('file.pause', { id: context.args[0] ?? '' }), fileText),
  },
  {
    path: 'file cancel',
    doc: 'end a transfer and erase what is kept of it; one that is done stays done',
    args: [fileArg],
    methods: ['file.cancel'],
    run: async (context) =>
      context.out.item(await context.call('file.cancel', { id: context.args[0] ?? '' }), fileText),
  },
];

const toStdout = async (context: CommandContext, client: RpcClient, id: string): Promise<void> => {
  const fetched = client.call('file.fetch', { id, wait: 'done', ...timeout(context) });
  const { file, reached, useless } = await orGoesOn(context, fetched, () => goesOn(id));
  if (!reached) throw unfinished(file, useless);
  for (let index = 0, last = false; !last; index++) {
    const chunk = await client.call('file.read', { id: file.id, index });
    context.out.bytes(Buffer.from(chunk.data, 'base64'));
    await context.out.taken();
    last = chunk.last;
  }
};
