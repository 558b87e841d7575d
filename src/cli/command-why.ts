// What is in the way: of one contact or server, or of anything.

import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError } from '../protocol/errors.ts';
import { PAGE_MAX } from '../protocol/limits.ts';
import type { Contact, FileObject, Status, Why } from '../protocol/rpc-objects.ts';
import type { ChannelObject, MemberObject, ServerObject } from '../protocol/rpc-rooms.ts';
import { mayBeChannel } from './cautions.ts';
import type { Command, CommandContext } from './command.ts';
import { waitGiven } from './give.ts';
import { fileText, whyText } from './show.ts';
import { type Asked, besides, roomWhy, serverWhyText } from './why-rooms.ts';

/** `sotto why`. */
export const WHY_COMMAND: Command = {
  path: 'why',
  doc: 'explain what keeps a contact, channel, member or server from going on; without a name, all that is stuck',
  args: [
    { name: 'contact', doc: 'a contact, #channel or its id, member@server, or a server’s label', complete: 'contact' },
  ],
  flags: { retry: { doc: 'try now' } },
  methods: ['contact.why', 'contact.retry', 'server.list', 'server.retry', 'channel.show', 'member.show', 'file.list'],
  run: async (context) => {
    const client = await context.connect();
    const [about] = context.args;
    if (about === undefined) return everything(context, client);
    try {
      const why = await ofContact(context, client, about);
      context.out.item(hinted(why, context), () => context.out.hint(whyText(why)));
    } catch (error) {
      if (!(error instanceof SottoError && error.code === 'contact.unknown')) throw error;
      await ofServers(context, client, about, error);
    }
  },
};

// The commands that it advises name the account that was asked, for scripts as for people.
const hinted = <W extends { readonly summary: string; readonly advice: readonly string[] }>(
  why: W,
  { out }: CommandContext,
) => ({
  ...why,
  summary: out.hint(why.summary),
  advice: why.advice.map((line) => out.hint(line)),
});

const ofContact = ({ flags }: CommandContext, client: RpcClient, contact: string): Promise<Why> =>
  client.call(flags.has('retry') ? 'contact.retry' : 'contact.why', { contact });

const ofServer = async (context: CommandContext, client: RpcClient, server: ServerObject): Promise<ServerObject> =>
  context.flags.has('retry') ? client.call('server.retry', { server: server.id, ...waitGiven(context) }) : server;

const ofServers = async (
  context: CommandContext,
  client: RpcClient,
  about: string,
  unknownContact: SottoError,
): Promise<void> => {
  const { out } = context;
  const servers = await client.call('server.list', {});
  const channel = servers.some(({ label }) => label === about) ? undefined : await channelFor(client, about);
  const label = channel?.server ?? /@([^@]*)$/.exec(about)?.[1] ?? about;
  const named = servers.find((one) => one.label === label);
  if (named === undefined) throw /^#|.@./.test(about) ? noServer(label) : unknownContact;
  const server = await ofServer(context, client, named);
  const asked = await askedAbout(client, about, { server, channel });
  out.item(hinted(roomWhy(server, asked, Date.now()), context), () => out.hint(serverWhyText(server, asked.files)));
  for (const line of besides(server, asked, Date.now())) out.say(line);
};

// What begins with # is a channel; an id may be that of one.
const channelFor = async (client: RpcClient, about: string): Promise<ChannelObject | undefined> => {
  if (!mayBeChannel(about)) return undefined;
  return client.call('channel.show', { channel: about }).catch((error: unknown) => {
    if (!about.startsWith('#') && error instanceof SottoError && error.code === 'channel.unknown') return undefined;
    throw error;
  });
};

type Where = { readonly server: ServerObject; readonly channel: ChannelObject | undefined };

const askedAbout = async (client: RpcClient, about: string, { server, channel }: Where): Promise<Asked> => {
  if (about === server.label) return { files: await filesOn(client, about) };
  const member = channel === undefined ? await memberOn(client, about, server) : undefined;
  const known = channel ?? member;
  const conversation = known === undefined ? about : `${known.name}@${known.server}`;
  return { conversation, channel, member, files: await filesOn(client, conversation) };
};

const waitingFiles = async (client: RpcClient): Promise<FileObject[]> =>
  (await client.call('file.list', { limit: PAGE_MAX })).filter(
    ({ state, reason }) => state === 'active' && reason !== undefined,
  );

// Of one conversation, or of all on the server of this label.
const filesOn = async (client: RpcClient, about: string): Promise<FileObject[]> =>
  (await waitingFiles(client)).filter(
    ({ conversation }) => conversation === about || conversation.endsWith(`@${about}`),
  );

// Whom nobody here knows the server is asked for: while it does not answer, that is what is in the way. Throws `member.unknown`.
const memberOn = async (
  client: RpcClient,
  member: string,
  { state }: ServerObject,
): Promise<MemberObject | undefined> => {
  if (state !== 'online') return undefined;
  return client.call('member.show', { member }).catch((error: unknown) => {
    if (!(error instanceof SottoError) || error.code === 'member.unknown') throw error;
    return undefined;
  });
};

const noServer = (label: string): SottoError =>
  new SottoError('server.unknown', { message: `You are in no server ${label}: sotto server list` });

const everything = async (context: CommandContext, client: RpcClient): Promise<void> => {
  const { out, flags } = context;
  let stuck = 0;
  for (const contact of await client.call('contact.list', {})) {
    const found = await client.call('contact.why', { contact: contact.id });
    if (!isStuck(contact, found)) continue;
    stuck++;
    const why = flags.has('retry') ? await ofContact(context, client, contact.id) : found;
    out.item(hinted(why, context), () => out.hint(whyText(why)));
  }
  const { tor, servers } = await client.call('status.show', {});
  for (const server of servers) {
    if (server.state === 'online' && server.outboxDepth === 0) continue;
    stuck++;
    const why = roomWhy(await ofServer(context, client, server), { files: [] }, Date.now());
    out.item(hinted(why, context), () => out.hint(serverWhyText(why)));
  }
  for (const file of await waitingFiles(client)) {
    stuck++;
    out.item(file, fileText);
  }
  if (tor.state !== 'online' && tor.state !== 'off') out.say(torText(tor));
  else if (stuck === 0) out.say('Nothing is stuck.');
};

/** Something waits for them, or will not go on by itself. */
const isStuck = ({ state, paused }: Contact, { outbox }: Why): boolean =>
  outbox.depth > 0 || state === 'outgoing' || (state === 'accepted' && paused !== undefined);

const torText = ({ state, bootstrapPercent, lastError }: Status['tor']): string =>
  `Tor is ${state}, at ${bootstrapPercent} %${lastError === undefined ? '' : `: ${lastError.message}`}`;
