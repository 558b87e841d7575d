// Why nothing goes to a contact, in the words that people read.

const WORDS: Readonly<Record<string, string>> = {
  notContact: 'they do not have you as a contact',
  keyChanged: 'they showed another key',
  tooManyResets: 'the session was reset too often today',
};

/** The reason in words; one that a newer version gave, as it is. */
export const pausedText = (paused: string): string => WORDS[paused] ?? paused;
