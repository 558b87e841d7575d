import { expect, test } from 'vitest';
import { SottoError } from './errors.ts';
import { parseDuration, parseTime } from './time-words.ts';

const NOW = new Date(2026, 5, 15, 12, 30).getTime();

test('durations', () => {
  expect(['90s', '15m', '1h', '7d', '2w', '250ms'].map(parseDuration)).toEqual([
    90_000, 900_000, 3_600_000, 604_800_000, 1_209_600_000, 250,
  ]);
  for (const bad of ['', '1', 'm', '-1m', '1.5h', '1y', '9999999999s'])
    expect(() => parseDuration(bad)).toThrow(SottoError);
});

test('times', () => {
  expect(parseTime('10m ago', NOW)).toBe(NOW - 600_000);
  expect(parseTime('14:05', NOW)).toBe(new Date(2026, 5, 15, 14, 5).getTime());
  expect(parseTime('yesterday 14:00', NOW)).toBe(new Date(2026, 5, 14, 14).getTime());
  expect(parseTime('tomorrow', NOW)).toBe(new Date(2026, 5, 16).getTime());
  expect(parseTime('2026-01-31', NOW)).toBe(new Date(2026, 0, 31).getTime());
  expect(parseTime('2026-01-31T14:05Z', NOW)).toBe(Date.UTC(2026, 0, 31, 14, 5));
  for (const bad of ['', '25:00', 'soon', '10 ago', '2026-13-01', '2026-02-30T10:00', '31.1.2026'])
    expect(() => parseTime(bad, NOW)).toThrow(SottoError);
});

test('times on the day when clocks go forward', () => {
  const zone = process.env.TZ;
  process.env.TZ = 'Europe/Berlin';
  try {
    expect(parseTime('yesterday 02:30', Date.UTC(2026, 2, 29, 10))).toBe(Date.UTC(2026, 2, 28, 1, 30));
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});
