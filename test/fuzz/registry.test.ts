import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/protocol/errors.ts';
import { TARGETS } from './all.ts';

// What looks like a parser of bytes from outside and is none, or is played by a target through what calls it.
const ELSEWHERE: Readonly<Record<string, string>> = {
  'src/cli/terminal.ts': 'bytes of a descriptor up to a limit, taken as UTF-8 or refused: text.notUtf8 in test/e2e',
  'src/cli/terminal.ts readSecret': 'the first line, whatever it is',
  'src/cli/terminal.ts readStdin': 'UTF-8 or text.notUtf8',
  'src/cli/commands-daemon.ts': 'shows the log as it is',
  'src/cli/commands-program.ts': 'JSON of the command line that goes to the daemon, where `lines of JSON-RPC` plays it',
  'src/cli/picture.ts readQr': 'decodeQr of the file, up to a limit',
  'src/cli/run.ts': 'arguments that are UTF-8, or text.notUtf8 in test/cli',
  'src/client/paths.ts': 'two lines of our own daemon, which are these to the byte or are not heard',
  'src/client/launch.ts': 'the last line of our own daemon; what is no error object is shown as text',
  'src/core/channel-json.ts': 'a row of ours: what `replay` made of events that were verified',
  'src/core/room-history.ts openChannel':
    'asks a server for pages, whose events `answers of a server` and `signed events` play',
  'src/core/room-outbox.ts': 'a row of our own outbox',
  'src/core/room-refused.ts': 'a row of our own outbox',
  'src/core/member-methods.ts openConversation': 'a name, as `names and ids of things` plays',
  'src/core/room-open.ts openRoomEvent': 'openControl and openContent, as `signed events` plays',
  'src/core/room-open.ts openContent': 'openEvent, as `signed events` plays',
  'src/core/room-open.ts openControl': 'openEvent, as `signed events` plays',
  'src/core/room-share.ts readPart': 'rows of our own store',
  'src/core/room-objects.ts': 'names in a row of our own store',
  'src/core/outbox.ts': 'what was put there by `enqueue`; a damaged row is in test/attacks/frames.test.ts',
  'src/core/sessions.ts': 'the first bytes of an id',
  'src/core/sessions.ts loadSession': 'reads the encrypted store only',
  'src/daemon/account-dir.ts': 'hands the files to `vault files` and `database files`',
  'src/daemon/account-dir.ts openAccountVault': 'openVault of the file',
  'src/daemon/account-dir.ts openAccountDatabase': 'openDatabase and migrate of the file',
  'src/cli/compiled.ts': 'a bundle of our own',
  'src/cli/compiled.ts loadCompiled': 'a bundle of our own',
  'src/daemon/check.ts': 'what the daemon tells a process of its own',
  'src/daemon/checker.ts': 'what that process answers',
  'src/machine.ts': 'makes random numbers',
  'src/core/server-client.ts': 'hands frames to `answers of a server` and `binary messages of rooms`',
  'src/server/admin.ts': 'a line of JSON by who runs the server: one of its requests, or request.invalid',
  'src/server/admin-client.ts': 'what our own server answers',
  'src/server/serve-flags.ts': 'words of a command line: usage.invalid in test/rooms/serve.test.ts',
  'src/server/second.ts': 'four bytes of a hash',
  'src/server/server-dir.ts openSearchDatabase': 'a file that is made anew when it is damaged: test/rooms/jobs.test.ts',
  'src/server/serve-config.ts readTls': 'reads two files; what they are is looked at by TLS itself',
  'src/server/backup.ts': 'copies files; what opens them is played by `files of a server`',
  'src/net/tor-process.ts': 'words of events, whose lines `replies of the control port` plays',
  'src/machine.ts openFilesMax': 'what the kernel says of this process',
};

const sources = (readdirSync('src', { recursive: true }) as string[])
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !/^(testing|lab)\//.test(name))
  .map((name) => join('src', name));
const textOf = new Map(sources.map((name) => [name, readFileSync(name, 'utf8')]));

