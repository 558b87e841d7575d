// Every limit of every queue, buffer, wait and loop. Units are last in the names. Both ends of each wire import this file.

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const DAY_MS = DAY;
/** A time that never comes. */
export const FOREVER = Number.MAX_SAFE_INTEGER;

// text and names
export const TEXT_BYTES_MAX = 16 * KIB;
/** A text as JSON, so that it fits into the largest bucket with all that goes around it. */
export const TEXT_JSON_BYTES_MAX = 32 * KIB - 512;
export const NAME_CHARS_MAX = 64;
export const NOTE_CHARS_MAX = 500;
export const REACTION_CHARS_MAX = 32;
export const REACTIONS_PER_MESSAGE_MAX = 20;
export const EDITS_PER_MESSAGE_MAX = 100;
export const QUERY_CHARS_MAX = 1000;

// the link
export const LINK_CELL_BYTES = 480;
export const LINK_VERSION = 1;
export const HANDSHAKE_MESSAGE_BYTES_MAX = 4 * KIB;
export const HANDSHAKE_FIRST_MS_MAX = 5 * SECOND;
export const HANDSHAKE_MS_MAX = 10 * SECOND;
export const UNPROVEN_STREAMS_MAX = 64;
export const LINKS_MAX = 128;
export const DIALS_MAX = 8;
/** A first dial gets so long, each further one twice as long: some circuits hang where a fresh one does not. */
export const DIAL_MS_MIN = 5 * SECOND;
export const DIAL_MS_MAX = 20 * SECOND;
export const FRAME_BYTES_MAX = 48 * KIB;
export const LINK_BUFFER_BYTES_MAX = 1 * MIB;
/** More that a peer does not read ends its link: a window of frames and a file's share are far less. */
export const LINK_UNREAD_BYTES_MAX = 4 * MIB;
/** How long a closed link may still send what is queued. */
export const LINK_CLOSE_MS_MAX = 5 * SECOND;
export const LINK_IDLE_MS = 10 * MINUTE;
export const LINK_PING_MS = 30 * SECOND;
/** How old what is kept of when a contact was last there may be while their link is up. */
export const LAST_SEEN_KEPT_MS = 10 * MINUTE;
export const LINK_PING_MISSED_MAX = 2;
export const LINK_CROSSED_MS = 30 * SECOND;
/** How soon a link must answer after the other side has dialled another. */
export const LINK_DOUBT_MS = 4 * SECOND;
export const VIRTUAL_PORT = 9871;
export const ONION_STREAMS_MAX = 32;

// frames and delivery
export const SEALED_BUCKETS_BYTES = [320, 1 * KIB, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB] as const;
export const JSON_DEPTH_MAX = 8;
export const WINDOW_FRAMES_MAX = 64;
export const WINDOW_BYTES_MAX = 1 * MIB;
export const BATCH_FRAMES_MAX = 64;
export const FRAMES_PER_SECOND_MAX = 200;
export const VOLATILE_PER_SECOND_MAX = 2;
export const ACK_IDS_MAX = 64;
/** Frames come in order: so many may have been taken back after they were sealed. More cost their derivation, and prove nothing. */
export const SKIPPED_FRAMES_MAX = 2_000;
/** Messages that one receipt of a contact names. */
export const READ_TARGETS_MAX = 256;
export const ACK_MS_MAX = 30 * SECOND;
/** The same while something comes from the other side: on a slow link what is acknowledged lies long in between. */
export const ACK_TALKING_MS_MAX = 10 * MINUTE;
export const OUTBOX_FRAMES_MAX = 20_000;
export const OUTBOX_EXPIRY_MS = 30 * DAY;
export const OUTBOX_EXPIRY_MS_MAX = 90 * DAY;
export const FRAME_IDS_KEPT_MS = 100 * DAY;
export const CONTACT_MESSAGES_PER_DAY_MAX = 50_000;
export const CONTACT_BYTES_PER_DAY_MAX = 256 * MIB;
export const RETRY_MS_MIN = 30 * SECOND;
export const RETRY_MS_MAX = 15 * MINUTE;

