import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database as Driver } from '@signalapp/sqlcipher';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SottoError } from '../protocol/errors.ts';
import { WAL_ROOM_BYTES } from '../protocol/limits.ts';
import { makeLogRoom } from '../sqlite/log-room.ts';
import { type Database, openDatabase } from '../sqlite/open.ts';
import { checkDatabase } from './check.ts';
import { getContactByAddress, getContactByName, patchContact, putContact, removeContact } from './contacts.ts';
import { addUnread, countUnread, getConversationOfContact, putConversation } from './conversations.ts';
import { dumpRows, indexMessages, loadRow } from './dump.ts';
import { listEvents, putEvent } from './events.ts';
import { listMembersByName } from './members.ts';
import { firstRowAt, listMessagesBack, listMessagesBefore, listMessagesBetween, placeOf } from './message-pages.ts';
import {
  deleteMessage,
  editMessage,
  getMessage,
  listVersions,
  patchMessage,
  putMessage,
  removeMessage,
  replaceText,
  takeBackEdit,
} from './messages.ts';
import { migrate } from './migrations.ts';
import { forgetCiphertexts, listOutbox, putCiphertext, putOutbox, replaceBody } from './outbox.ts';
import { dropPending, listPending, type PendingOf, putPending } from './room-events.ts';
import { searchMessages } from './search.ts';
import { closeRequest, getOpenRequest, getRequest, putFrameId, putRequest } from './sessions.ts';

let dir: string;
let db: Database;
let contactId: number;
let conversationId: number;
const bytes = (fill: number) => new Uint8Array(16).fill(fill);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-store-'));
  db = openDatabase(join(dir, 'db'), new Uint8Array(32).fill(7));
  migrate(db);
  contactId = putContact(db, {
    uid: bytes(1),
    address: 'bob.onion',
    name: 'bob',
    nickname: 'Bob',
    state: 'accepted',
    requestNote: '',
    createdAt: 1,
  });
  conversationId = putConversation(db, { uid: bytes(2), contactId, createdAt: 1 });
});

