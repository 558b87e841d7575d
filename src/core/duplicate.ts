// Two copies of an account that take turns: noticed by the install ids of who dials, and told to both sides.
import { isEqual } from '../protocol/bytes.ts';
import { ID_BYTES } from '../protocol/ids.ts';
import { DAY_MS } from '../protocol/limits.ts';
import { type ContactRow, lastHistoryAt, patchContact, putHistory } from '../store/contacts.ts';
import { type Changes, type Core, commit } from './core.ts';

/** The code of the `error` frame, and the kind of the event. */
export const DUPLICATE = 'account.duplicate';

/** Notes which copy of a contact's account dialled; true when it takes turns with another, and that is news today. */
export const noteInstall = (
  core: Core,
  changes: Changes,
  contact: ContactRow,
  installId: Uint8Array<ArrayBuffer>,
): boolean => {
  const isCurrent = contact.installId !== null && isEqual(contact.installId, installId);
  if (isCurrent || installId.length !== ID_BYTES) return false;
  const returns = contact.previousInstallId !== null && isEqual(contact.previousInstallId, installId);
  patchContact(core.db, contact.id, { installId, previousInstallId: contact.installId });
  return returns && tell(core, changes, contact.id, 'two copies of their account take turns');
};

/** A contact has seen two copies of our account take turns. */
export const onDuplicate = (core: Core, contactId: number): void =>
  commit(core, (changes) => void tell(core, changes, contactId, 'they see two copies of your account take turns'));

// Once a day: who dials again and again would fill the history. What was told while the clock was ahead does not count.
const tell = (core: Core, changes: Changes, contactId: number, detail: string): boolean => {
  const last = lastHistoryAt(core.db, contactId, DUPLICATE);
  if (last > changes.at - DAY_MS && last <= changes.at) return false;
  putHistory(core.db, contactId, { at: changes.at, kind: DUPLICATE, detail });
  changes.event({ kind: DUPLICATE, contactId, detail });
  return true;
};