// requests and resets
export const REQUESTS_PENDING_MAX = 100;
export const REQUEST_EXPIRY_MS = 30 * DAY;
export const RESET_INTERVAL_MS = 10 * MINUTE;
export const RESETS_PER_DAY_MAX = 5;

// contacts and conversations
export const CONTACTS_MAX = 5_000;
/** What happened to one contact is kept so far back. */
export const CONTACT_HISTORY_MAX = 500;
/** Servers on which a contact may say who they are. */
export const MEMBER_LINKS_PER_CONTACT_MAX = 32;
export const PINS_PER_CONVERSATION_MAX = 100;
export const EXPIRY_MS_MIN = 1 * SECOND;
export const EXPIRY_MS_MAX = 365 * DAY;

// files
export const FILE_CHUNK_BYTES = 32 * KIB;
export const FILE_BYTES_MAX = 64 * 1024 * MIB;
export const FILE_NAME_BYTES_MAX = 255;
export const FILE_QUOTA_BYTES = 16 * 1024 * MIB;
/** Files that are served at once, and files that are fetched at once; of one contact fewer. */
export const FILE_TRANSFERS_MAX = 4;
export const FILE_TRANSFERS_PER_PEER_MAX = 2;
/** A link for a file on which nothing moves for so long ends. */
export const FILE_STALL_MS = 2 * MINUTE;
/** How much of a transfer may have to go again after a crash: so many chunks, or what came in so long. */
export const FILE_UNKEPT_CHUNKS_MAX = 64;
export const FILE_UNKEPT_MS_MAX = 1 * SECOND;
/** Files that front ends write at once, and how long one may wait for its next bytes. */
export const FILE_SPOOLS_MAX = 8;
export const FILE_SPOOL_IDLE_MS = 1 * HOUR;

// events for front ends
export const EVENTS_KEPT_MS = 30 * DAY;
export const EVENTS_KEPT_MAX = 100_000;
export const EVENT_PAGE_MAX = 500;
// A page that fits a front end's buffer, RPC_BUFFER_BYTES_MAX, even when each event is of the longest text, escaped.
export const LISTEN_PAGE_MAX = 32;

// local RPC
export const RPC_LINE_BYTES_MAX = 1 * MIB;
export const RPC_BATCH_MAX = 100;
export const RPC_CONNECTIONS_MAX = 64;
export const RPC_IN_FLIGHT_MAX = 64;
export const RPC_BUFFER_BYTES_MAX = 4 * MIB;
export const RPC_START_MS_MAX = 20 * SECOND;
/** Of an account that an older version has written: its database is copied, changed and looked through. */
export const UPGRADE_MS_MAX = 30 * MINUTE;
// A daemon greets as soon as it has accepted: one that has not by then is stopped, or hangs.
export const RPC_GREETING_MS_MAX = 20 * SECOND;
export const PAGE_DEFAULT = 50;
export const PAGE_MAX = 5_000;
/** Of the bodies of an answer, but of one; escaped as JSON, twice as much fits a front end's buffer, RPC_BUFFER_BYTES_MAX. */
export const PAGE_BYTES_MAX = 2 * MIB;
export const WAIT_MS_DEFAULT = 60 * SECOND;
export const WAIT_MS_MAX = 24 * HOUR;
export const SOCKET_PATH_BYTES_MAX = 107;
/** As long as an argument of a program: what is too long for a path is told by the system. */
export const PATH_CHARS_MAX = 128 * KIB;

// pictures with a QR code
export const PICTURE_BYTES_MAX = 16 * MIB;
export const PICTURE_PIXELS_MAX = 13_000_000;
export const PICTURE_SCANS_MAX = 64;
export const QR_SEARCH_MS_MAX = 3 * SECOND;

// hooks and notifications
export const HOOKS_RUNNING_MAX = 4;
export const HOOK_MS_MAX = 10 * SECOND;
export const HOOK_OUTPUT_BYTES_MAX = 64 * KIB;
export const HOOK_TRIES_MAX = 3;
export const NOTIFY_INTERVAL_MS = 10 * SECOND;

