// JSON for whoever reads it, a terminal too.

/** An object as one line that a terminal may get. */
export const jsonLine = (value: object): string => {
  // What JSON.stringify leaves as it is and a terminal must not get: DEL, C1, bidi controls, and all that is drawn as nothing. Made
  // here: who prints no JSON does not wait for it.
  const unseen = /[\u007f-\u009f\u2028\u2029\ufff9-\ufffb\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/gu;
  return `${JSON.stringify(value).replace(unseen, escaped)}\n`;
};

const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');
