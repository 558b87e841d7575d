// The methods of the local wire that work without an open account.
import * as z from 'zod';
import { EVENT_KINDS, VOLATILE_KINDS } from './event-kinds.ts';
import { bytes, label, none, passphrase, path, personName, time } from './rpc-fields.ts';
import { account, check, method, status, wait } from './rpc-objects.ts';

/** Methods that work before an account is open or while it is locked; the daemon answers them itself. */
export const DAEMON_METHODS = {
  'account.init': method(
    'Creates the account of this daemon and opens it. `noPassphrase` makes a key file instead; `noTor` sets network.tor off: nothing of Tor is started.',
    z.object({
      nickname: personName,
      passphrase: passphrase.optional(),
      noPassphrase: z.boolean().optional(),
      noTor: z.boolean().optional(),
    }),
    account.extend({ recoveryPhrase: z.string(), warning: z.string().optional() }),
  ),
  'account.restore': method(
    'Creates the account from a recovery phrase, or from a backup file at an absolute path.',
    z.object({
      phrase: z.string().optional(),
      file: z.string().max(4096).optional(),
      backupPassphrase: passphrase.optional(),
      nickname: personName.optional(),
      passphrase: passphrase.optional(),
      noPassphrase: z.boolean().optional(),
      noTor: z.boolean().optional(),
    }),
    account.extend({ warning: z.string().optional() }),
  ),
  'account.unlock': method('Opens a locked account.', z.object({ passphrase }), z.object({ locked: z.boolean() })),
  'account.lock': method('Drains, leaves the network and drops all keys.', none, z.object({ locked: z.boolean() })),
  'account.passwd': method(
    'Changes, sets or removes the passphrase; `rekey` also rewrites the database under a new key.',
    z.object({
      passphrase: passphrase.optional(),
      newPassphrase: passphrase.optional(),
      noPassphrase: z.boolean().optional(),
      rekey: z.boolean().optional(),
    }),
    z.object({ changed: z.boolean(), warning: z.string().optional() }),
  ),
  'account.remove': method(
    'Erases the account and ends the daemon.',
    z.object({ confirm: z.string() }),
    z.object({ removed: z.boolean() }),
  ),
  'account.takeover': method(
    'Runs the account here although it may run elsewhere too; contacts are told when two copies take turns.',
    none,
    z.object({ taken: z.boolean() }),
  ),
  'account.rename': method(
    'Renames the account on this machine and ends the daemon.',
    z.object({ name: label }),
    z.object({ account: z.string() }),
  ),
  'backup.create': method(
    'Writes an encrypted backup to an absolute path while running. Without a passphrase the recovery phrase opens it.',
    z.object({ file: path, passphrase: passphrase.optional() }),
    z.object({ file: z.string(), sizeBytes: bytes, messages: z.number().int() }),
  ),
  'daemon.stop': method('Drains and ends the daemon.', none, z.object({ stopping: z.boolean() })),
  'daemon.reload': method(
    'Reads config.toml again; a bad one is refused whole.',
    none,
    z.object({ reloaded: z.boolean() }),
  ),
  'doctor.check': method('Looks at everything that can be wrong.', none, z.array(check)),
  'hook.list': method(
    'The hooks and what became of their last runs.',
    none,
    z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string(), lastRunAt: time.optional() })),
  ),
  'rpc.methods': method(
    'Every method with its description.',
    none,
    z.array(z.object({ method: z.string(), doc: z.string() })),
  ),
  'status.show': method('Network, queue, unread, links and the daemon itself.', none, status),
  'status.wait': method(
    'Waits until Tor is bootstrapped (`online`) or a dial from outside would succeed (`reachable`).',
    z.object({ until: z.enum(['online', 'reachable']), ...wait }),
    status,
  ),
  'event.listen': method(
    'Turns this connection into a subscriber: committed events after `since`, then live ones, as `event` notifications.',
    z.object({
      since: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
      kinds: z
        .array(z.enum([...EVENT_KINDS, ...VOLATILE_KINDS], 'is no kind of event'))
        .max(64)
        .optional(),
    }),
    z.object({ cursor: z.string() }),
  ),
  'session.focus': method(
    'Tells that this front end has, or lost, the user’s eyes.',
    z.object({ focused: z.boolean() }),
    none,
  ),
} as const;
