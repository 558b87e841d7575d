// What contacts may be called, so that every name has one reading: not like another contact, a server, or myself.
import { SottoError } from '../protocol/errors.ts';
import { NAME_CHARS_MAX } from '../protocol/limits.ts';
import { safeName } from '../protocol/safe-text.ts';
import { type ContactRow, getContactByName, listContacts } from '../store/contacts.ts';
import { getConversationOfContact } from '../store/conversations.ts';
import { nicknameOf } from '../store/self.ts';
import { getServerByLabel } from '../store/servers.ts';
import type { Core } from './core.ts';
import { LEFT } from './names.ts';
import { isMemberReference } from './room-names.ts';

// What is an address or a whole id is nobody's name: it means whose it is.
const isOther = (name: string): boolean => /^([a-z2-7]{56}(\.onion)?|[0-9a-f]{32})$/i.test(name);

/** A name that no contact has and everybody can type: what others call themselves, or that with a number behind it. */
export const freeName = (core: Core, wanted: string, exceptId?: number): string => {
  const typed = safeName(wanted)
    .replace(/^[#@]+|\u00ac$/g, '')
    .replaceAll('@', '-');
  const base = safeName(isOther(typed) ? 'contact' : typed);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${safeName(base.slice(0, NAME_CHARS_MAX - 5))}-${n}`;
    if (takenAs(core, name, exceptId) === undefined) return name;
  }
};

// Contacts and servers have one reading: `x@y` is a member of the server y.
const takenAs = ({ db }: Core, name: string, exceptId: number | undefined): string | undefined => {
  if (name.normalize('NFC') === safeName(nicknameOf(db))) return `${name} is what you are called yourself`;
  if (name === 'me') return 'me is what you are called yourself, as in search --from me';
  const holder = getContactByName(db, name);
  if (holder !== undefined && holder.id !== exceptId) return `Another contact is called ${name} already`;
  if (getServerByLabel(db, name) !== undefined) return `A server is called ${name} already`;
  const label = isMemberReference(name) ? name.slice(name.lastIndexOf('@') + 1) : '';
  return getServerByLabel(db, label) === undefined ? undefined : `${name} is what a member of ${label} is called`;
};

/** Throws `name.taken` for what servers that were left are called, and when a contact is called as no server or its members may be. */
export const refuseTakenLabel = ({ db }: Core, label: string): void => {
  if (label === LEFT)
    throw new SottoError('name.taken', { message: `Servers that were left are called ${LEFT}: take another --label` });
  const holder = listContacts(db).find(
    ({ name, state }) =>
      state !== 'removed' && (name === label || (isMemberReference(name) && name.endsWith(`@${label}`))),
  );
  if (holder !== undefined)
    throw new SottoError('name.taken', {
      message: `A contact is called ${holder.name}: rename it, or take another --label`,
    });
};

/** Throws `name.taken` for a nickname of mine that a contact has as a label, also one who was removed and whose history is here. */
export const refuseTakenNickname = ({ db }: Core, nickname: string): void => {
  const shown = safeName(nickname);
  const isShown = ({ id, state }: ContactRow): boolean =>
    state !== 'removed' || getConversationOfContact(db, id) !== undefined;
  const holder = listContacts(db).find((one) => one.name.normalize('NFC') === shown && isShown(one));
  if (holder === undefined) return;
  const way = holder.state === 'removed' ? 'remove' : 'rename';
  throw new SottoError('name.taken', {
    message: `You call a contact ${shown}: sotto contact ${way} ${holder.address}${way === 'remove' ? ' --erase' : ' NAME'}, or take another nickname`,
  });
};

/** Throws `name.taken` when I, another contact or a server has the name, and `nickname.invalid` for one that means or looks like something else. */
export const refuseTaken = (core: Core, name: string, exceptId: number | undefined): void => {
  if (/^[#@]/.test(name) || isMemberReference(name) || isOther(name) || safeName(name) !== name.normalize('NFC'))
    throw new SottoError('nickname.invalid', {
      message:
        'The name of a contact begins with neither # nor @, is not like member@server, an address or an id, and has no spaces at its ends and nothing that does not show',
    });
  const taken = takenAs(core, name, exceptId);
  if (taken !== undefined) throw new SottoError('name.taken', { message: taken });
};