// tor
export const TOR_VERSION_MIN = '0.4.8';
export const TOR_VERSION_GOOD = '0.4.9.11';
/** How soon we look again whether another copy of the account still runs. */
export const PROBE_MS_MIN = 10 * SECOND;
export const PROBE_MS_MAX = 5 * MINUTE;
export const TOR_STUCK_MS = 30 * SECOND;
export const TOR_RESTART_MS_MIN = 1 * SECOND;
export const TOR_RESTART_MS_MAX = 60 * SECOND;
export const TOR_CONTROL_LINE_BYTES_MAX = 1 * MIB;
/** How long Tor may take to open its control socket, and to answer a command there. */
export const TOR_CONTROL_MS_MAX = 10 * SECOND;
export const TOR_COMMAND_MS_MAX = 30 * SECOND;
/** Between two looks whether Tor still answers. */
export const TOR_LOOK_MS = 30 * SECOND;

// connections to a server
export const SERVER_CONNECTIONS_MAX = 10_000;
/** Files and sockets that a server keeps free for itself: its database, blobs, those who are turned away. */
export const SERVER_FILES_KEPT = 128;
export const SERVER_UNPROVEN_PER_SOURCE_MAX = 20;
/** Of one device, those among them that it does not know to be lost. */
export const SERVER_CONNECTIONS_PER_DEVICE_MAX = 8;
/** From the connection to the end of its upgrade, and from there to the first message. */
export const SERVER_FIRST_FRAME_MS_MAX = 5 * SECOND;
export const SERVER_LOGIN_MS_MAX = 10 * SECOND;
export const SERVER_PING_MS = 30 * SECOND;
export const SERVER_PINGS_MISSED_MAX = 2;
/** The largest message that a server takes. */
export const SERVER_MESSAGE_BYTES_MAX = 64 * KIB;
/** What may wait for one reader, and so the largest message that a client takes. */
export const SERVER_UNSENT_BYTES_MAX = 256 * KIB;
/** How long a closed connection may still send what is queued. */
export const SERVER_CLOSE_MS_MAX = 5 * SECOND;
export const SERVER_DIAL_MS_MAX = 20 * SECOND;
export const UPGRADE_BYTES_MAX = 8 * KIB;
export const UPGRADE_HEADERS_MAX = 64;

// at rest
export const ARGON2_MEMORY_KIB = 64 * KIB;
export const ARGON2_MEMORY_KIB_MIN = 16 * KIB;
export const ARGON2_MEMORY_KIB_MAX = 1024 * KIB;
export const ARGON2_PASSES = 3;
export const ARGON2_PASSES_MAX = 10;
export const ARGON2_LANES = 4;
export const ARGON2_LANES_MAX = 16;
export const BACKUP_CHUNK_BYTES = 64 * KIB;
/** Of one row in a backup. */
export const BACKUP_LINE_CHARS_MAX = 4 * MIB;
/** A log that has grown so large is kept once, and begins anew. */
export const LOG_FILE_BYTES_MAX = 8 * MIB;
/** What waits for room on the disk: more than one line with all that a hook said, escaped, for a longer one would be dropped. */
export const LOG_FILE_WAITING_BYTES_MAX = 1 * MIB;
export const CHECK_MS_MAX = 1 * HOUR;
export const CHECK_OUTPUT_BYTES_MAX = 64 * KIB;
export const DISK_RETRY_MS = 10 * SECOND;
/** So many commits in the write-ahead log of an account are moved into the database once it is quiet: nothing was committed for so long. */
export const WAL_COMMITS_MIN = 32;
export const WAL_QUIET_MS = 1 * SECOND;
/** Room that an account's write-ahead log has from the start, about as much as SQLite lets it take; and what the disk has free then. */
export const WAL_ROOM_BYTES = 4 * MIB + 128 * KIB;
export const WAL_ROOM_FREE_BYTES_MIN = 256 * MIB;

