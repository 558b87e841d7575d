// What went wrong in systems before this one, and what must always be true of it: each with the tests that fail otherwise.

type Kept = Readonly<Record<string, readonly (readonly [file: string, title: string])[]>>;

/** What shipped wrong in earlier servers and clients of this kind, and the tests that fail on it here. */
export const SERVER_LESSONS: Kept = {
  'a plaintext went beside the ciphertext': [
    ['test/rooms/memory.test.ts', 'of what is said in encrypted channels and directly nothing is in the memory'],
  ],
  'any member could read what is between two others, and a ban did not stop reading': [
    ['test/rooms/authorization.test.ts', 'nobody is answered more than the table says'],
    ['test/rooms/order.test.ts', 'reading ends with the event that ends it'],
  ],
  'client and server declared their frames apart and disagreed': [
    ['test/attacks/promises.test.ts', 'both ends import one wire, whose largest messages fit its limit'],
    ['test/rooms/files.test.ts', 'many at once, sent while the server is away, go up when it is back'],
    ['test/rooms/faults.test.ts', 'a server that is killed under load'],
  ],
  'the identity key was made anew at every start': [
    ['test/rooms/server.test.ts', 'is found again by its members after a restart, with everything that it answered'],
  ],
  'history came from a cache, and search read only so far': [
    ['test/rooms/server.test.ts', 'is found again by its members after a restart, with everything that it answered'],
    ['test/server/log-model.test.ts', 'whatever is appended, erased, pruned and restarted, the log is what a log is'],
    ['test/rooms/jobs.test.ts', 'gives the newest first, page by page, of what its reader may see'],
  ],
  'no heartbeat, no deadline for a log-in, and slow readers lost messages unseen': [
    ['test/server/listener.test.ts', 'who does not answer pings is found, whoever answers stays'],
    ['test/server/listener.test.ts', 'the first message comes within 5 s of the upgrade, and the log-in within 10 s'],
    ['test/server/listener.test.ts', 'who does not read is closed, keeps little waiting, and disturbs nobody'],
    ['test/rooms/order.test.ts', 'who comes back to more than a socket takes gets it as they read it'],
  ],
  'each message cost processes, statements and flushes of its own': [
    ['test/server/lane.test.ts', 'makes one batch of a turn, the next of what comes meanwhile'],
    ['test/server/event-log-contract.ts', 'changes commit with their event, or neither does and the batch goes on'],
  ],
  'a lockout could be turned on anybody, errors told who exists, and a second factor was replaced without the old code':
    [
      ['test/rooms/members.test.ts', 'counts tries of one member, and locks nobody else, nor a known device'],
      [
        'test/rooms/members.test.ts',
        'is asked of another device, each code once, and changed only with the present one',
      ],
      ['test/rooms/authorization.test.ts', 'at a log-in that proves nothing, or something else'],
    ],
  'health, metrics and shutdown were open to everybody': [
    ['test/rooms/serve.test.ts', 'numbers and health are on a local address, without a name'],
  ],
  'errors were sentences, without request ids, cursors or a choice of version': [
    ['test/rooms/frames.test.ts', 'every frame gets one typed error, an answer or the end of its connection'],
    ['test/attacks/server-people.test.ts', 'speaks another version'],
    ['test/server/event-log-contract.ts', 'a reader resumes from where it is, or is told that it cannot'],
  ],
  'features vanished while tests looked at tables only': [
    ['test/commands.test.ts', 'reaches every RPC method'],
    [
      'test/architecture.test.ts',
      'every clause of PROTOCOL is cited by a test, and a test cites none that is not there',
    ],
  ],
  'documents described what was not there': [['scripts/check', 'scripts/docs.ts --check']],
  'gaps in the history that nobody noticed': [
    ['test/attacks/server-channels.test.ts', 'drops'],
    ['test/attacks/server-channels.test.ts', 'leaves a hole'],
    [
      'test/rooms/devices.test.ts',
      'a device that comes is the same member, is in the channels, and says what it cannot read',
    ],
  ],
  'slower and larger with the months': [
    ['test/sim/soak.test.ts', 'take no more memory'],
    ['test/rooms/order.test.ts', 'what nobody hears any more is not kept in memory, whoever ended it'],
    ['test/rooms/order.test.ts', 'what is full again is forgotten'],
  ],
  'no search over an encrypted history': [
    ['test/rooms/talk.test.ts', 'search finds what is there, and not what was deleted'],
  ],
};

