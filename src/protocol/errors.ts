// The closed table of errors: code → exit code, RPC number, retry, text. Both ends of every wire import it.

/** When the same call may succeed: never, by waiting, or after the caller changed something. */
export type Retry = 'never' | 'later' | 'after-change';

type ErrorRow = readonly [exit: number, retry: Retry, message: string];

/**
 * Every error the program can give. Exit codes: 1 failed here · 2 usage · 3 no such thing · 4 not now ·
 * 5 timed out · 6 not allowed or locked · 7 conflict · 8 bad data from outside.
 */
const ROWS = {
  'internal.bug': [1, 'never', 'Something went wrong inside sotto'],
  'disk.full': [1, 'after-change', 'The disk is full: free some space and try again'],
  'disk.failed': [1, 'after-change', 'The disk could not be read or written'],
  'output.failed': [1, 'never', 'What this says could not be written: what it did is done'],
  'usage.invalid': [2, 'after-change', 'The command was not understood'],
  'params.invalid': [2, 'after-change', 'A parameter is not valid'],
  'time.invalid': [2, 'after-change', 'A time or duration is not valid'],
  'config.invalid': [2, 'after-change', 'The configuration is not valid'],
  'platform.unsupported': [1, 'never', 'There is no ready-made Signal library for this system'],
  'check.failed': [1, 'after-change', 'Not everything is well'],
  'config.unknown': [3, 'after-change', 'There is no such setting'],
  'text.tooLarge': [2, 'after-change', 'The text is longer than 16 KiB: send it as a file'],
  'text.empty': [2, 'after-change', 'There is no text to send'],
  'text.notUtf8': [2, 'after-change', 'The text is not valid UTF-8'],
  'nickname.invalid': [2, 'after-change', 'A name is one line of 1 to 64 characters'],
  'passphrase.mismatch': [2, 'after-change', 'The two passphrases differ'],
  'passphrase.empty': [2, 'after-change', 'The passphrase is empty'],
  'method.unknown': [3, 'never', 'There is no such method'],
  'account.unknown': [3, 'after-change', 'There is no such account: make one with `sotto init`'],
  'contact.unknown': [3, 'after-change', 'There is no such contact'],
  'conversation.unknown': [3, 'after-change', 'There is no such conversation'],
  'message.unknown': [3, 'after-change', 'There is no such message'],
  'file.unknown': [3, 'after-change', 'There is no such file'],
  'request.unknown': [3, 'after-change', 'There is no such contact request'],
  'name.ambiguous': [3, 'after-change', 'The name fits more than one'],
  'daemon.absent': [4, 'after-change', 'No daemon runs for this account: start it with `sotto daemon start`'],
  'daemon.busy': [4, 'later', 'The daemon has as many front ends as it takes: end one of them'],
  'daemon.gone': [4, 'later', 'The daemon closed the connection'],
  'message.unsure': [
    4,
    'after-change',
    'The daemon ended before it answered: the text may wait in the outbox already, look before it is sent again',
  ],
  'tor.offline': [
    4,
    'after-change',
    'Tor is off by choice: `offline = false` under `[tor]` in config.toml and `sotto config set network.tor on` turn it on',
  ],
  'contact.paused': [4, 'after-change', 'Nothing goes between you and this contact now: `sotto why` tells the reason'],
  'wait.timeout': [5, 'later', 'The wait ended before it was done; it stays in the outbox'],
  'account.locked': [6, 'after-change', 'The account is locked: unlock it with `sotto account unlock`'],
  'passphrase.wrong': [6, 'after-change', 'The passphrase is not right'],
  'passphrase.needed': [
    6,
    'after-change',
    'This account has a passphrase: give it on a terminal, with --passphrase-fd or SOTTO_PASSPHRASE_FILE',
  ],
  'contact.notAccepted': [6, 'later', 'The contact has not accepted your request yet'],
  'contact.blocked': [6, 'after-change', 'This contact is blocked: `sotto contact unblock NAME` lets them in again'],
  'contact.keyRefused': [
    6,
    'after-change',
    'This contact showed another key: remove the contact, add it again and compare the safety number',
  ],
  'safety.mismatch': [
    6,
    'never',
    'This is not the code of your safety number: you see another key than they have, or it is another person’s code',
  ],
  'message.notYours': [6, 'never', 'Only its author can change a message'],
  'message.notEditable': [6, 'never', 'This message cannot be changed any more'],
  'path.notAllowed': [6, 'after-change', 'A file or folder does not let you: look at its owner and mode'],
  'account.exists': [7, 'after-change', 'This account exists already'],
  'account.running': [7, 'after-change', 'Another program runs this account'],
  'account.elsewhere': [
    7,
    'after-change',
    'This account already runs elsewhere: stop it there, or start with --takeover',
  ],
  'contact.exists': [7, 'after-change', 'This contact exists already'],
  'contact.self': [7, 'never', 'This address is your own'],
  'name.taken': [7, 'after-change', 'This name is taken already'],
  'file.exists': [7, 'after-change', 'A file of this name exists already'],
  'message.failed': [7, 'after-change', 'The message does not wait any more: it failed, was taken back, or ended'],
  'file.stopped': [7, 'after-change', 'The transfer does not go on: it was paused or cancelled, or failed'],
  'outbox.full': [7, 'later', 'The outbox of this contact is full'],
  'request.tooMany': [7, 'later', 'Too many open requests'],
  'reaction.tooMany': [
    7,
    'after-change',
    'You have put as many reactions on this message as it takes from one person: take one back with `sotto unreact`',
  ],
  'pin.tooMany': [
    7,
    'after-change',
    'The conversation has as many pins as it may have: take one back with `sotto unpin`',
  ],
  'quota.exceeded': [
    7,
    'after-change',
    'The files kept for sending and receiving would be over their quota: `sotto file cancel` erases one',
  ],
  'address.invalid': [8, 'after-change', 'This is not an address'],
  'words.count': [8, 'after-change', 'An address has 24 words'],
  'words.recovery': [8, 'never', 'This is a recovery phrase: give it to nobody'],
  'words.unknown': [8, 'after-change', 'A word is not in the list'],
  'words.checksum': [8, 'after-change', 'The checksum does not match: a word is wrong'],
  'link.invalid': [8, 'after-change', 'This is not a sotto link'],
  'key.invalid': [8, 'never', 'This is not a usable public key'],
  'qr.invalid': [8, 'after-change', 'No sotto QR code was found in the picture'],
  'certificate.invalid': [8, 'never', 'The certificate is not valid'],
  'handshake.failed': [8, 'later', 'The handshake with the other side failed'],
  'handshake.timeout': [8, 'later', 'The other side did not finish the handshake in time'],
  'frame.invalid': [8, 'never', 'A frame from the other side was not valid'],
  'frame.tooLarge': [8, 'never', 'A frame was larger than allowed'],
  'frame.undecryptable': [8, 'later', 'A message could not be decrypted'],
  'event.invalid': [8, 'never', 'An event of a channel is not valid'],
  'event.forged': [8, 'never', 'An event of a channel is not signed by a device of its sender'],
  'rpc.invalid': [8, 'after-change', 'The request is not valid JSON-RPC'],
  'rpc.tooLarge': [8, 'after-change', 'A request line is at most 1 MiB'],
  'vault.damaged': [
    8,
    'never',
    'The key file of this account is damaged: restore the account under another name (sotto --account NAME restore FILE, or restore - with its 12 words), then erase it: sotto account remove',
  ],
  'database.damaged': [
    8,
    'never',
    'The database is damaged, or the key beside it is another one’s: restore it from a backup',
  ],
  'database.newer': [8, 'after-change', 'The database was written by a newer sotto: update this program'],
  'backup.damaged': [8, 'never', 'The backup is cut or was changed: nothing was imported'],
  'backup.version': [8, 'after-change', 'The backup was written by a newer sotto: update this program'],
  'file.damaged': [8, 'never', 'A piece of the file does not fit its hash'],
  'server.unknown': [3, 'after-change', 'There is no server in this folder'],
  'server.running': [7, 'after-change', 'Another program runs this server'],
  'server.exists': [7, 'after-change', 'There is a server in this folder already'],
  'keyFile.missing': [3, 'after-change', 'The key file of this server is missing: restore it from a backup'],
  'keyFile.damaged': [8, 'never', 'The key file of this server is damaged: restore it from a backup'],
  'keyFile.wrong': [8, 'never', 'The key file does not fit the database of this server'],
  'tor.missing': [
    1,
    'after-change',
    'tor was not found: install it (`apt install tor`), or name it under `[tor] binary` in config.toml',
  ],
  'tor.tooOld': [1, 'after-change', 'tor is older than 0.4.8: update it'],
  'tor.failed': [4, 'later', 'tor does not run'],
  'tor.stuck': [4, 'later', 'tor makes no progress: check the network, the clock, or configure bridges'],
  'dial.noDescriptor': [4, 'later', 'The address is not published: the other side is offline'],
  'dial.unreachable': [4, 'later', 'The other side cannot be reached'],
  'dial.timeout': [4, 'later', 'The other side did not answer in time'],
  'server.unreachable': [4, 'later', 'The server cannot be reached'],
  'server.timeout': [4, 'later', 'The server did not answer in time'],
  'server.refused': [4, 'later', 'The server takes no connection now'],
  'server.certificateChanged': [
    6,
    'after-change',
    'Somebody else answers at the address of the server: it shows another key than the one of its invite, and nothing was sent to it',
  ],
  'server.certificateRefused': [
    6,
    'after-change',
    'The certificate of the server is not valid: nothing was sent to it',
  ],
  'server.invalid': [8, 'after-change', 'What answers there is no sotto server'],
  // rooms
  'server.joined': [7, 'after-change', 'You are a member of this server already'],
  'history.unshared': [6, 'after-change', 'Nothing of what was said before can be shared'],
  'second.on': [7, 'after-change', 'There is a second check already: `sotto server second-check change`'],
  'second.off': [7, 'after-change', 'There is no second check here: `sotto server second-check set`'],
  'member.other': [7, 'after-change', 'The member or the contact is linked with somebody else'],
  'member.notLinked': [3, 'after-change', 'You have not said that this member is a contact'],
  'member.unknown': [3, 'after-change', 'There is no such member'],
  'channel.unknown': [3, 'after-change', 'There is no such channel'],
  'invite.unknown': [3, 'after-change', 'There is no such invite'],
  'device.unknown': [3, 'after-change', 'There is no such device'],
  'server.unavailable': [4, 'later', 'The server cannot answer now'],
  'member.unreachable': [4, 'later', 'The member has published no keys yet: they must connect once more'],
  'member.keyRefused': [
    6,
    'later',
    'The server shows keys of this member that are not theirs: nothing is sealed for them',
  ],
  'server.busy': [4, 'later', 'The server is busy: try again in a moment'],
  'server.moved': [4, 'later', 'The server restarts'],
  'rate.limited': [4, 'later', 'Too often: try again later'],
  'inbox.full': [7, 'later', 'The inbox of this member on the server has no room for more of yours now'],
  'channel.tooMany': [7, 'after-change', 'You have made as many channels as the server allows: archive one'],
  'channel.slow': [4, 'later', 'The channel is in slow mode'],
  'login.needed': [6, 'after-change', 'The connection has not logged in'],
  'login.refused': [6, 'after-change', 'The server refused the log-in'],
  'device.revoked': [
    6,
    'after-change',
    'This device was removed from the server by a device of yours: what is here stays, `sotto export` takes it out, and `sotto server join LINK` joins as a new device',
  ],
  'login.second': [
    6,
    'after-change',
    'Another device needs the password and a code: `sotto server join LINK --code CODE`',
  ],
  'server.banned': [6, 'later', 'You are banned from this server, or were removed'],
  'server.keyChanged': [
    6,
    'never',
    'The server proved another key than the one of your invite: this is another server',
  ],
  'server.originRefused': [6, 'after-change', 'The server does not answer under this address'],
  'registration.closed': [6, 'after-change', 'The server takes new members by invite only'],
  'invite.invalid': [6, 'after-change', 'The invite is used up, has ended, or was never made'],
  'request.notAllowed': [6, 'after-change', 'You may not do this here'],
  'channel.notMember': [6, 'after-change', 'You are not in this channel: `sotto channel join`'],
  'channel.unchanged': [7, 'after-change', 'It is so in the channel already: nothing would change'],
  'channel.banned': [6, 'later', 'You are banned from this channel'],
  'frame.unexpected': [8, 'never', 'A frame came where it has no place'],
  'channel.muted': [6, 'later', 'You may read here, but not write'],
  'channel.archived': [6, 'after-change', 'The channel is archived: nobody writes there any more'],
  'event.refused': [6, 'after-change', 'The channel does not allow this'],
  'event.stale': [7, 'later', 'The channel has changed: look again'],
  'call.unknown': [3, 'after-change', 'You are not in this call'],
  'call.full': [7, 'later', 'The call is full'],
  'call.tooMany': [7, 'after-change', 'Too many of your devices are in calls: leave one first'],
  'call.refused': [6, 'later', 'The ticket of the call was used, or is too old'],
  'name.invalid': [2, 'after-change', 'A name has 1 to 32 lower-case letters, digits, `-` or `_`'],
  'request.invalid': [8, 'never', 'The server did not understand the request'],
  'request.unknownKind': [8, 'never', 'The server does not know this request'],
  'request.refused': [8, 'never', 'This request has no place here'],
  'version.unsupported': [8, 'after-change', 'No common version: update this program or the server'],
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ROWS;

export const ERROR_CODES = Object.keys(ROWS) as readonly ErrorCode[];

/** Whether a text from another program is one of our codes. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ROWS, code);

/** What a server of rooms may answer with: every other code is the client's own, and not the server's to give. */
export const SERVER_CODES: readonly ErrorCode[] = [
  'call.full',
  'call.refused',
  'call.tooMany',
  'call.unknown',
  'certificate.invalid',
  'channel.archived',
  'channel.banned',
  'channel.muted',
  'channel.notMember',
  'channel.slow',
  'channel.tooMany',
  'channel.unknown',
  'device.revoked',
  'device.unknown',
  'event.forged',
  'event.invalid',
  'event.refused',
  'event.stale',
  'file.damaged',
  'file.unknown',
  'frame.invalid',
  'frame.tooLarge',
  'frame.unexpected',
  'inbox.full',
  'invite.invalid',
  'invite.unknown',
  'key.invalid',
  'login.needed',
  'login.refused',
  'login.second',
  'member.unknown',
  'name.invalid',
  'name.taken',
  'quota.exceeded',
  'rate.limited',
  'registration.closed',
  'request.invalid',
  'request.notAllowed',
  'request.refused',
  'request.unknownKind',
  'server.banned',
  'server.busy',
  'server.moved',
  'server.originRefused',
  'server.unavailable',
  'version.unsupported',
];

/** Process exit code of an error. */
export const exitOf = (code: ErrorCode): number => ROWS[code][0];

/** When the same call may succeed. */
export const retryOf = (code: ErrorCode): Retry => ROWS[code][1];

/** The sentence shown when the thrower gave none. */
export const textOf = (code: ErrorCode): string => ROWS[code][2];

/** JSON-RPC error number: one per exit code, −32000 − exit, as `error.code`; ours is in `error.data`. */
export const rpcNumberOf = (code: ErrorCode): number => -32000 - exitOf(code);

export type ErrorDetails = Readonly<Record<string, unknown>>;

type ErrorOptions = { readonly message?: string; readonly details?: ErrorDetails; readonly cause?: unknown };

/** An expected failure: told to whoever called, by code. `message` replaces the table's sentence. */
export class SottoError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.message ?? textOf(code), { cause: options.cause });
    this.name = 'SottoError';
    this.code = code;
    this.details = options.details ?? {};
  }
}