// rooms: events and channels
/** The JSON of an event, so that it fits into the largest bucket with its header and signature. */
export const EVENT_CONTENT_BYTES_MAX = 32 * KIB - 256;
export const CHANNEL_NAME_CHARS_MAX = 32;
export const TOPIC_CHARS_MAX = 500;
export const MENTIONS_MAX = 32;
export const FILE_BLOBS_MAX = 256;
/** How far back an event tells what its author has seen. */
export const HISTORY_SEEN_EVENTS = 64;
/** Members of a channel whose messages are sealed for each of them. */
export const SEALED_MEMBERS_MAX = 256;
export const CHANNEL_MEMBERS_MAX = 20_000;
export const CHANNEL_INVITED_MAX = 1_000;
/** Invitations to channels of one server that are kept here and told; `channel list --all` shows the others. */
export const INVITATIONS_KEPT_MAX = 100;
export const CHANNEL_BANNED_MAX = 10_000;
/** Those that a channel begins with. */
export const CHANNEL_FIRST_MEMBERS_MAX = 64;
/** How many control events a removal may not have seen. */
export const UNSEEN_CONTROLS_MAX = 64;
export const SLOW_MS_MAX = 6 * HOUR;
export const RETENTION_MS_MIN = 1 * HOUR;
export const RETENTION_MS_MAX = 3_650 * DAY;

// rooms: keys
export const CHANNEL_ARGON2_MEMORY_KIB = 256 * KIB;
export const CHANNEL_ARGON2_MEMORY_KIB_MIN = 64 * KIB;
export const CHANNEL_ARGON2_PASSES_MIN = 3;
export const PASSPHRASE_WORDS = 6;
export const SENDER_KEY_MESSAGES_MAX = 1_000;
export const SENDER_KEY_MS_MAX = 7 * DAY;
/** No chain is longer: what asks to be wound further forward does not open. */
export const SENDER_KEY_STEPS_MAX = 2_000;
/** Epochs of a channel whose sender key of a device is kept, the last ones. */
export const SENDER_KEY_EPOCHS_MAX = 32;
/** One-time keys of each kind that a device keeps on a server. */
export const PREKEYS_PUBLISHED = 100;
/** With fewer left there, a device uploads more. */
export const PREKEYS_LOW = 50;
/** One-time keys of each kind whose private half a device keeps, and so the most that a server keeps: beyond, the oldest go. */
export const PREKEYS_KEPT_MAX = 300;
/** The most that it holds before all that came for it has been read, which the oldest may open. */
export const PREKEYS_HELD_MAX = 600;
/** How long a message waits for the keys of a member who has published none. */
export const KEYLESS_MS_MAX = 30 * SECOND;
export const PREKEY_ROTATE_MS = 7 * DAY;
/** How long a signed or last-resort key still opens first messages after its week. */
export const PREKEY_LATE_MS = 30 * DAY;
/** Uses of last-resort keys that are remembered; with half of them a new key is due. */
export const LAST_RESORT_USES_MAX = 4_096;

// calls
/** Somebody who joins moves every stream one step on: so many are tried for an id that is not known. */
export const STREAM_STEPS_MAX = 8;
export const STREAM_FRAMES_MAX = 2 ** 24;
/** Calls of a server at once. */
export const CALLS_MAX = 1_000;
/** Calls of one answer, which fits what a client takes even when all are full. */
export const CALL_PAGE_MAX = 32;
/** Devices in one call. */
export const CALL_PEOPLE_MAX = 32;
/** Devices of one member in calls of one server. */
export const CALL_DEVICES_MAX = 4;
/** Devices that are heard at once: a place is free so long after its last frame. */
export const CALL_TALKERS_MAX = 8;
export const CALL_TALKER_MS = 500;
/** How often who found no place is told. */
export const CALL_BUSY_MS = 1 * SECOND;
export const CALL_TICKET_MS = 10 * SECOND;
/** How long somebody without a call link stays in the call: it is being dialled again. */
export const CALL_REDIAL_MS = 60 * SECOND;
/** A call link is asked for a sign of life after so long, and ends without one after three times that. */
export const CALL_PING_MS = 10 * SECOND;
export const CALL_FRAME_BYTES_MAX = 400;
/** Messages of one call link: a stall ends in a burst, which must not be cut. */
export const CALL_FRAME_RATE = { burst: 150, perSecond: 55 } as const;
/** Messages over that rate with which a call link ends. */
export const CALL_OVER_RATE_MAX = 1_000;
/** The streams of a device that are let through: the one of now, and the one before, whose frames are under way. */
export const CALL_STREAMS_MAX = 2;
export const CALL_REPORT_MS = 200;
/** How soon others are told that a call has changed, of many changes once. */
export const CALL_TELL_MS = 100;
/** A listener is sent frames while none is unreported for so long, and so many bytes; what waits for longer is dropped. */
export const CALL_WINDOW_MS = { clear: 500, tor: 3 * SECOND } as const;
export const CALL_WINDOW_BYTES_MAX = 128 * KIB;
export const CALL_WAITING_BYTES_MAX = 256 * KIB;
/** A stream's announcement, sealed for one device or for all; and how many go in one request. */
export const CALL_SEALED_BYTES_MAX = 4 * KIB;
export const CALL_SEALED_MAX = 64;

