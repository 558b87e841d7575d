// The protocols of the peers: IRC, MQTT, NATS, Redis, and the lines of the bare server beside.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define MESSAGE_BYTES_MAX 8192

static char *find(struct conn *c, const char *text) { return memmem(c->in, c->in_length, text, strlen(text)); }

static void refused(struct conn *c) {
  fprintf(stderr, "load: the server says %.*s\n", (int)c->in_length, c->in);
  die("refused");
}

// Takes everything up to the end of `text`; 0 while it has not come.
static int passed(struct conn *c, const char *text) {
  char *at = find(c, text);
  if (at == NULL) return 0;
  consume(c, at + strlen(text));
  return 1;
}

static const char *words(size_t length) {
  static char text[MESSAGE_BYTES_MAX];
  static const char sentence[] = "the quick brown fox jumps over the lazy dog and then some more words ";
  if (text[0] == 0)
    for (size_t i = 0; i < sizeof text; i++) text[i] = sentence[i % (sizeof sentence - 1)];
  if (length > sizeof text) die("a message is too long");
  return text;
}

static void put_payload(struct conn *c, uint64_t sent_at, size_t length) {
  char marker[MARKER_BYTES + 1];
  snprintf(marker, sizeof marker, "^T%016llx%06x", (unsigned long long)sent_at, (unsigned)c->id);
  put(c, marker, MARKER_BYTES);
  put(c, words(length), length - MARKER_BYTES);
}

static uint64_t unhex(const char *at, int digits) {
  uint64_t value = 0;
  for (int i = 0; i < digits; i++) value = value << 4 | (uint64_t)(at[i] <= '9' ? at[i] - '0' : at[i] - 'a' + 10);
  return value;
}

// Counts markers; what follows one in its message is passed over.
static void take(struct conn *c, char *at, size_t length) {
  size_t rest = (options.protocol == &irc ? IRC_TEXT_BYTES : (size_t)options.bytes) - MARKER_BYTES;
  char *end = at + length;
  at -= c->carry_length;
  memcpy(at, c->carry, c->carry_length);
  c->carry_length = 0;
  while (at < end) {
    char *marker = memchr(at, '^', (size_t)(end - at));
    if (marker == NULL) return;
    if (end - marker < MARKER_BYTES) {
      c->carry_length = (size_t)(end - marker);
      memcpy(c->carry, marker, c->carry_length);
      return;
    }
    at = marker + 1;
    if (marker[1] != 'T') continue;
    count_delivery(c, (int)unhex(marker + 18, 6), unhex(marker + 2, 16));
    at = marker + MARKER_BYTES;
    if ((size_t)(end - at) < rest) return;
    at += rest;
  }
}

// IRC: what is more than a line has room for goes in a tag.

static int has_tag(void) { return options.bytes > IRC_TEXT_BYTES; }

static void irc_begin(struct conn *c) {
  if (has_tag()) putf(c, "CAP REQ :message-tags\r\nCAP END\r\n");
  putf(c, "NICK u%d\r\nUSER u%d 0 * :u\r\n", c->id, c->id);
}

static void irc_join(struct conn *c) { putf(c, "JOIN #c%d\r\n", c->channel); }

static int irc_step(struct conn *c) {
  char *ping = find(c, "PING ");
  if (ping != NULL) {
    char *end = memchr(ping, '\n', c->in_length - (size_t)(ping - c->in));
    if (end == NULL) return 0;
    ping[1] = 'O';
    put(c, ping, (size_t)(end + 1 - ping));
    memset(ping, '.', 4);
    return 1;
  }
  if (find(c, "ERROR ") != NULL || find(c, " 433 * ") != NULL) refused(c);
  if (c->state == GREETING && (passed(c, " 376 ") || passed(c, " 422 "))) return ready(c), 1;
  if (c->state == READY && options.joins && passed(c, " 366 ")) return joined(c), 1;
  return 0;
}