/** The same of direct messengers over Tor. */
export const DIRECT_LESSONS: Kept = {
  'who sent an accept that nobody had asked for became a contact': [
    ['test/attacks/requests.test.ts', 'a stranger who sends an unsolicited accept is nobody afterwards'],
    ['test/attacks/requests.test.ts', 'an accept of another request, or a text before the accept, gets no_request'],
    ['test/attacks/requests.test.ts', 'an accept used twice, also under another id'],
    ['test/attacks/requests.test.ts', 'an accept that comes after the request was taken back is not taken'],
  ],
  'whoever said to be a contact replaced the key and the session of that contact': [
    ['test/attacks/sessions.test.ts', 'another Signal key under the address of a contact is refused, said once'],
    ['test/attacks/sessions.test.ts', 'so is another link key, also when we dial'],
    ['test/attacks/sessions.test.ts', 'sending stays ended, whatever comes from the pinned keys after that'],
    ['src/crypto/session.test.ts', 'only the pinned key is trusted, in both directions'],
  ],
  'what was typed for one went to whoever had got their place in the list': [
    ['src/core/names.test.ts', 'a place in a list is no reference'],
    ['src/core/names.test.ts', 'a name that is the beginning of another’s id is ambiguous'],
    ['test/attacks/requests.test.ts', 'a stranger whose nickname is the address of another contact'],
  ],
  'frames said who had sent them, and were believed': [
    ['test/attacks/frames.test.ts', 'a sender that a body or a frame names is not heard'],
    ['test/attacks/frames.test.ts', 'bodies that name a message of another conversation change nothing there'],
    ['test/attacks/files.test.ts', 'under the id of a file of somebody else has it ignored'],
  ],
  'identity, address and sessions had keys that nothing bound together': [
    ['src/net/link.test.ts', 'LINK-4: whoever answers for another address is refused'],
    ['src/net/link.test.ts', 'LINK-4: the certificate of somebody else'],
    ['src/crypto/identity.test.ts', 'with any byte changed, or cut, is refused'],
    ['src/crypto/session.test.ts', 'ID-5: the safety number is the same on both sides and changes with either key'],
  ],
  'a slip in an address was the address of somebody else': [
    ['src/crypto/identity.test.ts', 'a wrong word or letter is told'],
    ['src/crypto/identity.test.ts', 'what is mistyped is named'],
    ['src/crypto/address.test.ts', 'a letter outside the alphabet is named'],
  ],
  'bursts were lost on a stream that was used again, and shown as delivered': [
    ['src/net/link.test.ts', 'proves both sides and carries frames in order, both ways'],
    ['test/attacks/frames.test.ts', 'a peer that acknowledges nothing gets its window and no more, and loses the link'],
    [
      'src/core/heartbeat.test.ts',
      'ends when what was sent is not acknowledged in 30 s; it goes again over the next one',
    ],
    ['test/tor/many.test.ts', 'all say ten things to each at once: each comes once and in order'],
  ],
  'a request that was tried for a day had a time in it that was good for minutes': [
    [
      'test/attacks/requests.test.ts',
      'a request to somebody who is away for a day, between clocks that are hours apart',
    ],
    ['test/attacks/streams.test.ts', 'a recorded handshake with its records, sent to another stream, proves nothing'],
  ],
  'a lost step of making contact left a contact who could never be written to': [
    ['test/attacks/requests.test.ts', 'a request that is accepted long after its link ended'],
    ['test/attacks/requests.test.ts', 'a program that dies between any two commits of a request and its accept'],
    ['test/attacks/requests.test.ts', 'end as contacts though the'],
  ],
  'one row that could not be read stopped all sending, none was ever deleted, and one who was away made all others be dialled':
    [
      ['test/attacks/frames.test.ts', 'a row that is damaged fails, and what stands behind it arrives'],
      ['test/attacks/frames.test.ts', 'a contact that cannot be reached does not slow down another'],
      ['src/core/dials.test.ts', 'the first failure of one leaves the wait of another as it was'],
      ['test/sim/shard.ts', 'worlds of four people keep every invariant'],
    ],
  'deleted and expired words stayed in the index, and nothing expired without a screen': [
    ['src/store/store.test.ts', 'a deleted, an edited and an expired message leave no byte in database, index or WAL'],
    ['src/store/store.test.ts', 'messages keep their order, their versions, and leave the index when they go'],
    ['src/store/store.test.ts', 'a text that was replaced before it left, and an edit that was taken back'],
    ['src/core/conversation.test.ts', 'a message that expires ends on both sides without anybody looking'],
    ['test/e2e/direct.test.ts', 'ends on both sides while no front end is there'],
  ],
  'a migration left a copy in clear, and a passphrase was asked once, never changed, and all there was': [
    ['src/store/migrations.test.ts', 'copies the database before it changes rows, under the same key'],
    ['test/account/at-rest.test.ts', 'the copy from before an update stays until the new state is whole'],
    ['test/account/account.test.ts', 'is asked twice on a terminal and not shown'],
    ['test/account/account.test.ts', 'opens the account, is changed with the present one only'],
    ['test/account/account.test.ts', 'gives the same address back'],
  ],
  'the screen, and every call, waited for the network': [
    ['src/core/conversation.test.ts', 'one is offline: what was written waits'],
    ['src/core/dials.test.ts', 'many who are away are dialled a few at a time, and nobody is forgotten'],
    ['test/attacks/requests.test.ts', '10,000 of them: bounded rows and links, contacts go on, calls are answered'],
  ],
  'silent streams kept everybody out, and what was counted was what a sender called itself': [
    ['test/attacks/streams.test.ts', 'LINK-1: 50 that say nothing keep nobody out'],
    ['test/attacks/streams.test.ts', '300 of them hold 64 places, and a dial gets through'],
    ['test/attacks/requests.test.ts', 'links on which nobody speaks end, the oldest first'],
    ['test/attacks/frames.test.ts', 'above 200 frames a second the reader stops; others are served'],
  ],
  'a signal ended nothing well, to go on offline hung, and two programs opened one account': [
    ['test/cli/process.test.ts', 'ends at SIGTERM and SIGINT, and leaves no socket'],
    ['test/tor/unhappy.test.ts', 'is off by choice: nothing of it runs, and a wait for it ends at once'],
    ['test/account/account.test.ts', 'a second daemon of one is refused'],
    ['test/e2e/elsewhere.test.ts', 'a copy of a running account is told so'],
  ],
  'commands failed always, as no test went from a command line to somebody else': [
    ['test/cli/json.test.ts', 'is understood by every command of the table'],
    ['test/commands.test.ts', 'reaches every RPC method'],
    ['test/e2e/direct.test.ts', 'a text is delivered once, from arguments and from stdin'],
    ['test/e2e/direct.test.ts', 'reply, edit, reaction, pin and deletion reach the other side'],
  ],
  'one program signed other bytes than another, nobody verified them, and what came could not be stored': [
    ['src/crypto/room-event.test.ts', 'has the layout that is written down, and a signature over'],
    ['test/attacks/server-channels.test.ts', 'relabels a sender: it is not read as somebody else’s'],
    ['test/rooms/talk.test.ts', 'texts go both ways'],
  ],
  'it said connected before anybody could find the address': [
    ['test/cli/doctor.test.ts', 'which says that the clock is wrong and does not publish'],
    [
      'test/tor/faults.test.ts',
      'a Tor that no introduction point takes in is not reachable, and says so until one does',
    ],
    ['test/cli/process.test.ts', 'tells of Tor what has changed'],
  ],
  'messages were late or lost, and nobody said why': [
    ['test/cli/doctor.test.ts', 'tells link, last error, next retry, outbox and descriptor of somebody offline'],
    ['test/attacks/ended.test.ts', 'what is written to somebody who has removed me waits, and says so in words'],
    ['src/core/endings.test.ts', 'what nobody fetched in its time has failed, and goes again on the user’s word'],
  ],
  'nobody could see whether there was a connection': [
    ['test/cli/history.test.ts', 'status, why and doctor have the fields that scripts rely on'],
    ['src/core/events.test.ts', 'every kind comes, committed ones with a growing cursor, each with its object'],
    ['test/tor/unhappy.test.ts', 'that makes no progress for 30 s is told; status, doctor and why say what to try'],
  ],
  'keys could not be compared, nor an account got back, without leaving the terminal': [
    ['test/cli/contacts.test.ts', 'compares the picture of the code that the other side shows'],
    ['test/cli/contacts.test.ts', 'by reading the digits is noted with its time, and is taken back'],
    ['test/account/account.test.ts', 'gives the same address back'],
  ],
  'a send ended well whatever became of it, and no script could listen': [
    ['test/cli/history.test.ts', 'that waits for what cannot come ends at once with exit 4 and stays in the outbox'],
    ['test/cli/process.test.ts', 'exits as the contract says'],
    ['test/cli/process.test.ts', 'listens to kinds that exist, replays after a cursor, and tells of a gap'],
  ],
};

