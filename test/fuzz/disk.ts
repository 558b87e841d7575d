// Targets for files that may be damaged or made by others: vault, database, backup, config.toml, pictures, and what hooks print.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { crc32, deflateSync } from 'node:zlib';
import jpeg from 'jpeg-js';
import encodeQR from 'qr';
import { decodeQr } from '../../src/cli/picture.ts';
import { BackupOpener, BackupSealer, type BackupSecret } from '../../src/crypto/backup.ts';
import { isKeyFile, makeVault, openVault } from '../../src/crypto/vault.ts';
import { loadBackup } from '../../src/daemon/backup.ts';
import { runChild } from '../../src/daemon/child.ts';
import { readConfig } from '../../src/daemon/config.ts';
import { isEqual } from '../../src/protocol/bytes.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { dumpRows, loadRow } from '../../src/store/dump.ts';
import { migrate } from '../../src/store/migrations.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { KEY } from '../../src/testing/people.ts';
import { type Dice, mutateBytes, mutateJson, mutateText } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';
import { scratch } from './tor.ts';
import { smallStore } from './typed.ts';

const vaults = Promise.all([makeVault(KEY), makeVault(KEY, 'correct')]);
const COST_AT = Buffer.from('sotto vault').length + 2;

// The least that a vault may ask for: a fuzzer has no 64 MiB for each case.
const cheap = (vault: Uint8Array): Uint8Array => {
  const out = Buffer.from(vault);
  out.writeUInt32BE(16 * 1024, COST_AT);
  out.writeUInt8(1, COST_AT + 4);
  out.writeUInt8(1, COST_AT + 5);
  return out;
};

const vault: Target = {
  name: 'vault files',
  parsers: ['src/crypto/vault.ts openVault', 'src/crypto/vault.ts isKeyFile'],
  codes: ['vault.damaged', 'passphrase.needed', 'passphrase.wrong'],
  play: async (dice) => {
    const [bare, sealed] = await vaults;
    const given = dice.chance(0.7) ? bare : cheap(sealed);
    const changed = dice.chance(0.7) ? mutateBytes(dice, given) : given;
    // What it costs stays low, or is out of all bounds.
    if (given !== bare && changed.length > COST_AT + 6)
      changed.set(dice.chance(0.9) ? given.subarray(COST_AT, COST_AT + 6) : [255, 0, 0, 0, 3, 1], COST_AT);
    const key = await openVault(changed, isKeyFile(changed) || dice.chance(0.3) ? undefined : 'wrong');
    holds(key.length === 32, 'a key is 32 bytes');
  },
};

const databasePath = scratch('database');
{
  using db = openDatabase(databasePath, KEY);
  migrate(db);
}
const DATABASE = readFileSync(databasePath);

const databases: Target = {
  name: 'database files',
  parsers: ['src/sqlite/open.ts openDatabase', 'src/store/migrations.ts migrate', 'src/store/check.ts checkDatabase'],
  codes: ['database.damaged', 'database.newer'],
  play: (dice) => {
    for (const end of ['', '-wal', '-shm']) rmSync(databasePath + end, { force: true });
    const changed = Buffer.from(DATABASE);
    const at = dice.int(dice.chance(0.5) ? 4096 : changed.length);
    if (dice.chance(0.7)) changed.writeUInt8((changed[at] ?? 0) ^ (1 + dice.int(255)), at);
    writeFileSync(databasePath, dice.chance(0.2) ? mutateBytes(dice, DATABASE) : changed);
    using db = openDatabase(databasePath, dice.chance(0.1) ? dice.bytes(32) : KEY);
    if (dice.chance(0.1)) db.exec('UPDATE schema_meta SET version = 1000');
    migrate(db);
    if (checkDatabase(db).length > 0) throw new SottoError('database.damaged');
  },
};

const SECRET: BackupSecret = { kind: 'account', key: KEY };
const LINES = [...dumpRows(smallStore())].join('').trimEnd().split('\n');
const PASSPHRASE: BackupSecret = { kind: 'passphrase', passphrase: 'correct' };

