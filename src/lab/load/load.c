// Logs connections in, lets them talk, and prints as one JSON object what that cost the server.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "load.h"

#define SECOND 1000000000ull
#define LOGIN_STALLED (30 * SECOND)
#define SILENT (2 * SECOND)
#define ROUND_NAP 200000
#define OUT_BYTES_MAX (256 * 1024)

struct options options = {
    .port = 0, .pid = "self", .mode = "fan", .readers = 50, .window = 64, .channels = 200, .members = 5, .bytes = 200,
    .in_flight = 64, .warm_seconds = 2, .seconds = 2, .settle_seconds = 0.5, .rate = 10000, .core = 1, .joins = 1,
};
struct conn *conns;
int conn_count, ready_count, joined_count, closed_count, lone_sender = -1;
uint64_t delivered, sent_count, received_bytes;

static int counts_latency;
// Connections whose last message has reached everybody.
static int *idle, idle_count;

void die(const char *why) {
  fprintf(stderr, "load: %s (%s; %d logged in, %d joined, %d closed)\n", why, strerror(errno), ready_count, joined_count,
          closed_count);
  exit(2);
}

void ready(struct conn *c) {
  c->state = READY;
  ready_count++;
  if (options.joins) options.protocol->join(c);
}

void joined(struct conn *c) {
  c->state = JOINED;
  joined_count++;
}

void count_delivery(struct conn *c, int sender, uint64_t sent_at) {
  if (c->id == lone_sender) return;
  delivered++;
  if (counts_latency) add_latency((now_ns() - sent_at) & TIME_MASK);
  if (idle != NULL && sender >= 0 && sender < conn_count && --conns[sender].due == 0) idle[idle_count++] = sender;
}

static void say(struct conn *c, uint64_t at) {
  options.protocol->message(c, at);
  sent_count++;
}

static int finished(void) { return options.joins ? joined_count : ready_count; }

static double log_in(void) {
  uint64_t began = now_ns(), moved = now_ns();
  for (int opened = 0, before = 0; finished() < conn_count;) {
    while (opened < conn_count && opened - finished() < options.in_flight) open_connection(&conns[opened++]);
    pump(50 * SECOND / 1000);
    if (finished() != before) {
      before = finished();
      moved = now_ns();
    }
    if (closed_count > 0) die("closed during the log-in");
    if (now_ns() - moved > LOGIN_STALLED) die("the log-in stands still");
  }
  return (double)(now_ns() - began) / 1e9;
}

static void wait_for(double seconds) {
  for (uint64_t end = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < end;) pump(20 * SECOND / 1000);
}

struct sample {
  uint64_t at, delivered, sent, bytes;
  double server, own;
};

static struct sample look(void) {
  return (struct sample){now_ns(), delivered, sent_count, received_bytes, server_cpu_seconds(), own_cpu_seconds()};
}

static void print_costs(struct sample from, struct sample to, uint64_t lost) {
  double seconds = (double)(to.at - from.at) / 1e9, deliveries = (double)(to.delivered - from.delivered);
  printf("{\"deliveries\":%.0f,\"messages\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"serverCpuSeconds\":%.4f,"
         "\"ownCpuSeconds\":%.4f,\"lost\":%llu}\n",
         deliveries, (unsigned long long)(to.sent - from.sent), (unsigned long long)(to.bytes - from.bytes), seconds,
         to.server - from.server, to.own - from.own, (unsigned long long)lost);
}

// A closed loop: `fill` sends what may be sent; measured for options.seconds after options.warm_seconds.
static void run_closed(void (*fill)(void), uint64_t (*give_up)(void)) {
  struct sample from = {0};
  uint64_t began = now_ns(), warm = began + (uint64_t)(options.warm_seconds * 1e9);
  uint64_t end = warm + (uint64_t)(options.seconds * 1e9), last = 0, moved = began, lost = 0;
  for (;;) {
    uint64_t now = now_ns();
    if (from.at == 0 && now >= warm) from = look();
    if (now >= end) break;
    fill();
    pump(20 * SECOND / 1000);
    nap(ROUND_NAP);
    if (closed_count > 0) die("closed while it was measured");
    if (delivered != last) {
      last = delivered;
      moved = now;
    } else if (now - moved > SILENT) {
      lost += give_up();
      moved = now;
    }
  }
  print_costs(from, look(), lost);
}

static uint64_t given_up;

static int64_t outstanding(void) {
  return (int64_t)(sent_count * (uint64_t)options.readers - delivered - given_up);
}

static void fill_window(void) {
  struct conn *c = &conns[lone_sender];
  int64_t most = (int64_t)(options.window - 1) * options.readers;
  while (outstanding() <= most && c->out_length - c->out_at < OUT_BYTES_MAX) say(c, now_ns());
  flush(c);
}

static uint64_t give_up_window(void) {
  uint64_t lost = (uint64_t)outstanding();
  given_up += lost;
  return lost;
}

static int hearers(void) { return options.members - 1 + options.protocol->echoes; }

static void fill_idle(void) {
  uint64_t now = now_ns();
  while (idle_count > 0) {
    struct conn *c = &conns[idle[--idle_count]];
    c->due = hearers();
    say(c, now);
    flush(c);
  }
}

