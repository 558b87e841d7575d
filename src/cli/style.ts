// How a part of a line looks on a terminal: marks around it, which become colours where there are any and nothing elsewhere.

// Noncharacters: the sanitiser leaves them in nobody's text.
const FIRST = 0xfdd0;
const END = '\ufddf';
const SGR = { dim: 2, bold: 1, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
const STYLES = Object.keys(SGR) as (keyof typeof SGR)[];
const END_SGR = '\u001b[0m';

const marker = (style: keyof typeof SGR): ((text: string) => string) => {
  const begin = String.fromCodePoint(FIRST + STYLES.indexOf(style));
  return (text) => (text === '' ? '' : `${begin}${text}${END}`);
};

/** What is there to be looked up: times, ids, states as they should be. */
export const dim = marker('dim');
/** Who or what a line is about. */
export const bold = marker('bold');
/** What one has said oneself. */
export const own = marker('cyan');
/** What has gone wrong. */
export const bad = marker('red');
/** What is as it should be. */
export const good = marker('green');
/** What must not be missed. */
export const alert = marker('yellow');

/** Whether a character is such a mark: it takes no room. */
const isMark = (char: string): boolean => /^[\ufdd0-\ufddf]$/.test(char);

/** A text without its marks. */
export const unmarked = (text: string): string => text.replace(/[\ufdd0-\ufddf]/g, '');

/** A text with its marks as colours, or without them; what is between them as `clean` gives it. */
export const painted = (text: string, colour: boolean, clean: (part: string) => string): string => {
  const parts = text.split(/([\ufdd0-\ufddf])/);
  if (parts.length === 1) return clean(text);
  return parts.map((part) => (!isMark(part) ? clean(part) : colour ? sgr(part) : '')).join('');
};

const sgr = (mark: string): string => {
  const style = STYLES[mark.charCodeAt(0) - FIRST];
  return style === undefined ? END_SGR : `\u001b[${SGR[style]}m`;
};
