// Parts of objects that front ends see: fields that are there only when they say something.

/** A time or a number, when there is one. */
export const when = <Key extends string>(key: Key, value: number | null | undefined) =>
  value == null ? {} : { [key]: value };

/** A text, when it is not empty. */
export const said = <Key extends string>(key: Key, value: string) => (value === '' ? {} : { [key]: value });

/** A safety number in groups of five digits. */
export const inGroups = (digits: string): string => digits.replace(/(\d{5})(?=\d)/g, '$1 ');
