// A member of a server and a contact as one person: only while both have said so to each other, over the link between them.
import { keyOfAddress } from '../crypto/address.ts';
import { memberIdOf, memberSecrets, signMemberLink, verifyMemberLink } from '../crypto/member.ts';
import { isPrimeOrderKey } from '../crypto/subgroup.ts';
import { fromBase64, isEqual, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { idBytes } from '../protocol/ids.ts';
import { MEMBER_LINKS_PER_CONTACT_MAX } from '../protocol/limits.ts';
import type { SealedBody } from '../protocol/peer.ts';
import type { Contact } from '../protocol/rpc-objects.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import {
  getMemberLink,
  listMemberLinks,
  listMemberLinksOfMember,
  type MemberLinkRow,
  putMemberLink,
  removeMemberLinks,
} from '../store/member-links.ts';
import { getMember, getMemberById, listMembersOfContact, type MemberRow, patchMember } from '../store/members.ts';
import { getServerByKey, type ServerRow } from '../store/servers.ts';
import { type Changes, type Core, refuse } from './core.ts';
import { enqueue } from './outbox.ts';
import { memberName } from './room-names.ts';
import { theServer } from './room-rows.ts';

/**
 * Says that a member is a contact, and tells the contact who I am on that server. They are shown as one person once the contact
 * has said the same. Throws `contact.notAccepted`, `member.other` when either is somebody else's already, `outbox.full`.
 */
export const linkMember = (core: Core, changes: Changes, member: MemberRow, contact: ContactRow): void => {
  const server = theServer(core.db, member.serverId);
  if (contact.state !== 'accepted' || contact.paused === 'keyChanged') throw new SottoError('contact.notAccepted');
  const known = getMemberLink(core.db, contact.id, server.serverKey);
  const isOther = known?.memberKey != null && !isEqual(known.memberKey, member.memberKey);
  const others = listMemberLinksOfMember(core.db, member.id).filter(({ contactId }) => contactId !== contact.id);
  if (isOther || others.length > 0 || (known?.memberRow ?? member.id) !== member.id)
    throw new SottoError('member.other', {
      message: isOther
        ? `${contact.name} says to be another member there`
        : 'One of the two is linked with somebody else: sotto member unlink',
    });
  putMemberLink(core.db, { contactId: contact.id, serverKey: server.serverKey }, { memberRow: member.id });
  const mine = memberSecrets(core.serversKey, server.serverKey);
  const said = { serverId: server.serverKey, from: core.address, to: contact.address };
  enqueue(core, changes, contact.id, {
    kind: 'member.link',
    server: toBase64(server.serverKey),
    member: toBase64(mine.memberKey),
    signature: toBase64(signMemberLink(mine.memberSeed, keysOf(said))),
  });
  settle(core, changes, contact, server.serverKey);
};

/** Takes back that a member is a contact, and tells the contact. Throws `member.notLinked`. */
export const unlinkMember = (core: Core, changes: Changes, member: MemberRow): void => {
  const [link] = listMemberLinksOfMember(core.db, member.id);
  if (link === undefined) throw new SottoError('member.notLinked');
  part(core, changes, link, '');
  putMemberLink(core.db, link, { memberRow: null });
  if (getContact(core.db, link.contactId)?.state === 'accepted')
    enqueue(core, changes, link.contactId, { kind: 'member.unlink', server: toBase64(link.serverKey) });
};

/** Takes a contact's word for who they are on a server; what their member key has not signed is nothing. */
export const applyMemberLink = (
  core: Core,
  changes: Changes,
  contact: ContactRow,
  body: Extract<SealedBody, { kind: 'member.link' }>,
): void => {
  const [serverKey, memberKey] = [fromBase64(body.server), fromBase64(body.member)];
  const keys = keysOf({ serverId: serverKey, from: contact.address, to: core.address });
  if (!isPrimeOrderKey(memberKey) || !verifyMemberLink(memberKey, keys, fromBase64(body.signature)))
    return refuse(core, 'certificate.invalid');
  const known = getMemberLink(core.db, contact.id, serverKey);
  if (known === undefined && listMemberLinks(core.db, contact.id).length >= MEMBER_LINKS_PER_CONTACT_MAX)
    return refuse(core, 'frame.invalid');
  if (known !== undefined && (known.memberKey === null || !isEqual(known.memberKey, memberKey)))
    part(core, changes, known, 'they say to be another member');
  putMemberLink(core.db, { contactId: contact.id, serverKey }, { memberKey });
  settle(core, changes, contact, serverKey);
};

