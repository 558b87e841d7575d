// Accounts for measuring: contacts that are accepted already, and a history of any length.

import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AccountPaths, accountPaths, placesOf } from '../../client/paths.ts';
import { createAccount } from '../../core/account.ts';
import { addressOf } from '../../crypto/address.ts';
import { deriveSecrets, localKeys } from '../../crypto/identity.ts';
import { createAccountDir } from '../../daemon/account-dir.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { ID_BYTES } from '../../protocol/ids.ts';
import { DAY_MS } from '../../protocol/limits.ts';
import type { Database } from '../../sqlite/open.ts';
import { patchContact, putContact } from '../../store/contacts.ts';
import { patchConversation, putConversation } from '../../store/conversations.ts';
import { putMessage } from '../../store/messages.ts';
import { SCHEMA_VERSION } from '../../store/migrations.ts';
import { seededRandom } from '../../testing/random.ts';
import type { Bench } from './figure.ts';

/** Messages of the large fixture, and how they lie: one conversation has most, one has ten. */
export const FIXTURE_MESSAGES = 1_000_000;
export const BIG_SHARE = 0.4;
const CONTACTS = 20;
const BATCH = 20_000;
const WORDS = 20_000;

/** Writes config.toml of a data folder: no network at all. */
export const makeOffline = (dir: string): void => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, 'config.toml'), '[tor]\noffline = true\n', { mode: 0o600 });
};

/**
 * A data folder whose account `name` has `contacts` accepted contacts called `c1` …, `fill` in its database, and a key file.
 */
export const makeAccount = async (
  dir: string,
  name: string,
  options: {
    readonly contacts: number;
    readonly fill?: (db: Database, conversations: readonly number[]) => void;
  },
): Promise<AccountPaths> => {
  const paths = accountPaths(placesOf(dir, process.env), name, process.env);
  await createAccountDir(paths, {
    passphrase: undefined,
    random: systemRandom,
    fill: (db) => {
      createAccount(db, { root: systemRandom.bytes(16), nickname: name, random: systemRandom, clock: systemClock });
      const rows = db.transaction(() => Array.from({ length: options.contacts }, (_, i) => putFriend(db, `c${i + 1}`)));
      options.fill?.(db, rows);
    },
  });
  return paths;
};

// A contact nobody answers for: real keys, accepted, without a session.
const putFriend = (db: Database, name: string): number => {
  const { publicKeys } = localKeys(deriveSecrets(systemRandom.bytes(16)), systemRandom.bytes(ID_BYTES));
  const createdAt = systemClock.now();
  const contactId = putContact(db, {
    uid: systemRandom.bytes(ID_BYTES),
    address: addressOf(publicKeys.identityKey),
    name,
    nickname: name,
    state: 'accepted',
    requestNote: '',
    createdAt,
  });
  patchContact(db, contactId, { linkKey: publicKeys.linkKey, signalKey: publicKeys.signalKey });
  return putConversation(db, { uid: systemRandom.bytes(ID_BYTES), contactId, createdAt });
};

/**
 * The data folder of the large fixture, account `alice`; built once and kept. Contact `c1` has 40 % of the messages,
 * `c2` ten; `common` is in every second message, `uncommon` in one of 100, `rare` in one of 10,000.
 */
export const largeFixture = async (bench: Bench, messages: number): Promise<string> => {
  const dir = join(bench.cacheDir, `bench-${SCHEMA_VERSION}-${messages}`);
  makeOffline(dir);
  const paths = accountPaths(placesOf(dir, process.env), 'alice', process.env);
  if (existsSync(paths.vault)) return dir;
  rmSync(dir, { recursive: true, force: true });
  const building = `${dir}.building`;
  rmSync(building, { recursive: true, force: true });
  makeOffline(building);
  bench.say(`building a history of ${messages.toLocaleString('en-GB')} messages, once`);
  await makeAccount(building, 'alice', {
    contacts: CONTACTS,
    fill: (db, conversations) => fillHistory(bench, db, conversations, messages),
  });
  renameSync(building, dir);
  return dir;
};

const fillHistory = (bench: Bench, db: Database, conversations: readonly number[], messages: number): void => {
  const random = seededRandom(7);
  const startAt = systemClock.now() - 365 * DAY_MS;
  for (let done = 0; done < messages; done += BATCH) {
    db.transaction(() => {
      for (let i = done; i < Math.min(messages, done + BATCH); i++) {
        const at = startAt + Math.floor((i * 364 * DAY_MS) / messages);
        const mine = random.fraction() < 0.5 ? 1 : 0;
        putMessage(db, {
          conversationId: conversationOf(conversations, i, messages, random.fraction()),
          messageId: new Uint8Array(random.bytes(ID_BYTES)),
          mine,
          body: bodyOf(i, random.fraction),
          state: mine === 1 ? 'delivered' : 'received',
          sentAt: at,
          receivedAt: mine === 1 ? null : at,
          unread: 0,
          replyTo: null,
          expiresMs: null,
          expiresFrom: 'delivery',
          expiresAt: null,
          fileId: null,
        });
      }
    });
    bench.say(`${Math.round((100 * Math.min(messages, done + BATCH)) / messages)} %`);
  }
  db.transaction(() => {
    for (const id of conversations) patchConversation(db, id, { lastAt: systemClock.now() - DAY_MS });
  });
};

const conversationOf = (conversations: readonly number[], i: number, messages: number, chance: number): number => {
  const [big = 0, small = 0, ...others] = conversations;
  if (i % Math.floor(messages / 10) === 5) return small;
  if (chance < BIG_SHARE) return big;
  return others[Math.floor(((chance - BIG_SHARE) / (1 - BIG_SHARE)) * others.length)] ?? big;
};

/**
 * Text number `i` of a fixture, about 100 characters; words are as unevenly frequent as in a language. `common` is in every
 * second one, `uncommon` in one of 100, `rare` in one of 10,000.
 */
export const bodyOf = (i: number, fraction: () => number): string => {
  const words = Array.from({ length: 14 }, () => `w${Math.floor(WORDS * fraction() ** 3).toString(36)}x`);
  if (fraction() < 0.5) words.push('common');
  if (i % 100 === 17) words.push('uncommon');
  if (i % 10_000 === 4_321 || i % Math.floor(FIXTURE_MESSAGES / 10) === 5) words.push('rare');
  return words.join(' ');
};
