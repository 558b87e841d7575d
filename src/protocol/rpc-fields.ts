// The smallest parts of parameters and results of the local wire.
import * as z from 'zod';
import { wellFormed } from './fields.ts';
import { NAME_CHARS_MAX, NOTE_CHARS_MAX, PATH_CHARS_MAX, REACTION_CHARS_MAX } from './limits.ts';

export const time = z.number().int().min(0);
export const bytes = z.number().int().min(0);
export const milliseconds = z.number().int().min(0);
export const reference = z.string().min(1).max(4096);
// Two ways to write a letter are one name.
export const label = z.string().normalize('NFC').min(1).max(NAME_CHARS_MAX).refine(wellFormed);
// What a person is called: `checkName` says what is wrong with it.
export const personName = z.string().normalize('NFC').refine(wellFormed);
export const note = z.string().max(NOTE_CHARS_MAX).refine(wellFormed);
/** A text of one line; it may be empty. */
export const line = (charsMax: number) =>
  z
    .string()
    .max(charsMax)
    .refine(wellFormed)
    .regex(/^[^\r\n]*$/, 'is one line');
export const emoji = z.string().min(1).max(REACTION_CHARS_MAX).refine(wellFormed);
// With a selector or without: keyboards leave it out. The expression is made when it is first asked: that takes 20 ms.
export const oneEmoji = emoji.refine(
  (text) => /^(?:\p{RGI_Emoji}|\p{Extended_Pictographic}\ufe0f?)$/v.test(text),
  'is not one emoji',
);
export const path = z.string().max(PATH_CHARS_MAX);
export const passphrase = z.string().max(4096);
export const none = z.object({});
