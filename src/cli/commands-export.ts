// The command that writes the history in clear.
import { resolve } from 'node:path';
import { writeWhole } from '../client/new-file.ts';
import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError } from '../protocol/errors.ts';
import { jsonLine } from '../protocol/json-line.ts';
import type { Result } from '../protocol/rpc.ts';
import type { Conversation, Message } from '../protocol/rpc-objects.ts';
import { type SafeText, safeFileName, safeLine, safeName, safeText } from '../protocol/safe-text.ts';
import { conversationArg } from './arguments.ts';
import type { Command, CommandContext } from './command.ts';
import { behind, unlessEnded } from './paging.ts';
import { usage } from './parse.ts';
import { bodyOf, messageFlags, shortId, sizeText, timeText } from './show.ts';

const PAGE = 500;
// How many are written before whoever reads has taken them.
const ENTRIES_AHEAD = 50;
// Before the first message of anybody: a time, and not an id.
const BEGINNING = '000000000000';

const FORMAT_WORDS = ['jsonl', 'markdown'] as const;

const exportHistory = (): Command => ({
  path: 'export',
  doc: 'write the history in clear, as JSON lines or Markdown, to stdout or into a file; oldest first. What is known to be missing stands in Markdown behind the conversation, and is said on stderr beside JSON lines',
  args: [{ ...conversationArg, required: false }],
  flags: {
    format: { doc: 'jsonl or markdown', value: 'FORMAT', words: FORMAT_WORDS },
    output: { doc: 'a file, which is there once all of it is written; - is stdout, as without', value: 'PATH' },
    overwrite: { doc: 'replace what is there' },
  },
  run: async (context) => {
    const { out, flags } = context;
    const format = flags.choice('format', FORMAT_WORDS) ?? 'jsonl';
    const path = flags.text('output') ?? '-';
    if (path === '-' && flags.has('overwrite'))
      throw usage('--overwrite goes with --output and a file', exportHistory());
    const history = new History(await context.connect(), context.args[0]);
    const textOf = (entry: Entry): string => {
      // Every line is a message.
      if (format === 'jsonl' && 'missing' in entry) out.missing(`${entry.conversation.name}: ${entry.missing}`);
      return FORMATS[format](entry);
    };
    if (path !== '-') return intoFile(context, textOf, history, resolve(path));
    let entries = 0;
    for await (const entry of history.entries()) {
      const text = textOf(entry);
      if (format === 'markdown') out.raw(text);
      else if ('message' in entry) out.line(entry.message);
      if (++entries % ENTRIES_AHEAD === 0) await out.taken();
    }
  },
});

/** Commands of this file, in the order of the help. */
export const exportCommands = (): readonly Command[] => [exportHistory()];

const intoFile = async (
  { out, flags }: CommandContext,
  textOf: (entry: Entry) => string,
  history: History,
  file: string,
): Promise<void> => {
  let messages = 0;
  const pieces = async function* () {
    for await (const entry of history.entries()) {
      if ('message' in entry) messages++;
      if (messages % PAGE === 0) out.progress(`${messages} messages`);
      yield textOf(entry);
    }
  };
  const sizeBytes = await writeWhole(file, pieces(), { overwrite: flags.has('overwrite') });
  out.item({ file, sizeBytes, messages }, () => `${file}: ${messages} messages, ${sizeText(sizeBytes)}`);
};

type Entry =
  | { readonly conversation: Conversation }
  | { readonly message: Message; readonly file: string }
  | { readonly missing: string; readonly conversation: Conversation };

/** Everything that was said, conversation by conversation, as the daemon tells it. */
class History {
  readonly #client: RpcClient;
  readonly #only: string | undefined;

  constructor(client: RpcClient, only: string | undefined) {
    this.#client = client;
    this.#only = only;
  }

  async *entries(): AsyncGenerator<Entry> {
    const client = this.#client;
    const conversations =
      this.#only === undefined
        ? await client.call('conversation.list', { archived: true })
        : [await client.call('conversation.show', { conversation: this.#only })];
    for (const conversation of conversations) {
      yield { conversation };
      for (const missing of yield* this.#messages(conversation.id)) yield { missing, conversation };
    }
  }

  // Gives what is missing when all that is there was told.
  async *#messages(conversation: string): AsyncGenerator<Entry, readonly string[]> {
    for (let page = await this.#page(conversation, { after: BEGINNING }); ; ) {
      for (const message of page.messages) {
        const entry = await this.#whole(message);
        if (entry !== undefined) yield entry;
      }
      if (!page.more) return page.missing ?? [];
      page = await this.#behind(conversation, page.messages);
    }
  }

  async #behind(conversation: string, messages: readonly Message[]): Promise<Page> {
    const page = await behind(messages, 'on', (bound) => this.#page(conversation, bound));
    if (page !== undefined) return page;
    const { code, message } = new SottoError('message.unknown');
    throw new SottoError(code, { message: `${message}: all of a page ended while it was written; export again` });
  }

  #page(conversation: string, bound: object): Promise<Page> {
    return this.#client.call('message.list', { conversation, limit: PAGE, ...bound });
  }

  // A page has neither the earlier texts nor what a file is; undefined when it has ended.
  async #whole(message: Message): Promise<Entry | undefined> {
    const client = this.#client;
    const whole =
      message.editedAt === undefined ? message : await unlessEnded(client.call('message.show', { id: message.id }));
    if (whole === undefined || message.file === undefined) return whole && { message: whole, file: '' };
    const file = await unlessEnded(client.call('file.show', { id: message.file }));
    return file && { message: whole, file: `${safeFileName(file.name)}, ${sizeText(file.sizeBytes)}, ${file.state}` };
  }
}

type Page = Result<'message.list'>;

const FORMATS = {
  jsonl: (entry: Entry) => ('message' in entry ? jsonLine(entry.message) : ''),
  markdown: (entry: Entry) => {
    if ('message' in entry) return markdown(entry.message, entry.file);
    if ('missing' in entry) return `*Missing: ${escaped(safeLine(entry.missing))}*\n\n`;
    return `# ${escaped(safeName(entry.conversation.name))}\n\n`;
  },
};

const markdown = (message: Message, file: string): string => {
  const marks = [
    ...(message.replyTo === undefined ? [] : [`reply to ${shortId(message.replyTo)}`]),
    ...messageFlags(message),
  ];
  const head = `**${escaped(safeName(message.from))}** ${timeText(message.sentAt)} ${shortId(message.id)}`;
  const said = escaped(safeText(file === '' ? bodyOf(message) : `File: ${file}`));
  return [
    marks.length === 0 ? head : `${head} (${marks.join(', ')})`,
    quote(message.deletedAt === undefined ? said : '*deleted*'),
    ...(message.versions ?? []).flatMap((one) => [
      `Before, ${timeText(one.editedAt)}:`,
      quote(escaped(safeText(one.body))),
    ]),
    ...(message.reactions.length === 0 ? [] : [`Reactions: ${message.reactions.map(reaction).join(', ')}`]),
    '',
  ].join('\n\n');
};

const reaction = ({ emoji, from }: Message['reactions'][number]): string =>
  `${escaped(safeLine(emoji))} ${escaped(safeName(from))}`;

// What others wrote is text and never Markdown: a picture in it would tell its server who reads it.
const escaped = (text: SafeText): string =>
  text
    .replace(/[\\`*_[\]<&~|]/g, '\\$&')
    .replace(/^( *)([#>+=-])/gm, '$1\\$2')
    .replace(/^( *\d+)([.)])/gm, '$1\\$2');

const quote = (text: string): string => text.replace(/^/gm, '> ').replaceAll('\n', '  \n');
