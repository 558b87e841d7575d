// The only place that writes: data to stdout, talk to stderr; JSON lines or text that passed the sanitiser.
import { errorObject } from '../protocol/errors.ts';
import { jsonLine } from '../protocol/json-line.ts';
import { safeLine, safeText } from '../protocol/safe-text.ts';
import { alert, bad, painted } from './style.ts';
import { wrap } from './wrap.ts';

export type OutputOptions = {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** Whether colours are wanted where it is a terminal that is written to. */
  readonly colour: boolean;
  readonly write: (to: 'out' | 'err', text: string) => void;
  readonly writeBytes: (data: Uint8Array) => void;
  /** Resolves once stdout has taken what was written; rejects when it does not. */
  readonly taken: () => Promise<void>;
  readonly errIsTerminal: () => boolean;
  readonly outIsTerminal: boolean;
  /** Of the terminal that is stdout. */
  readonly columns: number;
  /** Makes a sentence name its commands as they have to be typed here. */
  readonly hint: Hint;
};

/** A sentence of ours with its commands as they have to be typed here. */
export type Hint = (sentence: string) => string;

/** Prints results, progress and errors of one command. */
export class Output {
  readonly json: boolean;
  readonly #options: OutputOptions;
  #progressShown = false;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.#options = options;
  }

  /** One result, or one of a list: an object in JSON, else the text. */
  item<T extends object>(value: T, text: (value: T, hint: Hint) => string): void {
    this.#write('out', this.json ? jsonLine(value) : `${this.#painted('out', text(value, this.hint))}\n`);
  }

  /** Text that is the result itself: a script, a page. */
  raw(text: string): void {
    this.#write('out', this.json ? jsonLine({ text }) : text);
  }

  /** A result that is a line of JSON for people too. */
  line(value: object): void {
    this.#write('out', jsonLine(value));
  }

  /** Whether bytes may be the result: not on a terminal, which would obey them. */
  get takesBytes(): boolean {
    return !this.#options.outIsTerminal;
  }

  /** Bytes that are the result itself: a file on stdout. */
  bytes(data: Uint8Array): void {
    this.#options.writeBytes(data);
  }

  /** Resolves once whoever reads has taken all results so far: nothing large waits for them in memory, or is told as read. */
  taken(): Promise<void> {
    return this.#options.taken();
  }

  /** A sentence for the person, on stderr; nothing in JSON or when quiet. */
  say(text: string): void {
    if (this.json || this.#options.quiet) return;
    this.#write('err', `${this.#painted('err', this.hint(text))}\n`);
  }

  /** What is tried, when that was asked for. */
  explain(text: string): void {
    if (this.#options.verbose) this.#write('err', `${safeText(text)}\n`);
  }

  /** How a cut result goes on: on stderr, whatever the mode. */
  more(flags: string): void {
    this.#write('err', `More: ${safeLine(flags)}\n`);
  }

  /** What of a result is not here: on stderr, whatever the mode. */
  missing(text: string): void {
    this.#write('err', `Missing: ${safeLine(this.hint(text))}\n`);
  }

  /** A sentence that must be seen, also when quiet. */
  warn(text: string): void {
    this.#write('err', this.json ? '' : `${this.#painted('err', `${alert('warning:')} ${this.hint(text)}`)}\n`);
  }

  /** One line that is drawn over, cut at the edge of a narrow terminal; nothing when stderr is no terminal. */
  progress(text: string): void {
    if (this.json || this.#options.quiet || !this.#options.errIsTerminal()) return;
    // Without automatic margins: a line that wrapped would not be drawn over.
    this.#options.write('err', `\r\u001b[2K\u001b[?7l${safeText(text)}\u001b[?7h`);
    this.#progressShown = true;
  }

  /** Takes the line of progress away. */
  settle(): void {
    this.#write('err', '');
  }

  /** The one error of a command. */
  error(error: unknown): void {
    const told = errorObject(error);
    const message = this.hint(told.message);
    this.#write(
      'err',
      this.json ? jsonLine({ ...told, message }) : `${this.#painted('err', `${bad('sotto:')} ${safeLine(message)}`)}\n`,
    );
  }

  /** Whether a secret that is shown once is seen by who asked: on a terminal, or by a program that wants JSON. */
  get showsSecrets(): boolean {
    return this.json || this.#options.outIsTerminal;
  }

  /** Our own sentence, its commands as they have to be typed here; never for what somebody has written. */
  readonly hint: Hint = (sentence) => this.#options.hint(sentence);

  /** Whether the results are read by a person who can be asked. */
  get isForPerson(): boolean {
    return !this.json && this.#options.outIsTerminal;
  }

  /** A long line as a terminal shows it whole, the later lines indented; elsewhere as it is. */
  filled(text: string, indent = ''): string {
    return this.isForPerson ? wrap(text, this.#options.columns, indent) : text;
  }

  #painted(to: 'out' | 'err', text: string): string {
    const isTerminal = to === 'out' ? this.#options.outIsTerminal : this.#options.errIsTerminal();
    return painted(text, this.#options.colour && isTerminal, safeText);
  }

  #write(to: 'out' | 'err', text: string): void {
    if (this.#progressShown) this.#options.write('err', '\r\u001b[2K');
    this.#progressShown = false;
    if (text !== '') this.#options.write(to, text);
  }
}