afterEach(() => {
  db[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

const say = (fill: number, body: string, at = fill, more: { seq?: number; thread?: Uint8Array<ArrayBuffer> } = {}) =>
  putMessage(db, {
    ...more,
    conversationId,
    messageId: bytes(fill),
    mine: 0,
    body,
    state: 'received',
    sentAt: at,
    receivedAt: at,
    unread: 1,
    replyTo: null,
    expiresMs: null,
    expiresFrom: 'delivery',
    expiresAt: null,
    fileId: null,
  });

const hits = (word: string) => db.all('SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?', word).length;

describe('erasure, seen without a key', () => {
  const wordsInFiles = (path: string, word: string) =>
    [path, `${path}-wal`].some((file) => existsSync(file) && readFileSync(file).includes(word));

  /** The driver as it may be built: it erases only where it is told to. */
  const eraseNothing = () => {
    const { exec } = Driver.prototype;
    const opened = new WeakSet<Driver>();
    return vi.spyOn(Driver.prototype, 'exec').mockImplementation(function (this: Driver, sql) {
      if (!opened.has(this)) exec.call(this, 'PRAGMA secure_delete = OFF');
      opened.add(this);
      exec.call(this, sql);
    });
  };

  /** The words that are still in database, index or WAL after their messages were deleted, edited or have expired. */
  const leftAfterErasure = (name: string, weaken: (plain: Database) => void): string[] => {
    const path = join(dir, name);
    const keep = db;
    using _driver = eraseNothing();
    db = openDatabase(path);
    try {
      migrate(db);
      weaken(db);
      const person = { uid: bytes(1), address: 'b', name: 'b', nickname: 'b', requestNote: '', createdAt: 1 };
      contactId = putContact(db, { ...person, state: 'accepted' });
      conversationId = putConversation(db, { uid: bytes(2), contactId, createdAt: 1 });
      const words = ['quixoticdelete', 'quixoticedit', 'quixoticexpire'] as const;
      const rows = words.map((word, i) => say(10 + i, `${word} and ${'filler '.repeat(50)}`));
      for (let i = 0; i < 50; i++) say(30 + i, `other text ${i}`);
      db.truncateWal();
      expect(words.every((word) => wordsInFiles(path, word))).toBe(true);
      const [one, two, three] = rows.map((id) => getMessage(db, id));
      if (one === undefined || two === undefined || three === undefined) throw new Error('three rows');
      db.transaction(() => {
        deleteMessage(db, one, 99);
        editMessage(db, two, 'changed', { number: 1, at: 99 });
        db.run('DELETE FROM message_versions WHERE message_row = ?', two.id);
        removeMessage(db, three.id);
      });
      db.truncateWal();
      expect(hits('other')).toBe(50);
      return words.filter((word) => wordsInFiles(path, word));
    } finally {
      db[Symbol.dispose]();
      db = keep;
    }
  };

  test('a deleted, an edited and an expired message leave no byte in database, index or WAL', () => {
    expect(leftAfterErasure('plain', () => {})).toEqual([]);
  });

  test('without secure deletion of pages, or of the index, they do', () => {
    expect(leftAfterErasure('pages', (plain) => plain.exec('PRAGMA secure_delete = OFF'))).not.toEqual([]);
    const weakIndex = `INSERT INTO messages_fts (messages_fts, rank) VALUES ('secure-delete', 0)`;
    expect(leftAfterErasure('index', (plain) => plain.exec(weakIndex))).not.toEqual([]);
  });
});

describe('the store', () => {
  test('opens only with its key', () => {
    expect(() => openDatabase(join(dir, 'db'), new Uint8Array(32))).toThrow(SottoError);
  });

  test('a commit is flushed to the disk before it returns, and what is put aside stays in memory', () => {
    const pragma = (name: string) => Object.values(db.get<Record<string, number>>(`PRAGMA ${name}`) ?? {})[0];
    const [FULL, MEMORY] = [2, 2];
    expect([pragma('synchronous'), pragma('temp_store')]).toEqual([FULL, MEMORY]);
  });

  test('a transaction that throws leaves nothing', () => {
    expect(() =>
      db.transaction(() => {
        say(1, 'lost');
        throw new Error('crash');
      }),
    ).toThrow('crash');
    expect(listMessagesBefore(db, conversationId, 1e9, 10)).toEqual([]);
    expect(hits('lost')).toBe(0);
  });

  test('a log with room behind it holds what was committed before and after, also as a kill leaves it, and is emptied whole', () => {
    const log = () => statSync(join(dir, 'db-wal')).size;
    say(1, 'before');
    expect(log()).toBeLessThan(WAL_ROOM_BYTES);
    makeLogRoom(join(dir, 'db'));
    expect(log()).toBeGreaterThanOrEqual(WAL_ROOM_BYTES);
    say(2, 'after');
    for (const end of ['', '-wal']) cpSync(join(dir, `db${end}`), join(dir, `killed${end}`));
    {
      using killed = openDatabase(join(dir, 'killed'), new Uint8Array(32).fill(7));
      expect(listMessagesBefore(killed, conversationId, 9, 9).map(({ body }) => body)).toEqual(['before', 'after']);
      expect(killed.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    }
    expect(db.truncateWal()).toBe(true);
    expect(log()).toBe(0);
    say(3, 'last');
    expect(db.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
  });

  test('what is read from memory is what the table holds: after each kind of writing, and after one that was taken back', () => {
    const seen = () => ['bob', 'bobby', 'carol'].filter((name) => getContactByName(db, name) !== undefined);
    expect(seen()).toEqual(['bob']);
    patchContact(db, contactId, { name: 'bobby' });
    expect(seen()).toEqual(['bobby']);
    expect(() =>
      db.transaction(() => {
        patchContact(db, contactId, { name: 'carol' });
        expect(seen()).toEqual(['carol']);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(seen()).toEqual(['bobby']);
    db.exec(`UPDATE contacts SET name = 'bob'`);
    expect(seen()).toEqual(['bob']);
    const row = { uid: bytes(9), address: 'carol.onion', name: 'carol', nickname: '', requestNote: '', createdAt: 1 };
    const carol = putContact(db, { ...row, state: 'accepted' });
    expect(seen()).toEqual(['bob', 'carol']);
    removeContact(db, carol);
    expect(seen()).toEqual(['bob']);
  });

  test('nothing is read from memory once the database is closed', () => {
    const closed = openDatabase(':memory:');
    migrate(closed);
    expect(getContactByName(closed, 'bob')).toBeUndefined();
    closed[Symbol.dispose]();
    expect(() => getContactByName(closed, 'bob')).toThrow(expect.objectContaining({ code: 'account.locked' }));
  });

  test('messages keep their order, their versions, and leave the index when they go', () => {
    const [first, second] = [say(1, 'early words'), say(2, 'late words')];
    expect(listMessagesBefore(db, conversationId, 1e9, 10).map((row) => row.id)).toEqual([first, second]);
    const row = getMessage(db, first);
    if (row === undefined) throw new Error('no row');
    editMessage(db, row, 'changed', { number: 1, at: 9 });
    expect(hits('early')).toBe(0);
    expect(hits('changed')).toBe(1);
    expect(listVersions(db, first)).toEqual([{ number: 0, body: 'early words', at: 1 }]);
    const changed = getMessage(db, first);
    if (changed === undefined) throw new Error('no row');
    deleteMessage(db, changed, 10);
    expect([getMessage(db, first)?.body, hits('changed'), listVersions(db, first).length]).toEqual(['', 0, 0]);
    removeMessage(db, second);
    expect([getMessage(db, second), hits('late')]).toEqual([undefined, 0]);
  });

  test('a text that was replaced before it left, and an edit that was taken back, leave the index too', () => {
    const id = say(1, 'early words');
    const row = () => getMessage(db, id) ?? expect.fail('no row');
    replaceText(db, row(), 'replaced words');
    editMessage(db, row(), 'edited words', { number: 1, at: 9 });
    expect(['early', 'replaced', 'edited'].map(hits)).toEqual([0, 0, 1]);
    takeBackEdit(db, row(), 1);
    expect(['early', 'replaced', 'edited'].map(hits)).toEqual([0, 1, 0]);
  });

  test('search finds by word, side, conversation and rows, newest first, and the same after the index was made anew', () => {
    const rows = [say(1, 'early tide'), say(2, 'no such'), say(3, 'late tide')];
    const find = (more: Partial<Parameters<typeof searchMessages>[1]> = {}) =>
      searchMessages(db, { words: 'tide', after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10, ...more }).map(
        ({ row }) => row.id,
      );
    const all = () => [
      find(),
      find({ conversationId, side: 'them' }),
      find({ side: 'me' }),
      find({ conversationId, side: 'me' }),
      find({ conversationId: conversationId + 1 }),
      find({ before: rows[2] ?? 0 }),
      find({ after: rows[0] ?? 0 }),
      find({ limit: 1 }),
    ];
    const both = [rows[2], rows[0]];
    expect(all()).toEqual([both, both, [], [], [], [rows[0]], [rows[2]], [rows[2]]]);
    db.run(`INSERT INTO messages_fts (messages_fts) VALUES ('delete-all')`);
    const told = () => checkDatabase(db).some((line) => line.includes('full-text index'));
    expect(told()).toBe(true);
    indexMessages(db);
    expect(told()).toBe(false);
    expect(all()).toEqual([both, both, [], [], [], [rows[0]], [rows[2]], [rows[2]]]);
  });

  test('search finds what is written without spaces, with the same filters', () => {
    const [first, second] = [say(1, '今朝の潮は高い。tide_100%'), say(2, 'เมื่อวาน潮汐 low TIDE')];
    const find = (words: string, more: Partial<Parameters<typeof searchMessages>[1]> = {}) =>
      searchMessages(db, { words, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10, ...more }).map(
        ({ row }) => row.id,
      );
    expect(
      ['潮', '高い', '朝の潮*', 'วาน', '潮 low', '潮 高い', '"高い。tide_100%"'].map((words) => find(words)),
    ).toEqual([[second, first], [first], [first], [second], [second], [first], [first]]);
    expect(['汐潮', '%潮', '_の', '潮 none'].map((words) => find(words))).toEqual([[], [], [], []]);
    const filters = [{ conversationId, side: 'them' }, { side: 'me' }, { before: second }, { limit: 1 }] as const;
    expect(filters.map((more) => find('潮', more))).toEqual([[second, first], [], [first], [second]]);
    const many = Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? '潮' : 'TIDE')).join(' ');
    const others = '潮 '.repeat(40);
    expect([many, others].map((words) => find(words, { conversationId, side: 'them' }))).toEqual([
      [second, first],
      [second, first],
    ]);
    const [hit] = searchMessages(db, { words: '高い', after: 0, before: Number.MAX_SAFE_INTEGER, limit: 1 });
    expect(hit?.snippet).toContain('高い');
  });

  test('search finds words between letters of a script without spaces, and letters that are composed or not', () => {
    const find = (words: string) =>
      searchMessages(db, { words, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10 }).map(({ row }) => row.id);
    const mixed = say(1, '我用iPhone拍照，订单12345号');
    for (const words of ['iphone', 'ipho*', '12345', 'iPhone拍照', '拍照', 'iphone 订单'])
      expect(find(words)).toEqual([mixed]);
    expect(find('phone')).toEqual([]);
    for (const [n, word] of ['한글', 'мой', 'プログラム', 'café'].entries()) {
      const rows = [say(10 + n, `x ${word.normalize('NFC')}`), say(20 + n, `x ${word.normalize('NFD')} y`)];
      for (const form of ['NFC', 'NFD']) expect(find(word.normalize(form)).toReversed()).toEqual(rows);
      for (const id of rows) removeMessage(db, id);
      expect(find(word)).toEqual([]);
    }
  });

  test('a time is the first row at or after it', () => {
    const rows = [10, 20, 20, 40, 50].map((at, i) => ({ at, id: say(i + 1, 'x', at) }));
    removeMessage(db, rows[3]?.id ?? 0);
    const found = [0, 10, 11, 20, 21, 50, 51].map((at) => firstRowAt(db, at));
    const [a, b, , , e] = rows.map(({ id }) => id);
    expect(found).toEqual([a, a, b, b, e, e, (e ?? 0) + 1]);
  });

  test('a thread is its root and its answers, in pages both ways and back from a place, whatever else was said', () => {
    const root = bytes(1);
    const rows = Array.from({ length: 40 }, (_, i) => {
      const isIn = i === 0 || i % 3 === 2;
      const thread = i === 0 ? {} : isIn ? { thread: root } : i % 3 === 1 ? { thread: bytes(2) } : {};
      return { isIn, id: say(i + 1, `${i}`, i, { seq: i + 1, ...thread }) };
    });
    const asked = vi.spyOn(db, 'all');
    const of = (kept: readonly { readonly isIn: boolean; readonly id: number }[]) =>
      kept.filter(({ isIn }) => isIn).map(({ id }) => id);
    for (const [at, { id }] of rows.entries()) {
      const after = { after: id, before: Number.MAX_SAFE_INTEGER };
      const before = listMessagesBefore(db, conversationId, id, 5, root);
      const back = listMessagesBack(db, conversationId, { seq: at + 1, id }, 5, root);
      expect(before.map((row) => row.id)).toEqual(of(rows.slice(0, at)).slice(-5));
      expect(back.map((row) => row.id)).toEqual(of(rows.slice(0, at)).slice(-5).reverse());
      expect(listMessagesBetween(db, conversationId, after, 5, root).map((row) => row.id)).toEqual(
        of(rows.slice(at + 1)).slice(0, 5),
      );
    }
    const sought = new Map(asked.mock.calls.map(([sql, ...params]) => [sql, params]));
    asked.mockRestore();
    for (const [sql, params] of sought) {
      const plan = db.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, ...params).map(({ detail }) => detail);
      expect(plan.filter((step) => /^(SEARCH|SCAN)/.test(step))).toEqual([
        expect.stringMatching(/^SEARCH m USING INDEX sqlite_autoindex_messages_1 .message_id=/),
        expect.stringMatching(/^SEARCH m USING INDEX messages_thread .conversation_id=. AND thread=/),
      ]);
    }
  });

  test('a page of a conversation and what waits next are sought, and sorted by nothing', () => {
    const plan = (sql: string) =>
      db
        .all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
        .map(({ detail }) => detail)
        .join('; ');
    const plans = [
      plan('SELECT * FROM messages WHERE conversation_id = 1 AND id < 9 ORDER BY id DESC LIMIT 5'),
      plan('SELECT * FROM outbox WHERE contact_id = 1 AND id > 9 ORDER BY id LIMIT 5'),
      plan(`SELECT * FROM room_outbox WHERE server_id = 1 AND seq IS NULL AND channel_row IS 1 AND member_row IS NULL
        ORDER BY id LIMIT 1`),
    ];
    for (const [i, index] of ['messages_conversation', 'outbox_order', 'room_outbox_order'].entries())
      expect(plans[i]).toContain(index);
    expect(plans.join()).not.toContain('TEMP B-TREE');
  });

  test('who is called so is sought, however many members there are', () => {
    const asked = vi.spyOn(db, 'all');
    listMembersByName(db, 'bob');
    const [[sql = '', ...params] = []] = asked.mock.calls;
    asked.mockRestore();
    const plan = db.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, ...params).map(({ detail }) => detail);
    expect(plan).toContainEqual(expect.stringMatching(/^SEARCH members USING INDEX members_name /));
  });

  test('a contact gives its name up when it is removed, and takes one that is free', () => {
    patchContact(db, contactId, { state: 'removed' });
    expect(getContactByName(db, 'bob')).toBeUndefined();
    expect(getContactByAddress(db, 'bob.onion')?.state).toBe('removed');
    expect(getConversationOfContact(db, contactId)?.id).toBe(conversationId);
  });

  test('the outbox keeps order and bodies; a new session forgets ciphertexts only', () => {
    for (const fill of [1, 2])
      putOutbox(db, {
        contactId,
        frameId: bytes(fill),
        kind: 'text',
        body: bytes(fill),
        messageRow: null,
        createdAt: fill,
        expiresAt: 99,
      });
    const [first] = listOutbox(db, contactId, 0, 10);
    if (first === undefined) throw new Error('no row');
    putCiphertext(db, first.id, { sessionId: bytes(9), type: 2, ciphertext: bytes(8) });
    replaceBody(db, first.id, bytes(5));
    expect(listOutbox(db, contactId, 0, 10)[0]?.body[0]).toBe(1);
    forgetCiphertexts(db, contactId);
    replaceBody(db, first.id, bytes(5));
    expect(listOutbox(db, contactId, 0, 10).map((row) => [row.body[0], row.ciphertext])).toEqual([
      [5, null],
      [2, null],
    ]);
  });

  test('of what waits for a key the first of a member go beyond a number, and what is tried is of one epoch behind a place', () => {
    db.run('PRAGMA foreign_keys = OFF');
    const of = { eventId: bytes(1), at: 1, role: 'member', body: bytes(1) };
    for (let seq = 1; seq <= 6; seq++)
      putPending(db, 1, { ...of, seq, memberRow: 1 + (seq % 2), keyEpoch: seq < 4 ? 1 : 2 });
    expect(dropPending(db, 1, 1, 3)).toEqual([]);
    expect(dropPending(db, 1, 1, 2)).toMatchObject([{ seq: 2 }]);
    const seqs = (...given: [PendingOf, number, number]) => listPending(db, 1, ...given).map(({ seq }) => seq);
    expect(seqs({}, 0, 9)).toEqual([1, 3, 4, 5, 6]);
    expect(seqs({ memberRow: 2, keyEpoch: 1 }, 1, 9)).toEqual([3]);
    expect(seqs({ keyEpoch: 2 }, 4, 1)).toEqual([5]);
  });

  test('a frame id counts once, a closed request loses its bundle, unread never falls below zero', () => {
    expect([putFrameId(db, contactId, bytes(1), 1), putFrameId(db, contactId, bytes(1), 2)]).toEqual([true, false]);
    putRequest(db, { contactId, requestId: bytes(3), mine: 1, bundle: bytes(4), createdAt: 1 });
    const open = getOpenRequest(db, contactId, 'mine');
    closeRequest(db, open?.id ?? 0, 'accepted');
    expect(getOpenRequest(db, contactId, 'mine')).toBeUndefined();
    expect(getRequest(db, contactId, bytes(3))?.bundle).toHaveLength(0);
    addUnread(db, conversationId, 2);
    addUnread(db, conversationId, -5);
    expect(countUnread(db)).toBe(0);
    putEvent(db, { at: 1, kind: 'message.received', contactId });
    expect(listEvents(db, 0, 10)).toHaveLength(1);
  });
});

test('in the order of its log, a channel is read in pages that neither miss nor repeat a row', () => {
  // 4 and 5 opened late; two logs had a seq 6; the last waits for its place.
  const seqs = [1, 2, 3, 6, 6, 7, 4, 5, 8];
  const ids = seqs.map((seq, i) => {
    const id = say(10 + i, `text ${i}`);
    patchMessage(db, id, { seq });
    return id;
  });
  say(50, 'waits');
  const pages = (limit: number): number[] => {
    const read: number[] = [];
    for (let before = { seq: 8, id: 0 }; ; ) {
      const page = listMessagesBack(db, conversationId, before, limit);
      read.push(...page.map(({ seq }) => seq ?? 0));
      const end = page.at(-1);
      if (end === undefined) return read;
      before = placeOf(db, conversationId, end.id);
    }
  };
  for (const limit of [1, 2, 3, 100]) expect(pages(limit)).toEqual([7, 6, 6, 5, 4, 3, 2, 1]);
  expect(placeOf(db, conversationId, (ids.at(-1) ?? 0) + 1)).toEqual({ seq: 9, id: 0 });
  expect(placeOf(db, conversationId, (ids[0] ?? 0) - 1)).toEqual({ seq: 0, id: 0 });
});

test('the lines of a backup are all rows of its tables, page by page, and make the same rows again', () => {
  const ROWS = 1_200;
  const many = (sql: string) =>
    db.run(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS}) ${sql}`);
  many(`INSERT INTO messages (conversation_id, message_id, mine, body, state, sent_at)
    SELECT ${conversationId}, randomblob(16), 0, 'text ' || i, 'received', i FROM n`);
  many(`INSERT INTO frame_ids (contact_id, frame_id, at) SELECT ${contactId}, randomblob(16), i FROM n`);
  many(`INSERT INTO tombstones (contact_id, message_id, at) SELECT ${contactId}, randomblob(16), i FROM n`);
  many(`INSERT INTO reactions (message_row, mine, emoji, at) SELECT i / 3 + 1, i % 2, 'x' || i, i FROM n`);
  many(`INSERT INTO settings (scope, key, value) SELECT i / 9, 'key ' || i, 'x' FROM n`);
  using again = openDatabase(':memory:');
  migrate(again);
  again.exec('PRAGMA foreign_keys = OFF');
  for (const lines of dumpRows(db)) for (const line of lines.trimEnd().split('\n')) loadRow(again, line);
  for (const table of ['contacts', 'messages', 'frame_ids', 'tombstones', 'reactions', 'settings']) {
    const rows = (from: Database) => from.all(`SELECT * FROM ${table} ORDER BY 1, 2, 3`);
    expect(rows(again).length, table).toBe(table === 'contacts' ? 1 : ROWS);
    expect(rows(again)).toEqual(rows(db));
  }
});
