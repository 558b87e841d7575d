// Whom or what a name without its server means where this account has several servers: what is known here, else what the servers have.
import { expectedError, SottoError } from '../protocol/errors.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import type { MemberRow } from '../store/members.ts';
import { listServers, type ServerRow } from '../store/servers.ts';
import type { Core } from './core.ts';
import { quoted } from './references.ts';
import type { RoomConnection } from './room-connection.ts';
import { connectionNow } from './room-control.ts';
import { findMemberById, findServer, knownChannels, knownMembers, onlyMember, onlyServer } from './room-names.ts';
import { learnByName } from './room-people.ts';

/** The member of this name, or whose id begins so, on any server. Throws `member.unknown`, `name.ambiguous`, `server.*`. */
export const memberAnywhere = async (core: Core, reference: string, name: string): Promise<MemberRow> => {
  const known = knownMembers(core.db, name);
  const begun = known.length > 0 ? [] : listServers(core.db).map((one) => findMemberById(core.db, one, reference));
  const here = [...known, ...begun.flatMap((one) => one ?? [])];
  if (here.length > 0) return onlyMember(core.db, here);
  const { found, silent } = await askAll(core, (connection) => learnByName(core, connection, name));
  const there = found.map(({ answer }) => answer);
  if (there.length > 0) return onlyMember(core.db, there);
  throw new SottoError('member.unknown', { message: `There is no member ${quoted(name)}${besides(silent, name)}` });
};

/** The server of a channel that is to be joined: the only one is not asked. Throws `channel.unknown`, `name.ambiguous`, `server.*`. */
export const serverOfChannel = async (core: Core, name: string): Promise<ServerRow> => {
  const servers = listServers(core.db);
  if (servers.length < 2) return findServer(core.db, undefined);
  const known = new Set(
    knownChannels(core.db, name).flatMap(({ serverId, state }) => (state === 'left' ? [] : serverId)),
  );
  const { found, silent } = await askAll(core, (connection) => connection.request('channel.find', { name }));
  // A server that shows another one has none of this name.
  const named = found.filter(({ answer }) => answer.channel.name === channelNameOf(name));
  const there = new Set([...known, ...named.map(({ server }) => server.id)]);
  if (there.size > 0)
    return onlyServer(
      servers.filter(({ id }) => there.has(id)),
      `#${name}`,
    );
  throw new SottoError('channel.unknown', {
    message: `There is no channel #${name} that you may join: sotto channel list --all${besides(silent, `#${name}`)}`,
  });
};

type Asked<T> = {
  readonly found: readonly { readonly server: ServerRow; readonly answer: T }[];
  /** Servers that could not be asked. */
  readonly silent: readonly ServerRow[];
};

// A server that gives no answer hides nothing of the others.
const askAll = async <T>(core: Core, ask: (connection: RoomConnection) => Promise<T>): Promise<Asked<T>> => {
  const answers = await Promise.all(
    listServers(core.db).map(async (server) => {
      try {
        return { server, answer: await ask(await connectionNow(core, server)) };
      } catch (error) {
        const code = expectedError(error)?.code;
        if (code === undefined) throw error;
        return { server, isSilent: code !== 'member.unknown' && code !== 'channel.unknown' };
      }
    }),
  );
  return {
    found: answers.flatMap((one) =>
      'answer' in one && one.answer !== undefined ? [{ ...one, answer: one.answer }] : [],
    ),
    silent: answers.flatMap((one) => ('isSilent' in one && one.isSilent === true ? [one.server] : [])),
  };
};

const besides = (silent: readonly ServerRow[], name: string): string =>
  silent.length === 0 ? '' : `; could not be asked: ${silent.map(({ label }) => `${name}@${label}`).join(', ')}`;
