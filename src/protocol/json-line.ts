// JSON for whoever reads it, a terminal too.

// What JSON.stringify leaves as it is and a terminal must not get: DEL, C1, bidi controls, and all that is drawn as nothing.
const UNSEEN = /[\u007f-\u009f\u2028\u2029\ufff9-\ufffb\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/gu;

/** An object as one line that a terminal may get. */
export const jsonLine = (value: object): string => `${JSON.stringify(value).replace(UNSEEN, escaped)}\n`;

const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');