// What the system calls a disk without room, one that does not do as told, and a path where something else is.
const DISK_ERRORS: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'disk.full',
  EDQUOT: 'disk.full',
  EFBIG: 'disk.failed',
  EIO: 'disk.failed',
  EROFS: 'disk.failed',
  EEXIST: 'disk.failed',
  ENOTDIR: 'disk.failed',
  EISDIR: 'disk.failed',
  EMFILE: 'disk.failed',
  ENFILE: 'disk.failed',
  EACCES: 'path.notAllowed',
  EPERM: 'path.notAllowed',
  ENAMETOOLONG: 'path.notAllowed',
  ELOOP: 'path.notAllowed',
};

// Where it is the path itself that does not do, whoever its owner is.
const PATH_FAULTS: Readonly<Record<string, string>> = {
  ENAMETOOLONG: 'The path, or a name in it, is too long',
  ELOOP: 'The path goes through a loop of links',
};

const sentenceAt = (code: ErrorCode, name: string, path: string): string =>
  `${PATH_FAULTS[name] ?? textOf(code)} (${name} ${path})`;

/** An error as the expected one it is, those of the disk among them, with their path; undefined for a bug. */
export const expectedError = (error: unknown): SottoError | undefined => {
  if (error instanceof SottoError) return error;
  const { code: name = '', path, syscall } = (error instanceof Error ? error : {}) as NodeJS.ErrnoException;
  if (syscall === 'uv_cwd')
    return new SottoError('path.notAllowed', { message: 'The folder this was started in is gone: cd to another one' });
  const code = DISK_ERRORS[name];
  if (code === undefined) return undefined;
  return new SottoError(code, {
    ...(path === undefined ? {} : { message: sentenceAt(code, name, path) }),
    cause: error,
  });
};