/** What must be true at every moment, and the tests that fail when it is not. */
export const INVARIANTS: Kept = {
  'a message and the step of the ratchet that brought it commit together': [
    ['src/core/conversation.test.ts', 'PRODUCT 1: who dies at any commit of a talk'],
  ],
  'only what is committed is acknowledged; what comes again is acknowledged again, and changes nothing': [
    ['src/core/disk-full.test.ts', 'who cannot write what came does not acknowledge it'],
    ['test/attacks/frames.test.ts', 'a frame that comes again is acknowledged again and changes nothing'],
    ['test/sim/shard.ts', 'worlds of four people keep every invariant'],
  ],
  'what was sent is in the outbox before that is said, and leaves it by a receipt, its time or a word of its user': [
    ['test/tor/kills.test.ts', 'lose nothing, double nothing, and keep the order'],
    ['test/sim/shard.ts', 'worlds of four people keep every invariant'],
    ['src/core/disk-full.test.ts', 'who cannot write what they send is told so, and nothing of it is there'],
    ['src/core/endings.test.ts', 'what waits fails when its time is over and not at the next sweep'],
    ['test/attacks/frames.test.ts', 'acknowledgements of frames that were never sent, or to somebody else'],
    ['test/attacks/frames.test.ts', 'nor do those of what waits behind the window'],
  ],
  'events tell what is committed, in its order, and go on behind any cursor': [
    ['test/sim/shard.ts', 'worlds of four people keep every invariant'],
    ['src/core/conversation.test.ts', 'events come in commit order with growing cursors, and resume'],
    ['test/daemon/socket.test.ts', 'a replay of more than the buffer holds comes whole and in order to whoever reads'],
    ['test/daemon/socket.test.ts', 'a cursor that was pruned, or is of another store, gives one gap'],
  ],
  'each conversation is shown in the order in which it was stored, whatever is told of it later': [
    ['test/attacks/frames.test.ts', 'PRODUCT 5: neither acknowledgements in another order'],
    [
      'src/store/store.test.ts',
      'in the order of its log, a channel is read in pages that neither miss nor repeat a row',
    ],
    ['test/sim/shard.ts', 'worlds of four people keep every invariant'],
  ],
  'words and keys are in memory, in the encrypted database and on the screen only, and leave nothing when they go': [
    ['test/e2e/direct.test.ts', 'PRODUCT 6: of what was said nothing stands in clear in any file'],
    ['test/rooms/memory.test.ts', 'of what is said in encrypted channels and directly nothing is in the memory'],
    ['src/store/store.test.ts', 'a deleted, an edited and an expired message leave no byte in database, index or WAL'],
    ['test/server/sqlite-event-log.test.ts', 'holds what was erased nowhere a moment later'],
    ['src/protocol/errors.test.ts', 'anything else is our bug and tells nothing of its text'],
    ['test/daemon/hooks.test.ts', 'nothing of it in arguments or environment'],
  ],
  'nothing goes around Tor, and a server is reached through it unless its user says otherwise': [
    ['test/tor/quiet.test.ts', 'the demo with nothing but loopback: daemons hold Unix sockets, Tor stays on loopback'],
    [
      'test/tor/bridges.test.ts',
      'goes through the bridge, or the transport to it, that is configured, and through nothing',
    ],
    [
      'test/server/link.test.ts',
      'the way to a server is Tor but to this machine, where the user says so, or without Tor',
    ],
    ['src/net/tor-network.test.ts', 'a server is asked for at Tor by its name'],
  ],
  'a peer or a server crashes nothing, blocks nothing, fills nothing, is nobody else, and changes no key unseen': [
    ['test/fuzz/registry.test.ts', 'by what its file does with bytes'],
    ['test/attacks/frames.test.ts', 'ciphertexts of any type and shape are refused one by one'],
    ['test/attacks/frames.test.ts', 'above 200 frames a second the reader stops; others are served'],
    ['test/attacks/requests.test.ts', '10,000 of them: bounded rows and links, contacts go on, calls are answered'],
    ['test/attacks/sessions.test.ts', 'another Signal key under the address of a contact is refused, said once'],
    ['src/net/link.test.ts', 'LINK-3: a contact who relays the handshake to another contact proves nothing'],
    ['test/attacks/server-people.test.ts', 'floods: pages without end'],
    ['test/attacks/server-people.test.ts', 'answers without sense'],
    ['test/attacks/server-people.test.ts', 'moves a name to another key'],
  ],
  'whatever others can fill or keep waiting has a limit, in a file that both ends of each wire import': [
    ['test/attacks/promises.test.ts', 'a limit that is not in the file of limits is one of these'],
    ['test/attacks/promises.test.ts', 'both ends import one wire, whose largest messages fit its limit'],
    [
      'test/attacks/frames.test.ts',
      'unknown kinds without end, to a peer that acknowledges nothing, stop at the outbox',
    ],
    ['src/net/link.test.ts', 'FRAME-6: a link whose other side reads nothing ends before much waits'],
    ['test/daemon/socket.test.ts', 'with too many calls at once is told to send them later'],
    ['test/daemon/socket.test.ts', 'a line over 1 MiB gets one error and the end, whatever follows it'],
    ['test/server/lane.test.ts', 'takes no more than it can hold'],
    ['test/server/listener.test.ts', 'who does not read is closed, keeps little waiting, and disturbs nobody'],
    ['test/attacks/server-people.test.ts', 'never answers: who waits is told'],
  ],
  'every program may crash anywhere: what it kept is whole': [
    ['test/awaits/awaits.test.ts', 'each await is come to, killed before and after its step'],
    ['test/tor/kills.test.ts', 'lose nothing, double nothing, and keep the order'],
    ['test/sim/files.test.ts', 'worlds of two people lose no file, and keep nothing of one that is over'],
    ['test/account/backup.test.ts', 'a backup that is killed leaves no file under its name'],
    ['test/account/backup.test.ts', 'a restore that is killed leaves no account, or the whole one'],
    ['test/account/backup.test.ts', 'a migration that is killed has changed all or nothing'],
    ['test/account/rekey.test.ts', 'killed at any step, exactly one passphrase opens'],
    ['test/server/killed.test.ts', 'twenty who publish, and kill -9 four times'],
    ['test/server/killed.test.ts', 'a backup, and a restore of one: it is there whole, or can be made again'],
    ['test/sim/rooms.test.ts', 'worlds of a server and three people keep every invariant'],
    ['test/cli/doctor.test.ts', 'database: a rule of its tables does not hold'],
  ],
  'nothing from outside moves, hides, turns or fakes a line of a terminal; a name is a short one': [
    ['test/attacks/screen.test.ts', 'a nickname and a note of a request'],
    ['test/attacks/screen.test.ts', 'a message, a reaction to one, and the name of a file'],
    ['src/protocol/safe-text.test.ts', 'is idempotent and lets nothing dangerous through, whatever comes'],
    ['src/protocol/safe-text.test.ts', 'a name is one short line and never empty'],
    [
      'test/attacks/server-people.test.ts',
      'names, topics and errors with escape sequences: a terminal gets none of it',
    ],
    ['test/cli/json.test.ts', 'is understood by every command of the table'],
  ],
};
