// Sockets of the load generator: opened, read, written, all in one epoll.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define READ_BYTES (256 * 1024)
#define EVENTS 4096
#define LINE_MAX_BYTES 65536

static int epoll;
static char room[CARRY_MAX + READ_BYTES];
static char *const read_at = room + CARRY_MAX;
static struct epoll_event events[EVENTS];
static void (*take_line)(char *);

void open_epoll(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll");
}

static void watch(struct conn *c, int operation, uint32_t what) {
  struct epoll_event event = {.events = what, .data.ptr = c};
  if (epoll_ctl(epoll, operation, c == NULL ? 0 : c->fd, &event) < 0) die("epoll_ctl");
}

void listen_to_input(void (*take)(char *line)) {
  take_line = take;
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  watch(NULL, EPOLL_CTL_ADD, EPOLLIN);
}

static void read_input(void) {
  static char held[LINE_MAX_BYTES];
  static size_t length;
  for (;;) {
    ssize_t got = read(0, held + length, sizeof held - length - 1);
    if (got <= 0) {
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      die("nobody signs any more");
    }
    length += (size_t)got;
    char *at = held, *end;
    while ((end = memchr(at, '\n', length - (size_t)(at - held))) != NULL) {
      *end = 0;
      take_line(at);
      at = end + 1;
    }
    length -= (size_t)(at - held);
    memmove(held, at, length);
    if (length == sizeof held - 1) die("a line is too long");
  }
}

// Each source has a few connections only: nobody's limit by address is met.
void open_connection(struct conn *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in from = {.sin_family = AF_INET};
  from.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(c->id % 250));
  setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  options.protocol->begin(c);
  flush(c);
}

void put(struct conn *c, const void *bytes, size_t length) {
  if (c->out_length + length > c->out_room) {
    c->out_room = 2 * (c->out_length + length);
    c->out = realloc(c->out, c->out_room);
    if (c->out == NULL) die("memory");
  }
  memcpy(c->out + c->out_length, bytes, length);
  c->out_length += length;
}

void putf(struct conn *c, const char *format, ...) {
  char text[4096];
  va_list list;
  va_start(list, format);
  int length = vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (length < 0 || (size_t)length >= sizeof text) die("a request is too long");
  put(c, text, (size_t)length);
}

static void lost(struct conn *c) {
  closed_count++;
  epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
}

void flush(struct conn *c) {
  while (c->out_at < c->out_length) {
    ssize_t wrote = send(c->fd, c->out + c->out_at, c->out_length - c->out_at, MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && (errno == EAGAIN || errno == ENOTCONN)) break;
    if (wrote < 0) {
      lost(c);
      c->out_at = c->out_length;
      break;
    }
    c->out_at += (size_t)wrote;
  }
  int is_done = c->out_at == c->out_length;
  if (is_done) c->out_at = c->out_length = 0;
  if (is_done == !c->waits_to_write) return;
  c->waits_to_write = !is_done;
  watch(c, EPOLL_CTL_MOD, is_done ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void consume(struct conn *c, const char *end) {
  c->in_length -= (size_t)(end - c->in);
  memmove(c->in, end, c->in_length);
}

static void log_in(struct conn *c, const char *bytes, size_t length) {
  if (c->in_length + length > c->in_room) {
    c->in_room = 2 * (c->in_length + length) + 1024;
    c->in = realloc(c->in, c->in_room);
    if (c->in == NULL) die("memory");
  }
  memcpy(c->in + c->in_length, bytes, length);
  c->in_length += length;
  while (options.protocol->step(c) && c->state != JOINED) {
  }
  flush(c);
  if (c->state != JOINED) return;
  char *rest = c->in;
  size_t left = c->in_length;
  c->in = NULL;
  c->in_length = c->in_room = 0;
  if (left > 0) options.protocol->take(c, rest, left);
  free(rest);
}

static void on_readable(struct conn *c) {
  ssize_t got = recv(c->fd, read_at, READ_BYTES, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lost(c);
  received_bytes += (uint64_t)got;
  if (c->state == JOINED) options.protocol->take(c, read_at, (size_t)got);
  else log_in(c, read_at, (size_t)got);
}

void pump(uint64_t nanoseconds) {
  struct timespec wait = {(time_t)(nanoseconds / 1000000000ull), (long)(nanoseconds % 1000000000ull)};
  int count = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
  for (int i = 0; i < count; i++) {
    struct conn *c = events[i].data.ptr;
    if (c == NULL) {
      read_input();
      continue;
    }
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    if (events[i].events & EPOLLOUT) flush(c);
  }
}
