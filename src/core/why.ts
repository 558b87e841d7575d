// Explains what is in the way of a contact: link, outbox, descriptor, and advice.
import { RESET_INTERVAL_MS } from '../protocol/limits.ts';
import { pausedText } from '../protocol/paused.ts';
import type { Why } from '../protocol/rpc-objects.ts';
import { asWord } from '../protocol/safe-text.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import { depthOfOutbox, type OutboxDepth } from '../store/outbox.ts';
import { getOpenRequest, getSession } from '../store/sessions.ts';
import type { Core } from './core.ts';
import type { Context } from './methods.ts';
import { contactLinkOf } from './peer.ts';
import { dayOf } from './receive.ts';
import { settingOf } from './settings.ts';

/** What is in the way of a contact, and what to do about it. */
export const why = (core: Core, contact: ContactRow): Why => {
  const peer = core.peers.get(contact.id);
  const { depth, oldestAt } = waitingFor(core, contact.id);
  const state = contactLinkOf(contact, peer);
  const advice = adviceFor(core, contact, depth);
  return {
    contact: contact.name,
    summary: summaryOf(core, contact, state, depth),
    link: {
      state,
      attempts: peer?.attempts ?? 0,
      // What ended the link before this one is in nobody's way.
      ...(peer?.lastError === undefined || state === 'up' ? {} : { lastError: peer.lastError }),
      ...(peer?.lastErrorAt === undefined || state === 'up' ? {} : { lastErrorAt: peer.lastErrorAt }),
      ...(peer?.nextRetryAt === undefined ? {} : { nextRetryAt: peer.nextRetryAt }),
    },
    outbox: { depth, ...(oldestAt === null ? {} : { oldestAt }) },
    descriptor: { ...peer?.descriptor },
    advice,
  };
};

// A request waits as messages do, until it has come to whoever it asks.
const waitingFor = ({ db }: Core, contactId: number): OutboxDepth => {
  const { depth, oldestAt } = depthOfOutbox(db, contactId);
  const request = getOpenRequest(db, contactId, 'mine');
  if (request?.acknowledged !== 0) return { depth, oldestAt };
  return { depth: depth + 1, oldestAt: Math.min(request.createdAt, oldestAt ?? request.createdAt) };
};

/** Why nothing that a contact should do will happen by itself, however long one waits; undefined when it may, as for a server (null). */
export const uselessWait = (
  core: Core,
  contactId: number | null,
): 'tor.offline' | 'contact.blocked' | 'contact.paused' | undefined => {
  if (contactId === null) return undefined;
  if (core.network.state.state === 'off') return 'tor.offline';
  const contact = getContact(core.db, contactId);
  if (contact?.blocked === 1) return 'contact.blocked';
  return contact?.paused === '' ? undefined : 'contact.paused';
};

/** What turns Tor on again where it is off: the account's own switch, or that of every account. */
export const torOffText = (core: Core): string =>
  settingOf(core.db, 'network.tor')
    ? 'Tor is off in config.toml: nothing goes to contacts until `offline = false` under `[tor]` there, and sotto daemon reload'
    : 'This account has no Tor: nothing goes to contacts until sotto config set network.tor on, and sotto daemon reload';

const summaryOf = (core: Core, contact: ContactRow, state: string, depth: number): string => {
  if (contact.blocked === 1) return `${contact.name} is blocked`;
  if (contact.state === 'outgoing')
    switch (getOpenRequest(core.db, contact.id, 'mine')?.acknowledged) {
      case 1:
        return `${contact.name} has your request and has not answered`;
      case 0:
        return `your request to ${contact.name} is not delivered yet`;
      default:
        return `your request to ${contact.name} was not answered in 30 days: it has ended`;
    }
  if (contact.state === 'incoming') return `${contact.name} waits for your answer`;
  if (contact.paused !== '') return `sending to ${contact.name} is paused: ${pausedText(contact.paused)}`;
  if (state === 'up')
    return depth === 0
      ? `linked with ${contact.name}, nothing waits`
      : `linked with ${contact.name}, ${depth} to deliver`;
  return depth === 0 ? `nothing waits for ${contact.name}` : `${depth} wait for ${contact.name}, who is not linked`;
};

const adviceFor = (core: Core, contact: ContactRow, depth: number): string[] => {
  const advice: string[] = [];
  const name = asWord(contact.name);
  const { state, reachable, bootstrapPercent, descriptorUploads, lastError } = core.network.state;
  const peer = core.peers.get(contact.id);
  if (state === 'off') advice.push(torOffText(core));
  else if (state === 'failed' && lastError !== undefined) advice.push(lastError.message);
  else if (state !== 'online') advice.push(`Tor is not ready: it is at ${bootstrapPercent} %`);
  else if (!reachable)
    advice.push(`others cannot dial you now: your own address is being published, ${descriptorUploads} uploads done`);
  if (contact.blocked === 1) advice.push(`sotto contact unblock ${name}`);
  else if (contact.state === 'incoming') advice.push(`sotto contact accept ${name}`);
  const again = `sotto contact add ${contact.address} --name ${name}`;
  if (contact.state === 'outgoing' && getOpenRequest(core.db, contact.id, 'mine') === undefined)
    advice.push(`ask again: ${again}`);
  if (contact.paused === 'notContact') advice.push(`ask them again: ${again}`);
  if (contact.paused === 'keyChanged')
    advice.push(`another key was shown: sotto contact remove ${name}, add it again, compare the safety number`);
  if (peer?.quota.told === true && peer.quota.day === dayOf(core))
    advice.push('they sent more than a day allows: the rest waits until tomorrow');
  if (depth > 0 && getSession(core.db, contact.id)?.resetPending === 1)
    advice.push(
      `they are asked for a new session: what waits goes when they have answered, up to ${RESET_INTERVAL_MS / 60_000} minutes after the last one began`,
    );
  if (contact.paused === 'tooManyResets') advice.push('the session was reset too often today: it goes on tomorrow');
  if (peer?.descriptor?.found === false)
    advice.push('their address is not published: they are offline, or their clock is wrong');
  if (depth > 0 && peer?.link === undefined && peer?.nextRetryAt !== undefined)
    advice.push(`it is tried again by itself; \`sotto why ${name} --retry\` tries now`);
  return advice;
};

/** What came of a wait; `useless` is why it was given up. */
export type Waited = { readonly reached: boolean; readonly useless?: ReturnType<typeof uselessWait> };

/** Waits for what a contact, or a server (null), should do, no longer than that makes sense. */
export const waitFor = async (
  { core, waits }: Context,
  contactId: number | null,
  look: () => boolean,
  timeoutMs: number | undefined,
): Promise<Waited> => {
  let reached = false;
  await waits.until(() => {
    reached = look();
    return reached || uselessWait(core, contactId) !== undefined;
  }, timeoutMs);
  return { reached, useless: reached ? undefined : uselessWait(core, contactId) };
};