static void irc_message(struct conn *c, uint64_t sent_at) {
  if (has_tag()) {
    putf(c, "@+x=");
    for (size_t left = (size_t)options.bytes - IRC_TEXT_BYTES; left > 0;) {
      size_t part = left < 64 ? left : 64;
      put(c, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcd", part);
      left -= part;
    }
    put(c, " ", 1);
  }
  putf(c, "PRIVMSG #c%d :", c->channel);
  put_payload(c, sent_at, IRC_TEXT_BYTES);
  put(c, "\r\n", 2);
}

const struct protocol irc = {"irc", 0, irc_begin, irc_step, irc_join, irc_message, take};

// MQTT 3.1.1, QoS 0.

static void mqtt_begin(struct conn *c) {
  char name[16];
  int length = snprintf(name, sizeof name, "u%d", c->id);
  const char head[] = {0x10, (char)(12 + length), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, (char)length};
  put(c, head, sizeof head);
  put(c, name, (size_t)length);
}

static void mqtt_join(struct conn *c) {
  char topic[16];
  int length = snprintf(topic, sizeof topic, "c%d", c->channel);
  const char head[] = {(char)0x82, (char)(5 + length), 0, 1, 0, (char)length};
  put(c, head, sizeof head);
  put(c, topic, (size_t)length);
  put(c, "", 1);
}

static int mqtt_step(struct conn *c) {
  if (c->state == GREETING && c->in_length >= 4) {
    if (c->in[0] != 0x20 || c->in[3] != 0) refused(c);
    consume(c, c->in + 4);
    return ready(c), 1;
  }
  if (c->state == READY && c->in_length >= 5) {
    consume(c, c->in + 5);
    return joined(c), 1;
  }
  return 0;
}

static void mqtt_message(struct conn *c, uint64_t sent_at) {
  char topic[16], head[8] = {0x30};
  int length = snprintf(topic, sizeof topic, "c%d", c->channel);
  int left = 2 + length + options.bytes, at = 1;
  do {
    head[at++] = (char)(left % 128 | (left >= 128 ? 128 : 0));
    left /= 128;
  } while (left > 0);
  put(c, head, (size_t)at);
  const char size[] = {0, (char)length};
  put(c, size, 2);
  put(c, topic, (size_t)length);
  put_payload(c, sent_at, (size_t)options.bytes);
}

const struct protocol mqtt = {"mqtt", 1, mqtt_begin, mqtt_step, mqtt_join, mqtt_message, take};

static void begin_later(struct conn *c) { (void)c; }

static void nats_join(struct conn *c) { putf(c, "SUB c.%d 1\r\nPING\r\n", c->channel); }

static int nats_step(struct conn *c) {
  if (find(c, "-ERR") != NULL) refused(c);
  if (c->step == 0 && passed(c, "\r\n")) {
    putf(c, "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"echo\":false,\"lang\":\"c\",\"version\":\"1\"}\r\n"
            "PING\r\n");
    c->step = 1;
    return 1;
  }
  if (c->step == 1 && c->state == GREETING && passed(c, "PONG\r\n")) return ready(c), 1;
  if (c->state == READY && options.joins && passed(c, "PONG\r\n")) return joined(c), 1;
  return 0;
}

static void nats_message(struct conn *c, uint64_t sent_at) {
  putf(c, "PUB c.%d %d\r\n", c->channel, options.bytes);
  put_payload(c, sent_at, (size_t)options.bytes);
  put(c, "\r\n", 2);
}

const struct protocol nats = {"nats", 0, begin_later, nats_step, nats_join, nats_message, take};

static void redis_begin(struct conn *c) { putf(c, "HELLO 3\r\n"); }

static void redis_join(struct conn *c) { putf(c, "SUBSCRIBE c%d\r\n", c->channel); }

static int redis_step(struct conn *c) {
  if (c->in_length > 0 && c->in[0] == '-') refused(c);
  if (c->state == GREETING && passed(c, "modules\r\n*0\r\n")) return ready(c), 1;
  if (c->state == READY && options.joins && passed(c, ":1\r\n")) return joined(c), 1;
  return 0;
}

static void redis_message(struct conn *c, uint64_t sent_at) {
  char topic[16];
  int length = snprintf(topic, sizeof topic, "c%d", c->channel);
  putf(c, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n", length, topic, options.bytes);
  put_payload(c, sent_at, (size_t)options.bytes);
  put(c, "\r\n", 2);
}

const struct protocol redis = {"redis", 1, redis_begin, redis_step, redis_join, redis_message, take};

// What server.c speaks.

static void line_begin(struct conn *c) { putf(c, "hello u%d\n", c->id); }

static void line_join(struct conn *c) { putf(c, "join %d\n", c->channel); }

static int line_step(struct conn *c) {
  if (c->state == GREETING && passed(c, "ready\n")) return ready(c), 1;
  if (c->state == READY && options.joins && passed(c, "joined\n")) return joined(c), 1;
  return 0;
}

static void line_message(struct conn *c, uint64_t sent_at) {
  putf(c, "say %d ", c->channel);
  put_payload(c, sent_at, (size_t)options.bytes);
  put(c, "\n", 1);
}

const struct protocol line = {"line", 1, line_begin, line_step, line_join, line_message, take};
