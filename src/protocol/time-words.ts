// Durations and times as people type them.
import { SottoError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of `90s`, `15m`, `1h`, `7d`, `2w`, `500ms`, `0`. Throws `time.invalid`. */
export const parseDuration = (text: string): number => {
  const words = text.trim();
  if (words === '0') return 0;
  const match = /^(\d{1,9})(ms|[smhdw])$/.exec(words);
  const ms = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? 0);
  if (!Number.isSafeInteger(ms))
    throw new SottoError('time.invalid', {
      message: `${JSON.stringify(text)} is no duration: write 90s, 15m, 1h, 7d or 2w`,
    });
  return ms;
};

/** Milliseconds, at least one, as `parseDuration` reads them: in the largest unit that is exact. */
export const durationText = (ms: number): string => {
  const [unit, size] = Object.entries(UNITS).findLast(([, one]) => ms % one === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
};

/**
 * Milliseconds since the epoch of `10m ago`, `HH:MM` (today), `yesterday 14:00`, `today`, `tomorrow`, or ISO 8601; local time
 * unless the text has an offset. Throws `time.invalid`.
 */
export const parseTime = (text: string, now: number): number => {
  const words = text.trim().toLowerCase();
  if (words === 'now') return now;
  const ago = /^(\S+)\s+ago$/.exec(words);
  if (ago !== null) return notBeforeEpoch(text, now - parseDuration(ago[1] ?? ''));
  const day = /^(?:(yesterday|today|tomorrow)\s*)?(?:(\d{1,2}):(\d{2}))?$/.exec(words);
  if (day !== null && words !== '') return onDay(text, now, day);
  const iso = /^\d{4}-\d{2}-\d{2}([t ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(z|[+-]\d{2}:?\d{2})?)?$/.test(words);
  const at = iso
    ? Date.parse(words.length === 10 ? `${words}T00:00` : words.replace(' ', 'T').toUpperCase())
    : Number.NaN;
  // A day that its month does not have would be one of the next.
  const [year = 0, month = 0, date = 0] = words.slice(0, 10).split('-').map(Number);
  if (iso && date > new Date(year, month, 0).getDate()) throw invalid(text);
  return notBeforeEpoch(text, at);
};

const notBeforeEpoch = (text: string, at: number): number => {
  if (Number.isNaN(at) || at < 0) throw invalid(text);
  return at;
};

const onDay = (text: string, now: number, [, name, hours, minutes]: RegExpExecArray): number => {
  const [hour, minute] = [Number(hours ?? 0), Number(minutes ?? 0)];
  if (hour > 23 || minute > 59) throw invalid(text);
  const date = new Date(now);
  const days = name === 'yesterday' ? -1 : name === 'tomorrow' ? 1 : 0;
  // In one step: an hour that today does not have, as clocks go forward, is there on the other day.
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days, hour, minute).getTime();
};

const invalid = (text: string) =>
  new SottoError('time.invalid', {
    message: `${JSON.stringify(text)} is no time: write 14:05, yesterday 14:00, 10m ago, or 2026-01-31T14:05`,
  });