const rowsIn = (db: Database): number =>
  db
    .all<{ name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
    .reduce((sum, { name }) => sum + (db.get<{ n: number }>(`SELECT count(*) AS n FROM "${name}"`)?.n ?? 0), 0);

const mutateLine = (dice: Dice, line: string): string => mutateJson(dice, JSON.parse(line));

const dump: Target = {
  name: 'rows of a backup',
  parsers: ['src/store/dump.ts loadRow'],
  codes: ['backup.damaged'],
  play: (dice) => {
    const line = dice.pick(LINES);
    const db = emptyStore;
    db.exec('BEGIN');
    try {
      db.exec('PRAGMA defer_foreign_keys = ON');
      const named = dice.chance(0.05) ? line.replace(/"\w+"/, JSON.stringify(dice.pick(['toString', 'events']))) : line;
      loadRow(db, dice.chance(0.8) ? mutateLine(dice, line) : named);
    } finally {
      db.exec('ROLLBACK');
    }
  },
};

const emptyStore = (() => {
  const db = openDatabase(':memory:');
  migrate(db);
  return db;
})();

/** A backup's bytes around any lines. */
const sealed = async (secret: BackupSecret, text: string): Promise<Uint8Array> => {
  const sealer = await BackupSealer.create(secret);
  return Buffer.concat([sealer.header, ...sealer.write(Buffer.from(text)), sealer.end()]);
};

const backupPath = scratch('backup');
const passphraseBackup = sealed(PASSPHRASE, 'x');

const backups: Target = {
  name: 'backup files',
  parsers: ['src/daemon/backup.ts loadBackup', 'src/daemon/backup.ts checkBackup', 'src/crypto/backup.ts BackupOpener'],
  codes: ['backup.damaged', 'backup.version', 'passphrase.needed', 'passphrase.wrong', 'file.unknown'],
  play: async (dice) => {
    const head = JSON.stringify({ sotto: 1, at: 1_800_000_000_000 });
    const lines = [dice.chance(0.2) ? mutateLine(dice, head) : head, ...LINES];
    const at = 1 + dice.int(LINES.length);
    if (dice.chance(0.2)) lines[at] = mutateLine(dice, lines[at] ?? '');
    if (dice.chance(0.1)) lines.splice(at, 1);
    if (dice.chance(0.1)) lines[at] = dice.pick(['["servers"]', '["servers",null]', '["account"]']);
    const filler = dice.chance(0.2) ? `${' '.repeat(70_000)}` : '';
    const whole = await sealed(SECRET, `${lines.join('\n')}${filler}${dice.chance(0.95) ? '\n' : ''}`);
    const bytes = dice.chance(0.05) ? await passphraseBackup : whole;
    writeFileSync(backupPath, dice.chance(0.4) ? mutateBytes(dice, bytes) : bytes);
    using db = openDatabase(':memory:');
    migrate(db);
    const before = rowsIn(db);
    const ports = { random: { bytes: (n: number) => dice.bytes(n), fraction: () => 0.5 }, clock: new ManualClock() };
    try {
      await loadBackup(db, dice.chance(0.02) ? `${backupPath}.none` : backupPath, SECRET, ports);
    } catch (error) {
      holds(rowsIn(db) === before, 'a backup that is refused leaves nothing');
      throw error;
    }
    holds(rowsIn(db) > before, 'a backup that is taken is there');
  },
};

const headers: Target = {
  name: 'headers of a backup',
  parsers: ['src/crypto/backup.ts BackupOpener'],
  codes: ['backup.damaged', 'backup.version', 'passphrase.needed', 'passphrase.wrong'],
  play: async (dice) => {
    const text = dice.text(20);
    const sealer = await BackupSealer.create(SECRET);
    const [header, chunk] = [sealer.header, sealer.write(Buffer.from(text))[0] ?? sealer.end()];
    const given = dice.chance(0.6) ? mutateBytes(dice, header) : header;
    if (dice.chance(0.2) && given.length > 12) given[12] = 1;
    const opener = await BackupOpener.create(given, SECRET);
    const plaintext = opener.read(dice.chance(0.3) ? mutateBytes(dice, chunk) : chunk, true);
    holds(isEqual(plaintext, Buffer.from(text)), 'what was sealed comes back');
    if (dice.chance(0.5)) return;
    try {
      opener.read(chunk, true);
    } catch (error) {
      holds(error instanceof SottoError && error.code === 'backup.damaged', 'a later chunk is damaged, not locked');
      throw error;
    }
  },
};

const configPath = scratch('config.toml');
const CONFIG = `# sotto
[tor]
binary = "/usr/bin/tor"
bridges = ["obfs4 192.0.2.1:443 0123 cert=abc iat-mode=0", "192.0.2.2:9001"]
transports = ['obfs4 exec /usr/bin/lyrebird']
offline = false

[log]
level = "info"
`;

const config: Target = {
  name: 'config.toml',
  parsers: ['src/daemon/config.ts readConfig'],
  codes: ['config.invalid'],
  play: (dice) => {
    const text = dice.chance(0.3) ? CONFIG : mutateText(dice, CONFIG);
    const nested = dice.chance(0.01) ? `x = ${'['.repeat(50_000)}` : '';
    const given = dice.chance(0.1) ? mutateBytes(dice, Buffer.from(CONFIG)) : Buffer.from(text + nested);
    writeFileSync(configPath, given);
    const { tor, log } = readConfig(configPath);
    holds(tor.bridges.length <= 50 && tor.binary !== '', 'every value is within its limits');
    holds(['debug', 'info', 'warn', 'error'].includes(log.level), 'a level is one of four');
    holds(!isEqual(Buffer.from(CONFIG), given) || tor.bridges.length === 2, 'what is written is read');
  },
};

const outputPath = scratch('output');
const OUTPUT_BYTES = 1000;

const hookOutput: Target = {
  name: 'output of hooks',
  parsers: ['src/daemon/child.ts runChild'],
  codes: [],
  play: async (dice) => {
    const bytes = dice.chance(0.5) ? dice.bytes(dice.int(3000)) : Buffer.from('é'.repeat(dice.int(1500)));
    writeFileSync(outputPath, bytes);
    const program = dice.chance(0.9) ? '/bin/cat' : dice.pick(['/none', '', '/bin/\0cat']);
    const options = { input: dice.text(20), ms: 1000, outputBytes: OUTPUT_BYTES, clock: new ManualClock(), cwd: '/' };
    const { ok, output } = await runChild(program, [outputPath], options);
    holds(ok === (program === '/bin/cat'), 'it is known whether it ran');
    holds(Buffer.byteLength(output) <= 3 * OUTPUT_BYTES, 'output has an end');
    if (ok)
      holds(
        Buffer.from(bytes)
          .toString('utf8')
          .startsWith(output.replace(/\ufffd+$/, '')),
        'output is what it printed',
      );
  },
};

const QR_TEXT = 'sotto:t2uh7vyb45dqmn5f4dfbtg6kzxwzsdafz4nfkwyxamdpbmnm4me4wsqd.onion?name=bob';
const MODULES = encodeQR(QR_TEXT, 'raw');

const isWhite = (x: number, y: number): boolean => MODULES[Math.floor(y)]?.[Math.floor(x)] === false;

const chunk = (name: string, data: Uint8Array): Buffer => {
  const body = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
};

// Grey of one bit, whose checksums are right whatever its chunks hold.
const pngWith = (dice: Dice, faults: boolean): Buffer => {
  const size = MODULES.length * PNG_SCALE;
  const rowBytes = Math.ceil(size / 8);
  const rows = Buffer.alloc(size * (rowBytes + 1));
  for (let at = 0; at < size * size; at++) {
    const [x, y] = [at % size, Math.floor(at / size)];
    const place = y * (rowBytes + 1) + 1 + (x >> 3);
    if (isWhite(x / PNG_SCALE, y / PNG_SCALE)) rows[place] = (rows[place] ?? 0) | (0x80 >> (x & 7));
  }
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
  head.writeUInt32BE(size, 0);
  head.writeUInt32BE(size, 4);
  const parts: [string, Uint8Array][] = [
    ['IHDR', head],
    ['IDAT', deflateSync(rows)],
    ['IEND', Buffer.alloc(0)],
  ];
  if (faults) {
    const at = dice.int(3);
    const [name, data] = parts[at] ?? ['', head];
    const changed: [string, Uint8Array] =
      name === 'IDAT' && dice.chance(0.7)
        ? [name, deflateSync(mutateBytes(dice, rows))]
        : [name, mutateBytes(dice, data)];
    parts.splice(at, dice.int(2), changed, ...((dice.chance(0.2) ? [['PLTE', dice.bytes(6)] as const] : []) as []));
  }
  const start = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([start, ...parts.map(([name, data]) => chunk(name, data))]);
};

const PNG_SCALE = 3;
const JPEG = (() => {
  const size = MODULES.length * 4;
  const data = Buffer.alloc(size * size * 4, 255);
  for (let at = 0; at < size * size; at++)
    if (!isWhite((at % size) / 4, Math.floor(at / size) / 4)) data.fill(0, at * 4, at * 4 + 3);
  return jpeg.encode({ width: size, height: size, data }, 60).data;
})();

const pictures: Target = {
  name: 'pictures with a QR code',
  parsers: ['src/cli/picture.ts decodeQr'],
  codes: ['qr.invalid'],
  play: async (dice) => {
    const bytes = dice.chance(0.5) ? JPEG : pngWith(dice, dice.chance(0.7));
    const text = await decodeQr(Buffer.from(dice.chance(0.5) ? mutateBytes(dice, bytes) : bytes));
    holds(text === QR_TEXT, `what is found is what was drawn: ${text}`);
  },
};

/** Everything that is read from files and from programs of the user's. */
export const DISK_TARGETS: readonly Target[] = [vault, databases, dump, backups, headers, config, hookOutput, pictures];