/** A contact has taken back who they are on a server. */
export const applyMemberUnlink = (
  core: Core,
  changes: Changes,
  contact: ContactRow,
  body: Extract<SealedBody, { kind: 'member.unlink' }>,
): void => {
  const link = getMemberLink(core.db, contact.id, fromBase64(body.server));
  if (link === undefined) return;
  part(core, changes, link, 'they took it back');
  putMemberLink(core.db, link, { memberKey: null });
};

/** A contact is none any more, or shows another key: nothing holds that was said before. */
export const breakMemberLinks = (core: Core, changes: Changes, contactId: number, why: string): void => {
  for (const link of listMemberLinks(core.db, contactId)) part(core, changes, link, why);
  removeMemberLinks(core.db, contactId);
};

/** Who a contact is on my servers: `linked` when both have said so, `said` when I have, `asked` when they have. */
export const membersOf = (core: Core, contactId: number): NonNullable<Contact['members']> =>
  listMemberLinks(core.db, contactId).flatMap((link) => {
    const server = getServerByKey(core.db, link.serverKey);
    if (server === undefined) return [];
    const member = memberOf(core, link, server);
    const isLinked = member?.contactId === contactId;
    return [
      {
        name: member === undefined ? shortId(link) : memberName(core.db, member.id),
        server: server.label,
        state: isLinked ? 'linked' : link.memberRow === null ? 'asked' : 'said',
      },
    ];
  });

// Whom I named, else whom they say to be: who may not be known here yet.
const memberOf = (core: Core, { memberRow, memberKey }: MemberLinkRow, server: ServerRow): MemberRow | undefined => {
  if (memberRow !== null) return getMember(core.db, memberRow);
  return memberKey === null
    ? undefined
    : getMemberById(core.db, server.id, idBytes(memberIdOf(server.serverKey, memberKey)));
};

const shortId = ({ serverKey, memberKey }: MemberLinkRow): string =>
  memberIdOf(serverKey, memberKey ?? new Uint8Array()).slice(0, 8);

const settle = (core: Core, changes: Changes, contact: ContactRow, serverKey: Uint8Array<ArrayBuffer>): void => {
  const link = getMemberLink(core.db, contact.id, serverKey);
  const member = link?.memberRow == null ? undefined : getMember(core.db, link.memberRow);
  if (link?.memberKey == null) return;
  if (member === undefined) {
    const server = getServerByKey(core.db, serverKey);
    const row = server === undefined ? undefined : memberOf(core, link, server);
    return changes.event({
      kind: 'member.linkAsked',
      contactId: contact.id,
      ...(row === undefined ? {} : { memberRow: row.id }),
    });
  }
  if (!isEqual(link.memberKey, member.memberKey) || member.contactId === contact.id) return;
  patchMember(core.db, member.id, { contactId: contact.id });
  changes.event({ kind: 'member.linked', contactId: contact.id, memberRow: member.id });
};

// They are two people again, and it is said.
const part = (core: Core, changes: Changes, { contactId, serverKey }: MemberLinkRow, detail: string): void => {
  const server = getServerByKey(core.db, serverKey);
  for (const member of listMembersOfContact(core.db, contactId)) {
    if (member.serverId !== server?.id) continue;
    patchMember(core.db, member.id, { contactId: null });
    changes.event({ kind: 'member.unlinked', contactId, memberRow: member.id, detail });
  }
};

const keysOf = ({
  serverId,
  from,
  to,
}: {
  readonly serverId: Uint8Array;
  readonly from: string;
  readonly to: string;
}) => ({
  serverId,
  from: keyOfAddress(from),
  to: keyOfAddress(to),
});