const EXPORTED = /^export (?:async )?(?:const|function\*?|class) (\w+)/gm;
const NAMED = /^(?:parse|decode|read|open|load|safe)[A-Z]|(?:Parser|Opener)$/;
const RAW =
  /JSON\.parse\(|new TextDecoder\(|\.safeParse\(|parseArgs\(|\.readU?Int|from 'smol-toml'|\.exec\(\w*[Tt]ext|readFileSync\(/;

const exportsOf = (file: string): string[] =>
  [...(textOf.get(file) ?? '').matchAll(EXPORTED)].map((match) => match[1] ?? '');
const played = new Set(TARGETS.flatMap((target) => target.parsers));
const playedFiles = new Set([...played].map((parser) => parser.split(' ')[0] ?? ''));
const isKnown = (name: string) => played.has(name) || Object.hasOwn(ELSEWHERE, name);

describe('every parser has a fuzz target', () => {
  test('by its name', () => {
    const parsers = sources.flatMap((file) =>
      exportsOf(file)
        .filter((name) => NAMED.test(name))
        .map((name) => `${file} ${name}`),
    );
    expect(parsers.length).toBeGreaterThan(20);
    expect(parsers.filter((name) => !isKnown(name))).toEqual([]);
  });

  test('by what its file does with bytes', () => {
    const files = sources.filter((file) => RAW.test(textOf.get(file) ?? ''));
    expect(files.filter((file) => !playedFiles.has(file) && !Object.hasOwn(ELSEWHERE, file))).toEqual([]);
  });

  test('and every target plays one that is there', () => {
    const missing = [...played].filter((parser) => {
      const [file = '', name = ''] = parser.split(' ');
      return !exportsOf(file).includes(name.split('.')[0] ?? '');
    });
    expect(missing).toEqual([]);
    const stale = Object.keys(ELSEWHERE).filter((name) => {
      const [file = '', exported] = name.split(' ');
      return exported === undefined ? !textOf.has(file) : !exportsOf(file).includes(exported);
    });
    expect(stale).toEqual([]);
    expect(new Set(TARGETS.map((target) => target.name)).size).toBe(TARGETS.length);
  });
});

// Codes that a file with a parser gives for other reasons than its input.
const NOT_PARSED: Readonly<Record<string, readonly ErrorCode[]>> = {
  'src/cli/picture.ts': ['file.unknown'],
  'src/client/rpc-client.ts': ['rpc.tooLarge', 'wait.timeout'],
  'src/core/names.ts': ['nickname.invalid', 'params.invalid', 'contact.blocked'],
  'src/daemon/socket.ts': ['daemon.busy', 'rate.limited'],
  'src/net/server-dial.ts': [
    'server.timeout',
    'server.unreachable',
    'server.invalid',
    'server.certificateChanged',
    'server.certificateRefused',
    'tor.offline',
  ],
  'src/crypto/channel-key.ts': ['passphrase.empty'],
  'src/crypto/room-event.ts': ['frame.tooLarge'],
  'src/crypto/vault.ts': ['passphrase.empty'],
  'src/protocol/padding.ts': ['frame.tooLarge'],
  'src/sqlite/open.ts': ['disk.full', 'disk.failed', 'account.locked'],
  'src/daemon/backup.ts': ['file.exists', 'disk.failed', 'account.locked'],
  'src/server/server-dir.ts': ['server.exists'],
};

test('every code that the file of a parser throws is one that a target must see', () => {
  const wrong: string[] = [];
  for (const file of playedFiles) {
    const targets = TARGETS.filter((target) => target.parsers.some((parser) => parser.startsWith(`${file} `)));
    const seen = new Set<string>(targets.flatMap((target) => [...target.codes, ...(target.others ?? [])]));
    for (const [, code = ''] of (textOf.get(file) ?? '').matchAll(/new (?:Sotto|Protocol)Error\('([\w.]+)'/g))
      if (!seen.has(code) && NOT_PARSED[file]?.includes(code as ErrorCode) !== true) wrong.push(`${file}: ${code}`);
  }
  expect(wrong).toEqual([]);
});