/**
 * What the system says of writing to a path, in words of the one that was asked for: nobody knows the name that the file has
 * meanwhile. `path.notAllowed` for what the table does not have: this path does not do. Anything else as it is.
 */
export const errorAt = (error: unknown, path: string): unknown => {
  if (error instanceof SottoError || !(error instanceof Error) || !('syscall' in error)) return error;
  const { code: name = 'unknown reason' } = error as NodeJS.ErrnoException;
  const code = DISK_ERRORS[name] ?? 'path.notAllowed';
  return new SottoError(code, { message: sentenceAt(code, name, path), cause: error });
};

/** What stdout does not take, in an error that nobody obeys by doing the same again: that is done. */
export const outputError = (error: NodeJS.ErrnoException): SottoError => {
  const message = `${textOf('output.failed')} (${error.code ?? 'unknown reason'})`;
  return new SottoError('output.failed', { message, cause: error });
};

/** Hostile or broken input from another machine: caught once per connection, counted, and closes it. */
export class ProtocolError extends SottoError {
  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(code, options);
    this.name = 'ProtocolError';
  }
}

/** What every front end prints and every RPC error carries in `data`. */
export type ErrorObject = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly exit: number;
  readonly retry: Retry;
  readonly details: ErrorDetails;
};

/** The one shape of an error for RPC and `--json`. Anything that is not ours is a bug and says no more than that. */
export const errorObject = (error: unknown): ErrorObject => {
  const known = expectedError(error) ?? new SottoError('internal.bug', { cause: error });
  return {
    code: known.code,
    message: known.message,
    exit: exitOf(known.code),
    retry: retryOf(known.code),
    details: known.details,
  };
};

/** The first lines of a stack without the message above them, which may hold a text and have lines of its own. */
export const framesOf = (error: unknown): string =>
  error instanceof Error
    ? (error.stack ?? '')
        .split('\n')
        .filter((line) => /^ {4}at /.test(line))
        .slice(0, 8)
        .join('\n')
    : 'no stack';
