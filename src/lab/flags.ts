// The flags of a program of its own: told by --help, and refused when they are not known.
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';

/** What each flag means, and the name of its value when it takes one. */
export type LabFlags = Readonly<Record<string, readonly [doc: string, value?: string]>>;

export type Words<Flags extends LabFlags> = {
  /** A value that was given, true for a switch. */
  readonly values: { readonly [Flag in keyof Flags]?: string };
  readonly names: readonly string[];
};

/** Reads a command line; gives the exit code instead when all is said: 0 after `--help`, 2 after a mistake. */
export const readWords = <Flags extends LabFlags>(
  argv: readonly string[],
  { usage, doc, flags }: { readonly usage: string; readonly doc: string; readonly flags: Flags },
): Words<Flags> | number => {
  const options: ParseArgsOptionsConfig = { help: { type: 'boolean', short: 'h' } };
  for (const [name, [, value]] of Object.entries(flags))
    options[name] = { type: value === undefined ? 'boolean' : 'string' };
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: usage.includes('[NAME') });
    if (values.help !== true) return { values: textsOf(values) as Words<Flags>['values'], names: positionals };
    process.stdout.write(helpText(usage, doc, flags));
    return 0;
  } catch (error) {
    const [why] = (error instanceof Error ? error.message : '').split('. ');
    process.stderr.write(`sotto: ${why}. Usage: ${usage}\n`);
    return 2;
  }
};

const textsOf = (values: object): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));

const helpText = (usage: string, doc: string, flags: LabFlags): string => {
  const lines = Object.entries(flags).map(([name, [said, value]]) => {
    const flag = `--${name}${value === undefined ? '' : ` ${value}`}`;
    return `  ${flag.padEnd(14)} ${said}`;
  });
  return [usage, '', doc, '', ...lines, ''].join('\n');
};
