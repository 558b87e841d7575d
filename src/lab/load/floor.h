// What the two floors begin with: the end of a program that cannot go on, and a socket that listens on this machine.
#ifndef FLOOR_H
#define FLOOR_H
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKLOG 4096

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/** Port 0 takes a free one. */
static int listen_at(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, BACKLOG) < 0) fail("listen");
  return listener;
}

#endif