// rooms: the log and its readers
export const LOG_BATCH_EVENTS_MAX = 1_000;
export const LOG_BATCH_BYTES_MAX = 1 * MIB;
/** Events that wait for their commit, and their bytes: more are answered `unavailable` at once. */
export const LOG_WAITING_EVENTS_MAX = 10_000;
export const LOG_WAITING_BYTES_MAX = 32 * MIB;
/** How soon after a commit the next one begins: what is published meanwhile is one batch, told in one write a reader. */
export const COMMIT_MS = 5;
/** How long a publish waits for its commit. */
export const LOG_WAIT_MS_MAX = 5 * SECOND;
export const LOG_RETRY_MS_MIN = 50;
export const LOG_RETRY_MS_MAX = 1 * SECOND;
/** How soon after an erasure the write-ahead log holds nothing of it. */
export const ERASURE_WAL_MS = 5 * SECOND;
/** Rows of members and memberships that a server keeps in memory. */
export const STANDINGS_MAX = 100_000;
/** Channels whose state, and whose last event, a server keeps in memory. */
export const CHANNEL_STATES_MAX = 10_000;
export const LOG_HEADS_MAX = 10_000;
export const RING_EVENTS_MAX = 200;
export const RING_BYTES_MAX = 256 * KIB;
export const RINGS_BYTES_MAX = 64 * MIB;
export const HELD_BATCHES_MAX = 256;
export const HELD_BYTES_MAX = 1 * MIB;
/** How long a reader waits for what is missing before it asks the log. */
export const GAP_MS = 25;

// rooms: what a server does now and then
export const JOB_ERASE_MS = 10 * SECOND;
export const JOB_MS = 1 * MINUTE;
export const JOB_TIDY_MS = 1 * HOUR;
/** Longer than any of them takes. */
export const JOB_LEASE_MS = 10 * MINUTE;
export const ATTEMPTS_KEPT_MS = 1 * DAY;
export const AUDIT_KEPT_MS = 365 * DAY;
/** How long a blob that nobody refers to is left alone: somebody may be about to. */
export const BLOB_UNUSED_MS = 1 * HOUR;

// rooms: files
export const BLOB_PART_BYTES_MAX = 1 * MIB;

