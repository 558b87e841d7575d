// Links of invites: made and read, and told apart from what a shell has left of one.
import { expect, test } from 'vitest';
import { makeInviteLink, parseInviteLink } from './invite-link.ts';

test('an invite link that ends at its first & says so', () => {
  const invite = {
    origin: 'wss://example.org:7443',
    serverKey: new Uint8Array(32).fill(7),
    token: 'token',
    trust: 'authority',
  } as const;
  const link = makeInviteLink(invite);
  expect(parseInviteLink(link)).toEqual(invite);
  for (const cut of [link.split('&')[0] ?? '', link.slice(0, link.indexOf('key=') + 20)])
    expect(() => parseInviteLink(cut)).toThrow('This link ends early: put it in quotes');
  expect(() => parseInviteLink('sotto:room?key=x')).toThrow('begins with sotto:room?');
});
