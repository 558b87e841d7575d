// The load generator: what its parts share. One thread on one core, one epoll, loopback only; the same loop for every protocol.
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

// A message carries who has sent it and when. Where the bytes are free that is a marker: "^T", 16 hex digits of nanoseconds,
// 6 of the sender.
#define MARKER_BYTES 24
// Room before what was read, for what the read before has left.
#define CARRY_MAX 64
#define IRC_TEXT_BYTES 200
// Times of messages are compared in so many bits: three days.
#define TIME_MASK ((1ull << 48) - 1)

enum state { GREETING, READY, JOINED };

struct conn {
  int fd, id, channel, step;
  enum state state;
  // What came during the log-in and was not understood yet.
  char *in;
  size_t in_length, in_room;
  char *out;
  size_t out_at, out_length, out_room;
  int waits_to_write;
  // Where messages are counted: the start of one whose rest has not come, and how much of it is to be passed over.
  char carry[CARRY_MAX];
  size_t carry_length, skip;
  // Messages that were sent, and deliveries of them that are still to come.
  uint32_t sent;
  int due;
};

struct protocol {
  const char *name;
  // 1 when who sends hears itself.
  int echoes;
  void (*begin)(struct conn *);
  // Looks at what came; 1 when it took something of it and there may be more.
  int (*step)(struct conn *);
  void (*join)(struct conn *);
  void (*message)(struct conn *, uint64_t sent_at);
  // Counts the messages in what came.
  void (*take)(struct conn *, char *bytes, size_t length);
};

struct options {
  const struct protocol *protocol;
  int port;
  // Of the server, to read its CPU time and memory.
  const char *pid;
  const char *mode;
  // Connections that hear; in the modes of one sender there is one more.
  int readers;
  // Messages of one sender whose deliveries have not all come.
  int window;
  int channels, members;
  // Bytes of a message where the protocol does not say them itself.
  int bytes;
  int in_flight;
  double warm_seconds, seconds, settle_seconds;
  // Of deliveries, a second.
  double rate;
  int core;
  int joins;
  // sotto: one line for each member.
  const char *people;
};

extern struct options options;
extern struct conn *conns;
extern int conn_count, ready_count, joined_count, closed_count;
// Connection whose own deliveries do not count; -1 for none.
extern int lone_sender;
extern uint64_t delivered, sent_count, received_bytes;

extern const struct protocol irc, mqtt, nats, redis, line, sotto;

// load.c
void die(const char *why) __attribute__((noreturn));
void ready(struct conn *);
void joined(struct conn *);
void count_delivery(struct conn *, int sender, uint64_t sent_at);

// net.c
void open_connection(struct conn *);
void put(struct conn *, const void *bytes, size_t length);
void putf(struct conn *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void flush(struct conn *);
// Waits up to `nanoseconds` for anything, and handles it.
void pump(uint64_t nanoseconds);
void open_epoll(void);
// Lines of standard input are given to `take`.
void listen_to_input(void (*take)(char *line));
// What came up to `end` is done with.
void consume(struct conn *, const char *end);

// sotto.c
void read_people(void);

// measure.c
uint64_t now_ns(void);
double server_cpu_seconds(void);
double own_cpu_seconds(void);
long server_rss_kib(void);
void forget_latencies(void);
void add_latency(uint64_t nanoseconds);
double latency_ms(double share);
void nap(uint64_t nanoseconds);
void pin_to(int core);
void raise_file_limit(void);

#endif