// rooms: a server and its members
export const MEMBER_NAME_CHARS_MAX = 32;
export const STATUS_TEXT_CHARS_MAX = 140;
export const ROOM_PAGE_MAX = 500;
export const EVENT_BODY_BYTES_MAX = 36 * KIB;
/** A control, which is kept for ever: no kind that we know needs the half, so that there is room for newer ones. */
export const CONTROL_BODY_BYTES_MAX = 8 * KIB;
export const ROOM_PAGE_BYTES_MAX = 128 * KIB;
export const RESUME_CHANNELS_MAX = 1_000;
export const INVITE_MS = 7 * DAY;
export const INVITE_MS_MAX = 3_650 * DAY;
export const INVITE_USES_MAX = 10_000;
/** Lines of the audit log in one answer. */
export const AUDIT_LINES_MAX = 10_000;
export const PASSWORD_HASHES_MAX = 2;
export const RECOVERY_CODES = 10;
export const SECOND_TRIES_MAX = 10;
export const SECOND_WINDOW_MS = 1 * HOUR;
export const TOTP_STEP_MS = 30 * SECOND;
export const MEMBER_FILES_BYTES_MAX = 4 * 1024 * MIB;
export const UPLOAD_MS = 1 * DAY;
/** Bytes of a file in one message. */
export const WIRE_PART_BYTES = 32 * KIB;
/** What one request for a file gives at most: the next one says how far the reader is. */
export const BLOB_PARTS_AHEAD_BYTES = 1 * MIB;
/** Events of a channel that are taken in one transaction. */
export const ROOM_BATCH_EVENTS_MAX = 64;
/** Events that came and were not taken yet: more, and the connection ends and resumes later. */
export const ROOM_INCOMING_MAX = 20_000;
export const ROOM_INCOMING_BYTES_MAX = 32 * MIB;
/** Notices that came and were not acted on yet: more are lost. */
export const ROOM_NOTICES_MAX = 1_000;
/** How often a channel is brought level before its server is believed to lead us round in a circle. */
export const ROOM_LEVEL_TRIES_MAX = 8;
/** What a server may make of a channel has an end: the first gaps go. */
export const GAPS_KEPT_MAX = 200;
/** What a server shows of members that is not theirs, told and remembered on one visit. */
export const MEMBER_DOUBTS_TOLD_MAX = 1_000;
/** Keys of one member for channels that are not known, on one visit. */
export const UNMET_ASKED_MAX = 20;
/** What does not open of one member in a `members` channel, and waits for its key: more, and the first are given up. */
export const PENDING_OF_MEMBER_MAX = 1_000;
export const ROOM_LIST_MAX = 50_000;
/** Who joins a channel waits for so many pages of it; the others come in the background. */
export const ROOM_FIRST_PAGES = 4;
/** How often one try dials, for another certificate and as another device. */
export const SERVER_DIALS_A_TRY_MAX = 3;
export const SERVER_RETRY_MS_MIN = 1 * SECOND;
export const SERVER_RETRY_MS_MAX = 60 * SECOND;
/** How often a server that is not reached is dialled while somebody waits for it, or says something there. */
export const SERVER_REDIAL_MS = 1 * SECOND;
/** A server that wants to be left alone for longer is asked again after this. */
export const SERVER_WAIT_MS_MAX = 30 * DAY;
/** A server that did not let us in is asked again after so long at most, and when the account is opened or its user wants something there. */
export const SERVER_REFUSED_RETRY_MS = 5 * MINUTE;
/** Whatever its user wants there, no sooner than so long after its last no. */
export const SERVER_ASKED_AGAIN_MS = 5 * SECOND;
/** How long what is for a full inbox waits for its next try. */
export const INBOX_RETRY_MS = 10 * MINUTE;
export const DEVICES_MAX = 64;
/** Devices of a member that others are told of: those that are, then those that were, the last ones first. */
export const DEVICES_TOLD_MAX = 2 * DEVICES_MAX;
/** Members whose devices one request asks for. */
export const DEVICES_ASKED_MAX = 64;
/** Messages that one receipt names. */
export const RECEIPT_TARGETS_MAX = 256;
/** Receipts that came before another device of mine had told of their message. */
export const EARLY_RECEIPTS_MAX = 1_000;
export const REQUESTS_IN_FLIGHT_MAX = 256;
export const REQUEST_MS_MAX = 30 * SECOND;
/** The same while parts of what was asked for come. */
export const ANSWER_MS_MAX = 10 * MINUTE;
/** Requests of one connection that are worked on at once: it is not read further meanwhile. */
export const ASKED_AT_ONCE_MAX = 64;
/** Entries of shared history in one direct: as base64 they fit into the largest bucket. */
export const HISTORY_PART_BYTES_MAX = 22 * KIB;
/** What one member shows another at once: events, and bytes of them. */
export const HISTORY_EVENTS_MAX = 5_000;
export const HISTORY_EVENTS_DEFAULT = 1_000;
export const HISTORY_BYTES_MAX = 16 * MIB;
/** Shares of others in one channel that come or wait to be looked at, and how long one may take. */
export const HISTORY_COMING_MAX = 8;
export const HISTORY_COMING_MS_MAX = 7 * DAY;
/** Shares of others in one channel that are over and told still. */
export const HISTORY_ENDED_MAX = 32;
/** Events of shared history that are verified before something else may run. */
export const HISTORY_SLICE_EVENTS = 64;
/** How often an event is made anew whose permission changed under way. */
export const STALE_TRIES_MAX = 8;
/** How often one is sealed anew: for the time that a server tells, or for a channel that has changed meanwhile. */
export const RESEAL_TRIES_MAX = 5;
/** How old an event's id may be that is published, and how far ahead of the server's clock. */
export const EVENT_ID_AGE_MS_MAX = 31 * DAY;
export const EVENT_ID_AHEAD_MS_MAX = 1 * HOUR;
/** How long after it was revoked a direct of a device still counts: the server's clock may have been set back meanwhile. */
export const REVOKED_GRACE_MS = 1 * HOUR;
/** How soon after an event the index of its open channel follows, and how many batches a search waits for. */
export const INDEX_MS = 1 * SECOND;
export const INDEX_NEXT_MS = 10;
export const SEARCH_BATCHES_MAX = 10;
/** Between two looks at some entries of the index, while all of it is looked through. */
export const RECONCILE_MS = 20;
/** What is too often within a window, for a line of the audit log. */
export const ALERT_WINDOW_MS = 1 * MINUTE;
export const ALERTS = { joins: 30, loginFailures: 100, rateLimited: 200, badMessages: 200 } as const;
/** How long a server that ends waits for answers that are under way, and when clients may come back. */
export const DRAIN_MS_MAX = 5 * SECOND;
export const DRAIN_RETRY_MS = 1 * SECOND;
/** Uploads that a member has begun and not ended. */
export const UPLOADS_MAX = 64;
/**
 * How long events stay in a member's inbox, fetched or not, and with how many of them it takes no direct message more. Nobody
 * else has more of them than there are places left.
 */
