// The methods of an open account that are about contacts.
import { parseAddress } from '../crypto/identity.ts';
import { SottoError } from '../protocol/errors.ts';
import { WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import type { Contact } from '../protocol/rpc-objects.ts';
import { asWord } from '../protocol/safe-text.ts';
import {
  type ContactRow,
  getContact,
  getContactByAddress,
  listContacts,
  patchContact,
  putHistory,
} from '../store/contacts.ts';
import { block, removeOne } from './contact-ends.ts';
import { type Core, commit } from './core.ts';
import { sendPing } from './heartbeat.ts';
import { freeName, refuseTaken } from './labels.ts';
import { retryNow } from './links.ts';
import type { Context, HandlersOf } from './methods.ts';
import { checkName, findContact } from './names.ts';
import { contactDetail, contactObject, safetyOf } from './objects.ts';
import { accept, ask, isAsked, reject } from './requests.ts';
import { torOffText, waitFor, why } from './why.ts';

/** Answers of `contact.*`. */
export const CONTACT_HANDLERS: HandlersOf<'contact'> = {
  'contact.add': async (context, params) => {
    const { core } = context;
    const parsed = parseAddress(params.address);
    const id = await context.core.queue.call(() => {
      // Who has asked them already waits on.
      const known = getContactByAddress(core.db, parsed.address);
      if (params.wait === 'accepted' && known !== undefined && isAsked(core, known)) return known.id;
      const name = params.name ?? freeName(core, parsed.nickname ?? parsed.address.slice(0, 8));
      return ask(core, { address: parsed.address, name, ...(params.note === undefined ? {} : { note: params.note }) });
    });
    if (params.wait !== 'accepted') return asked(core, id);
    const accepted = () => getContact(core.db, id)?.state === 'accepted';
    const { reached, useless } = await waitFor(context, id, accepted, params.timeoutMs);
    return reached ? show(core, id) : { ...asked(core, id), code: useless ?? 'wait.timeout' };
  },
  'contact.list': ({ core }, { all }) =>
    listContacts(core.db)
      .filter((row) => all === true || (row.state !== 'removed' && row.state !== 'incoming'))
      .map((row) => contactObject(core, row)),
  'contact.requests': ({ core }) =>
    listContacts(core.db)
      .filter((row) => row.state === 'incoming' && row.blocked === 0)
      .map((row) => contactObject(core, row)),
  'contact.show': ({ core }, { contact }) => contactDetail(core, findContact(core.db, contact)),
  'contact.accept': (context, { contact, name }) =>
    change(context, contact, async (row) => {
      await accept(context.core, row, name ?? row.name);
    }),
  'contact.reject': (context, { contact }) => change(context, contact, (row) => reject(context.core, row)),
  'contact.verify': (context, { contact, verified, scanned }) =>
    change(context, contact, (row) => {
      const safety = safetyOf(context.core, row);
      if (safety === undefined)
        throw new SottoError('contact.notAccepted', { message: 'There is no safety number before the first link' });
      if (scanned !== undefined && scanned !== safety.theirQr()) throw new SottoError('safety.mismatch');
      commit(context.core, (changes) => {
        patchContact(context.core.db, row.id, { verifiedAt: verified ? changes.at : null });
        putHistory(context.core.db, row.id, {
          at: changes.at,
          kind: verified ? 'key.verified' : 'key.unverified',
          detail: '',
        });
        changes.event({ kind: 'contact.verified', contactId: row.id });
      });
    }),
  'contact.rename': (context, { contact, name }) =>
    change(context, contact, (row) => {
      checkName(name);
      refuseTaken(context.core, name, row.id);
      commit(context.core, (changes) => {
        patchContact(context.core.db, row.id, { name });
        changes.event({ kind: 'contact.renamed', contactId: row.id });
      });
    }),
  'contact.note': (context, { contact, note }) =>
    change(context, contact, (row) => commit(context.core, () => patchContact(context.core.db, row.id, { note }))),
  'contact.block': (context, { contact }) => change(context, contact, (row) => block(context.core, row, true)),
  'contact.unblock': (context, { contact }) => change(context, contact, (row) => block(context.core, row, false)),
  'contact.remove': (context, { contact, erase }) =>
    context.core.queue.call(() => removeOne(context.core, findContact(context.core.db, contact), erase === true)),
  'contact.why': ({ core }, { contact }) => why(core, findContact(core.db, contact)),
  'contact.retry': (context, { contact }) =>
    context.core.queue.call(() => {
      const row = findContact(context.core.db, contact);
      // Nobody else hears of us.
      if (row.blocked === 0 && (row.state === 'accepted' || row.state === 'outgoing')) retryNow(context.core, row.id);
      return why(context.core, row);
    }),
  'contact.ping': async (context, { contact, timeoutMs }) => {
    const { core } = context;
    const { row, peer, pong } = await context.core.queue.call(() => {
      const row = findContact(core.db, contact);
      const peer = core.peers.get(row.id);
      if (peer?.link === undefined)
        throw new SottoError('dial.unreachable', {
          message: `${row.name} is not linked: sotto why ${asWord(row.name)}`,
        });
      const pong = new Promise<boolean>((resolve) => {
        const cancel = core.clock.after(timeoutMs ?? WAIT_MS_DEFAULT, () => resolve(false));
        peer.pongWaiters.push(() => {
          cancel();
          resolve(true);
        });
      });
      if (peer.pingSentAt === undefined) sendPing(core, peer);
      return { row, peer, pong };
    });
    const isOver = await pong;
    if (isOver && peer.rttMs === undefined)
      throw new SottoError('dial.unreachable', { message: `The link with ${row.name} has ended` });
    if (!isOver || peer.rttMs === undefined)
      throw new SottoError('wait.timeout', { message: `${row.name} did not answer in time` });
    return { contact: row.name, rttMs: peer.rttMs };
  },
};

const contactNow = (core: Core, id: number): ContactRow => {
  const row = getContact(core.db, id);
  if (row === undefined) throw new SottoError('contact.unknown');
  return row;
};

const show = (core: Core, id: number): Contact => contactObject(core, contactNow(core, id));

// Who was asked without Tor does not hear of it.
const asked = (core: Core, id: number): Contact & { readonly held?: string } =>
  core.network.state.state === 'off' ? { ...show(core, id), held: torOffText(core) } : show(core, id);

/** Changes a contact in the queue and shows it. */
const change = (
  context: Context,
  reference: string,
  step: (contact: ContactRow) => Promise<void> | void,
): Promise<Contact> =>
  context.core.queue.call(async () => {
    const contact = findContact(context.core.db, reference);
    await step(contact);
    return show(context.core, contact.id);
  });
