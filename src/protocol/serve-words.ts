// The words of `sotto serve`, once: for its help, the manual page and the documents.

/** A flag, the key of the configuration file that says the same (empty for none), and what it means. */
export const SERVE_FLAGS: readonly (readonly [flag: string, key: string, doc: string])[] = [
  ['--data-dir DIR', '', 'where the server lives; SOTTO_SERVER_DIR says the same (~/.local/share/sotto-server)'],
  ['--config FILE', '', 'the configuration (server.toml in the data folder, when it is there); flags win'],
  ['--check-config', '', 'look at the configuration, tell every mistake with its place, and end'],
  ['--name TEXT', 'name', 'what members see (as before; of a new one: sotto)'],
  ['--registration MODE', 'registration', 'who may become a member: invite (as without), open, closed'],
  ['--listen HOST:PORT', 'listen', 'where to listen (127.0.0.1:7443); port 0 takes a free one'],
  ['--origin wss://NAME', 'origins', 'what people dial, when it is another name than --listen says; may stand again'],
  ['--behind-proxy ADDRESS', 'proxies', 'a proxy that ends TLS: its X-Forwarded-For is believed; may stand again'],
  [
    '--onion',
    'onion',
    'be an onion service by a tor of its own, with no open port but those of --listen and --metrics; `[tor]` as in config.toml',
  ],
  ['--tls-cert FILE', 'tls.cert', 'a certificate of an authority, instead of the server’s own; read again on SIGHUP'],
  ['--tls-key FILE', 'tls.key', 'its private key'],
  ['--metrics HOST:PORT', 'metrics', 'health and metrics, on this machine only (127.0.0.1, a free port)'],
  ['--log-level LEVEL', 'log.level', 'debug, info (as without), warn, error'],
  [
    '--encrypt-at-rest',
    'encryptAtRest',
    'a new server keeps its database encrypted under its key file; one that was made without stays so',
  ],
  [
    '--json',
    '',
    'the first line is one object: kind, url, fingerprint, metrics, admin, connectionsMax, invite, link (where everybody may join)',
  ],
  ['--verbose, -v', '', 'tell on stderr which folder and configuration count, and where a running server is asked'],
  ['--quiet, -q', '', 'taken as by every command; there is no progress to leave out'],
];

/** What may stand behind `sotto serve`. */
export const SERVE_COMMANDS: readonly (readonly [usage: string, doc: string])[] = [
  [
    'serve',
    'host a server for rooms in the foreground; SIGTERM drains, SIGHUP reads certificate and configuration again',
  ],
  ['serve install [--print]', 'writes a systemd user unit that starts it, or only shows it'],
  ['serve admin status [--timeout 60s]', 'how the running server is; --timeout counts with every word here'],
  ['serve admin members | member NAME', 'members, or one; NAME is a name or an id here and below'],
  ['serve admin role NAME owner|admin|member', 'gives a role'],
  ['serve admin ban NAME | unban NAME', 'ends all connections and log-ins of a member, or takes that back'],
  ['serve admin invites | revoke ID', 'invites, or the end of one'],
  ['serve admin invite [--owner] [--role admin] [--uses N] [--expires 7d]', 'makes an invite link'],
  ['serve admin channels', 'channels with their sizes'],
  [
    'serve admin audit [--actor A] [--target T] [--kind K] [--since TIME] [--limit N]',
    'who did what, newest first; A is a member, admin, or server for its alerts',
  ],
  [
    'serve admin check [--deep]',
    'whether everything that is kept is whole; --deep reads all pages of the database and all files',
  ],
  ['serve admin backup FOLDER', 'a copy of the whole server while it runs, with its key: keep it safe'],
  ['serve admin restore FOLDER', 'makes a server of a backup, in a data folder without one'],
];