export const INBOX_KEPT_MS = 60 * DAY;
export const INBOX_EVENTS_MAX = 20_000;
/** Messages to members, and what was put on them, that an account says again at most where a server was put back. */
export const SAID_AGAIN_MAX = 2_000;
/** Of each list of what a member is told that the server keeps about them: all of them make one message. */
export const EXPORT_LIST_BYTES_MAX = 24 * KIB;
/** Channels that a member has made and that are not archived. */
export const CHANNELS_MADE_MAX = 1_000;
/** Above so many members that are there, or readers of a channel, nobody is told who is there, or who writes: all telling all would be their square. */
export const TOLD_IN_PASSING_MAX = 200;
/** How soon others are told who has come, gone or is away, of all that changes meanwhile once. */
export const PRESENCE_TELL_MS = 250;
/**
 * How often somebody may do what, as bursts that fill up again: `publish` (in channels), `direct`, `burst` (both together),
 * `control` (controls of who makes a channel, or is no moderator in it: they outlive retention), `request`, `signal` (typing and
 * presence), `call` (coming, going and switches of calls), `stream` (announcements of streams), `search` (words
 * that are looked for) and `account` (changes and exports of oneself) by member, `register` (also new devices) by source, `prekeys` by pair.
 */
export const SERVER_RATES = {
  publish: { burst: 60, perSecond: 60 / 60 },
  burst: { burst: 10, perSecond: 10 },
  control: { burst: 600, perSecond: 600 / (24 * 60 * 60) },
  direct: { burst: 600, perSecond: 600 / 60 },
  request: { burst: 200, perSecond: 50 },
  signal: { burst: 10, perSecond: 2 },
  call: { burst: 10, perSecond: 1 },
  stream: { burst: 32, perSecond: 2 },
  search: { burst: 32, perSecond: 2 },
  register: { burst: 20, perSecond: 20 / 60 },
  prekeys: { burst: 5, perSecond: 5 / (24 * 60 * 60) },
  account: { burst: 20, perSecond: 20 / (60 * 60) },
} as const;