static uint64_t give_up_due(void) {
  uint64_t lost = 0;
  for (int i = 0; i < conn_count; i++) {
    if (conns[i].due <= 0) continue;
    lost += (uint64_t)conns[i].due;
    conns[i].due = 0;
    idle[idle_count++] = i;
  }
  return lost;
}

// An open loop: messages leave when they are due, whatever the server does; a delay counts from then.
static void run_open(void) {
  struct conn *c = &conns[lone_sender];
  uint64_t interval = (uint64_t)(1e9 * options.readers / options.rate);
  uint64_t next = now_ns() + SECOND / 20, warm = next + (uint64_t)(options.warm_seconds * 1e9);
  uint64_t end = warm + (uint64_t)(options.seconds * 1e9);
  struct sample from = {0};
  while (now_ns() < end) {
    uint64_t now = now_ns();
    if (from.at == 0 && now >= warm) {
      from = look();
      counts_latency = 1;
    }
    for (; next <= now; next += interval) say(c, next);
    flush(c);
    now = now_ns();
    pump(next > now ? (next - now < SECOND / 1000 ? next - now : SECOND / 1000) : 0);
    if (closed_count > 0) die("closed while it was measured");
  }
  struct sample to = look();
  double seconds = (double)(to.at - from.at) / 1e9;
  printf("{\"deliveries\":%.0f,\"seconds\":%.3f,\"serverCpuSeconds\":%.4f,\"ownCpuSeconds\":%.4f,\"p50Ms\":%.3f,"
         "\"p99Ms\":%.3f}\n",
         (double)(to.delivered - from.delivered), seconds, to.server - from.server, to.own - from.own, latency_ms(0.5),
         latency_ms(0.99));
}

static void run_logins(void) {
  long before = server_rss_kib();
  double cpu = server_cpu_seconds(), seconds = log_in();
  cpu = server_cpu_seconds() - cpu;
  wait_for(options.settle_seconds);
  long after = server_rss_kib();
  double rest = server_cpu_seconds();
  wait_for(options.seconds);
  if (closed_count > 0) die("closed while it was measured");
  printf("{\"logins\":%d,\"seconds\":%.3f,\"serverCpuSeconds\":%.4f,\"rssBeforeKib\":%ld,\"rssKib\":%ld,"
         "\"idleCpu\":%.4f}\n",
         conn_count, seconds, cpu, before, after, (server_cpu_seconds() - rest) / options.seconds);
}

static void run_many(void) {
  idle = calloc((size_t)conn_count, sizeof *idle);
  for (int i = 0; i < conn_count; i++) idle[idle_count++] = i;
  run_closed(fill_idle, give_up_due);
}

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static const struct protocol *protocol_of(const char *name) {
  const struct protocol *all[] = {&irc, &mqtt, &nats, &redis, &line, &sotto};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (is(all[i]->name, name)) return all[i];
  die("there is no such protocol");
}

static void read_option(const char *name, const char *value) {
  if (is(name, "--protocol")) options.protocol = protocol_of(value);
  else if (is(name, "--port")) options.port = atoi(value);
  else if (is(name, "--pid")) options.pid = value;
  else if (is(name, "--mode")) options.mode = value;
  else if (is(name, "--readers")) options.readers = atoi(value);
  else if (is(name, "--window")) options.window = atoi(value);
  else if (is(name, "--channels")) options.channels = atoi(value);
  else if (is(name, "--members")) options.members = atoi(value);
  else if (is(name, "--bytes")) options.bytes = atoi(value);
  else if (is(name, "--in-flight")) options.in_flight = atoi(value);
  else if (is(name, "--warm")) options.warm_seconds = atof(value);
  else if (is(name, "--seconds")) options.seconds = atof(value);
  else if (is(name, "--settle")) options.settle_seconds = atof(value);
  else if (is(name, "--rate")) options.rate = atof(value);
  else if (is(name, "--core")) options.core = atoi(value);
  else if (is(name, "--joins")) options.joins = atoi(value);
  else if (is(name, "--people")) options.people = value;
  else die("there is no such option");
}

// fan: one sender, closed; open: one sender at a rate; many: everybody sends, closed; login: nobody does.
int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1);
  for (int i = 1; i + 1 < count; i += 2) read_option(words[i], words[i + 1]);
  if (options.protocol == NULL || options.port == 0) die("--protocol and --port are needed");
  pin_to(options.core);
  raise_file_limit();
  int is_many = is(options.mode, "many"), is_login = is(options.mode, "login");
  conn_count = is_many ? options.channels * options.members : options.readers + (is_login ? 0 : 1);
  conns = calloc((size_t)conn_count, sizeof *conns);
  for (int i = 0; i < conn_count; i++) conns[i] = (struct conn){.id = i, .channel = is_many ? i / options.members : 0};
  open_epoll();
  if (options.people != NULL) read_people();
  if (is_login) return run_logins(), 0;
  log_in();
  wait_for(options.settle_seconds);
  if (is_many) return run_many(), 0;
  lone_sender = options.readers;
  if (is(options.mode, "open")) run_open();
  else run_closed(fill_window, give_up_window);
  return 0;
}
