// The floor: a bare server that gathers what one round of reading brings and sends it to everybody in one call each. It knows
// no log-in, no permission and no disk. Lines: `hello NAME`, `join CHANNEL`, `say CHANNEL TEXT`.
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

#define CONNS_MAX 20000
#define CHANNELS_MAX 1024
#define IN_BYTES 65536
#define EVENTS 1024
#define LONGEST_HEAD 64

struct conn {
  int fd, channel;
  char in[IN_BYTES];
  size_t in_length;
  char *waiting;
  size_t waiting_length, waiting_room;
};

struct channel {
  int *readers, count, room;
  char *round;
  size_t length, round_room;
};

static struct conn *conns[CONNS_MAX];
static struct channel channels[CHANNELS_MAX];
static int talking[CHANNELS_MAX], talking_count, epoll;
static unsigned long last_id;

static void *grown(void *bytes, size_t *room, size_t needed) {
  if (needed <= *room) return bytes;
  *room = 2 * needed;
  bytes = realloc(bytes, *room);
  if (bytes == NULL) fail("memory");
  return bytes;
}

static void watch(struct conn *c, uint32_t what) {
  struct epoll_event event = {.events = what, .data.fd = c->fd};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void send_to(struct conn *c, const char *bytes, size_t length) {
  ssize_t sent = 0;
  if (c->waiting_length == 0) sent = send(c->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent == (ssize_t)length) return;
  if (sent < 0) sent = 0;
  size_t rest = length - (size_t)sent;
  if (c->waiting_length == 0) watch(c, EPOLLIN | EPOLLOUT);
  c->waiting = grown(c->waiting, &c->waiting_room, c->waiting_length + rest);
  memcpy(c->waiting + c->waiting_length, bytes + sent, rest);
  c->waiting_length += rest;
}

static void drain(struct conn *c) {
  ssize_t sent = send(c->fd, c->waiting, c->waiting_length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent <= 0) return;
  c->waiting_length -= (size_t)sent;
  memmove(c->waiting, c->waiting + sent, c->waiting_length);
  if (c->waiting_length == 0) watch(c, EPOLLIN);
}

static void join(struct conn *c, int number) {
  struct channel *channel = &channels[number % CHANNELS_MAX];
  c->channel = number % CHANNELS_MAX;
  if (channel->count == channel->room) {
    channel->room = channel->room == 0 ? 16 : 2 * channel->room;
    channel->readers = realloc(channel->readers, (size_t)channel->room * sizeof *channel->readers);
    if (channel->readers == NULL) fail("memory");
  }
  channel->readers[channel->count++] = c->fd;
  send_to(c, "joined\n", 7);
}

static void say(struct conn *c, int number, const char *text, size_t length) {
  struct channel *channel = &channels[number % CHANNELS_MAX];
  channel->round = grown(channel->round, &channel->round_room, channel->length + LONGEST_HEAD + length + 1);
  if (channel->length == 0) talking[talking_count++] = number % CHANNELS_MAX;
  char *at = channel->round + channel->length;
  at += sprintf(at, "said %lu %d %d ", ++last_id, number, c->fd);
  memcpy(at, text, length);
  at[length] = '\n';
  channel->length = (size_t)(at + length + 1 - channel->round);
}

static void on_line(struct conn *c, char *line, size_t length) {
  line[length] = 0;
  char *rest;
  if (strncmp(line, "hello ", 6) == 0) send_to(c, "ready\n", 6);
  else if (strncmp(line, "join ", 5) == 0) join(c, atoi(line + 5));
  else if (strncmp(line, "say ", 4) == 0) {
    int number = (int)strtol(line + 4, &rest, 10);
    say(c, number, rest + 1, length - (size_t)(rest + 1 - line));
  }
}

static void leave(struct conn *c) {
  if (c->channel >= 0) {
    struct channel *channel = &channels[c->channel];
    for (int i = 0; i < channel->count; i++)
      if (channel->readers[i] == c->fd) channel->readers[i--] = channel->readers[--channel->count];
  }
  close(c->fd);
  conns[c->fd] = NULL;
  free(c->waiting);
  free(c);
}

static void on_readable(struct conn *c) {
  ssize_t got = recv(c->fd, c->in + c->in_length, IN_BYTES - c->in_length, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return leave(c);
  c->in_length += (size_t)got;
  char *at = c->in, *end = c->in + c->in_length, *newline;
  while ((newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
    on_line(c, at, (size_t)(newline - at));
    at = newline + 1;
  }
  c->in_length = (size_t)(end - at);
  memmove(c->in, at, c->in_length);
}

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    if (fd >= CONNS_MAX) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) fail("memory");
    c->fd = fd;
    c->channel = -1;
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
      int fd = events[i].data.fd;
      if (fd == listener) accept_all(listener);
      else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(conns[fd]);
      if (fd != listener && conns[fd] != NULL && (events[i].events & EPOLLOUT)) drain(conns[fd]);
    }
    for (int i = 0; i < talking_count; i++) {
      struct channel *channel = &channels[talking[i]];
      for (int k = 0; k < channel->count; k++) send_to(conns[channel->readers[k]], channel->round, channel->length);
      channel->length = 0;
    }
    talking_count = 0;
  }
}
