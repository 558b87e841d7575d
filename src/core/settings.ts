// Reads and writes settings: the conversation's value, else the account's, else the default.
import { SottoError } from '../protocol/errors.ts';
import { inWords, problemText } from '../protocol/issues.ts';
import type { SettingRow } from '../protocol/rpc-objects.ts';
import { isSettingKey, SETTINGS, type SettingKey, type SettingValue } from '../protocol/settings.ts';
import type { Database } from '../sqlite/open.ts';
import { getNearestSetting, getSetting, putSetting, removeSetting } from '../store/events.ts';
import type { Changes } from './core.ts';

/** The value in force; `scope` is a conversation's uid in hex, or absent for the account. */
export const settingOf = <Key extends SettingKey>(db: Database, key: Key, scope = ''): SettingValue<Key> =>
  (parse(getNearestSetting(db, scope, key)) ?? SETTINGS[key].default) as SettingValue<Key>;

/** What a setting takes, in words: as it is said to whoever gives it something else. */
export const valuesOf = (key: SettingKey): string =>
  SETTINGS[key].schema.safeParse(undefined).error?.issues[0]?.message ?? '';

/** One setting as `config` shows it. Throws `config.unknown`. */
export const showSetting = (db: Database, key: string, scope = ''): SettingRow => {
  const known = knownKey(key);
  const narrow = scope === '' ? undefined : read(db, known, scope);
  const wide = read(db, known, '');
  const { doc, restart, scopes, default: standard } = SETTINGS[known];
  return {
    key: known,
    value: (narrow ?? wide ?? standard) as SettingRow['value'],
    default: standard,
    values: valuesOf(known),
    source: narrow !== undefined ? 'conversation' : wide !== undefined ? 'account' : 'default',
    scopes: [...scopes],
    restart,
    doc,
  };
};

/** Every setting, in the order of the table. */
export const listSettings = (db: Database, scope = ''): SettingRow[] =>
  Object.keys(SETTINGS).map((key) => showSetting(db, key, scope));

/** Sets a value. Throws `config.unknown`, or `params.invalid` when the value or the scope does not fit. */
export const setSetting = (db: Database, changes: Changes, key: string, value: unknown, scope = ''): SettingRow => {
  const known = knownKey(key);
  checkScope(known, scope);
  const parsed = SETTINGS[known].schema.safeParse(value, { error: inWords });
  if (!parsed.success)
    throw new SottoError('params.invalid', {
      message: problemText({ place: known, problem: parsed.error.issues[0]?.message ?? 'not valid' }),
    });
  putSetting(db, scope, known, JSON.stringify(parsed.data));
  changes.event({ kind: 'config.changed', subject: known, detail: scope });
  return showSetting(db, known, scope);
};

/**
 * Back to the wider scope, or the default; without a time in which messages end, what it counts from says nothing. Throws
 * `config.unknown`, or `params.invalid` for a scope that the setting does not have.
 */
export const unsetSetting = (db: Database, changes: Changes, key: string, scope = ''): SettingRow => {
  const known = knownKey(key);
  checkScope(known, scope);
  for (const one of known === 'messages.expiresMs' ? [known, 'messages.expiresFrom' as const] : [known]) {
    if (getSetting(db, scope, one) === undefined) continue;
    removeSetting(db, scope, one);
    changes.event({ kind: 'config.changed', subject: one, detail: scope });
  }
  return showSetting(db, known, scope);
};

const read = (db: Database, key: SettingKey, scope: string): unknown => parse(getSetting(db, scope, key));

const parse = (stored: string | undefined): unknown => (stored === undefined ? undefined : JSON.parse(stored));

const checkScope = (key: SettingKey, scope: string): void => {
  const scopes: readonly string[] = SETTINGS[key].scopes;
  if (scopes.includes(scope === '' ? 'account' : 'conversation')) return;
  const how = scope === '' ? ' (--in CONVERSATION)' : '';
  throw new SottoError('params.invalid', { message: `${key} is set for ${scopes.join(' or ')} only${how}` });
};

const knownKey = (key: string): SettingKey => {
  if (!isSettingKey(key))
    throw new SottoError('config.unknown', { message: `There is no setting ${JSON.stringify(key)}` });
  return key;
};
