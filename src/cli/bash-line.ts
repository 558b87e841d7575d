// A command line as bash hands it to a completion: not yet taken apart, and cut where readline puts in what fits.

/** The words so far without the program's own, the last of which is being typed, and how one that fits is put in. */
export type BashLine = {
  readonly words: readonly string[];
  /** What is put in for a word that begins with the last one; undefined for one that cannot stand in its quotes. */
  readonly finish: (word: string) => string | undefined;
};

// Readline breaks words at these too, and completes them with what follows (rl_special_prefixes).
const KEPT = '@$';

/** Takes a line apart, as far as the cursor. Readline completes behind an open quote, or the last of `breaks` (COMP_WORDBREAKS). */
export const bashLine = (line: string, breaks: string): BashLine => {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  let cut = 0;
  const take = (text: string): void => {
    word = (word ?? '') + text;
  };
  const chars = line[Symbol.iterator]();
  for (const char of chars) {
    if (char === '\\' && quote !== "'") {
      const next = chars.next().value ?? '';
      take(quote === '' || '"\\$`'.includes(next) ? next : char + next);
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else take(char);
    } else if (char === '"' || char === "'") {
      quote = char;
      take('');
      cut = word?.length ?? 0;
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      [word, cut] = [undefined, 0];
    } else {
      if (breaks.includes(char)) cut = (word?.length ?? 0) + (KEPT.includes(char) ? 0 : 1);
      take(char);
    }
  }
  words.push(word ?? '');
  return { words: words.slice(1), finish: (fit) => quoted(fit.slice(cut), quote) };
};

const quoted = (text: string, quote: string): string | undefined => {
  if (quote === "'") return text.includes("'") ? undefined : text;
  if (quote === '"') return text.replace(/["\\$`]/g, '\\$&');
  return text.replace(/[^\p{L}\p{N}_./@%+=:,-]/gu, '\\$&');
};
