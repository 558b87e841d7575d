// The floor of a call: a bare server that passes each voice frame on to the others in its call, with one call of the system
// each, and keeps nothing. It knows no upgrade, permission or window. WebSocket frames, as they are on a call link: masked to
// here, bare from here. The ticket is one byte, the number of the call; after it, what is no voice is passed over.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "floor.h"

#define CONNS_MAX 4096
#define CALLS 256
#define PEOPLE_MAX 64
#define IN_BYTES 4096
#define EVENTS 64
#define NO_CALL -1
#define FRAME_HEAD 2
#define MASK_BYTES 4
#define BINARY_FINAL 0x82
#define LENGTH_BITS 0x7f
#define VOICE 1

struct conn {
  int fd, call;
  unsigned char in[IN_BYTES];
  size_t length;
};

struct call {
  int people[PEOPLE_MAX], count;
};

static struct conn *conns[CONNS_MAX];
static struct call calls[CALLS];
static int epoll;

static void enter(struct conn *c, int number) {
  struct call *call = &calls[number];
  if (call->count == PEOPLE_MAX) fail("too many in a call");
  c->call = number;
  call->people[call->count++] = c->fd;
}

static void leave(struct conn *c) {
  if (c->call != NO_CALL) {
    struct call *call = &calls[c->call];
    for (int i = 0; i < call->count; i++)
      if (call->people[i] == c->fd) call->people[i--] = call->people[--call->count];
  }
  close(c->fd);
  conns[c->fd] = NULL;
  free(c);
}

// The new head takes the last bytes of the mask: nothing is copied.
static void pass_on(struct conn *c, unsigned char *payload, size_t length) {
  unsigned char *frame = payload - FRAME_HEAD;
  frame[0] = BINARY_FINAL;
  frame[1] = (unsigned char)length;
  struct call *call = &calls[c->call];
  for (int i = 0; i < call->count; i++)
    if (call->people[i] != c->fd) send(call->people[i], frame, FRAME_HEAD + length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_readable(struct conn *c) {
  ssize_t got = recv(c->fd, c->in + c->length, IN_BYTES - c->length, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return leave(c);
  unsigned char *at = c->in, *end = c->in + c->length + got;
  while (end - at >= FRAME_HEAD + MASK_BYTES) {
    size_t length = at[1] & LENGTH_BITS;
    unsigned char *mask = at + FRAME_HEAD, *payload = mask + MASK_BYTES;
    if (payload + length > end) break;
    for (size_t i = 0; i < length; i++) payload[i] ^= mask[i % MASK_BYTES];
    if (length > 0 && c->call == NO_CALL) enter(c, payload[0]);
    else if (length > 0 && payload[0] == VOICE) pass_on(c, payload, length);
    at = payload + length;
  }
  c->length = (size_t)(end - at);
  memmove(c->in, at, c->length);
}

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    if (fd >= CONNS_MAX) fail("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) fail("memory");
    c->fd = fd;
    c->call = NO_CALL;
    conns[fd] = c;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

int main(int count, char **words) {
  int listener = listen_at(count > 1 ? atoi(words[1]) : 0);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int some = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < some; i++) {
      if (events[i].data.fd == listener) accept_all(listener);
      else on_readable(conns[events[i].data.fd]);
    }
  }
}
