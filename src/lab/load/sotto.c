// sotto's wire: members log in with their devices, resume their channels, and publish events that were sealed before. What
// needs a device's key is asked on standard output, "sign ID NONCE", and answered on standard input, "ID PROOF".
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

// protocol/server-frames.ts: the layouts of an event and of a publish.
#define EVENT_ID_AT 31
#define EVENT_HEAD_BYTES 47
#define PUBLISH_CHANNEL_AT 5
#define PUBLISH_ID_AT 21
#define PUBLISH_KIND_AT 37
#define PUBLISH_CHECKED_AT 38
#define PUBLISH_SEALED_AT 48
#define PUBLISH_HEAD_BYTES 54
#define FRAME_HEAD_BYTES 8
#define MASK 0x5a
#define NONCE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

struct person {
  char *certificate, *resume;
  // The frame of a publish, masked, but for its request, id and count.
  char *frame;
  size_t frame_length;
};
static struct person *people;

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static void unhex(char *out, const char *hex, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) out[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
}

static void put_number(char *at, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; i--, value >>= 8) at[i] = (char)(value & 0xff);
}

// A frame as a client sends it; the mask is the same byte four times, which costs the server what any other does.
static size_t head_of(char *head, char opcode, size_t length) {
  size_t at = 0;
  head[at++] = (char)(0x80 | opcode);
  if (length < 126) head[at++] = (char)(0x80 | length);
  else {
    head[at++] = (char)(0x80 | 126);
    put_number(head + at, length, 2);
    at += 2;
  }
  memset(head + at, MASK, 4);
  return at + 4;
}

static void make_publish(struct person *one, const char *channel, const char *body, size_t body_length) {
  char plain[PUBLISH_HEAD_BYTES] = {2};
  unhex(plain + PUBLISH_CHANNEL_AT, channel, 16);
  plain[PUBLISH_KIND_AT] = 1;
  put_number(plain + PUBLISH_CHECKED_AT, 1ull << 40, 6);
  size_t length = PUBLISH_HEAD_BYTES + body_length;
  one->frame = malloc(FRAME_HEAD_BYTES + length);
  if (one->frame == NULL || head_of(one->frame, 2, length) != FRAME_HEAD_BYTES) die("an event of another size");
  memcpy(one->frame + FRAME_HEAD_BYTES, plain, sizeof plain);
  unhex(one->frame + FRAME_HEAD_BYTES + PUBLISH_HEAD_BYTES, body, body_length);
  for (size_t i = 0; i < length; i++) one->frame[FRAME_HEAD_BYTES + i] ^= MASK;
  one->frame_length = FRAME_HEAD_BYTES + length;
}

static void proved(char *text);

// A line is: certificate, base64; parameters of `resume`, JSON; channel, hex; body, hex, or "-" for who does not send.
void read_people(void) {
  FILE *file = fopen(options.people, "r");
  if (file == NULL) die("there are no people");
  people = calloc((size_t)conn_count, sizeof *people);
  char *row = NULL;
  size_t row_room = 0;
  for (int i = 0; i < conn_count; i++) {
    ssize_t length = getline(&row, &row_room, file);
    if (length <= 0) die("there are not enough people");
    row[length - 1] = 0;
    char *rest = row;
    people[i].certificate = strdup(strsep(&rest, "\t"));
    people[i].resume = strdup(strsep(&rest, "\t"));
    const char *channel = strsep(&rest, "\t");
    if (rest[0] != '-') make_publish(&people[i], channel, rest, strlen(rest) / 2);
  }
  free(row);
  fclose(file);
  listen_to_input(proved);
}

static void put_text(struct conn *c, const char *text, size_t length) {
  char head[FRAME_HEAD_BYTES];
  size_t head_length = head_of(head, 1, length);
  put(c, head, head_length);
  char *masked = malloc(length);
  if (masked == NULL) die("memory");
  for (size_t i = 0; i < length; i++) masked[i] = text[i] ^ MASK;
  put(c, masked, length);
  free(masked);
}

static void begin(struct conn *c) {
  putf(c, "GET /v1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Protocol: sotto.v1\r\n\r\n", options.port);
}

static void greet(struct conn *c) {
  char text[256];
  int length = snprintf(text, sizeof text,
                        "{\"id\":1,\"do\":\"hello\",\"versions\":[1],\"nonce\":\"" NONCE "\",\"origin\":\"ws://127.0.0.1:%d\"}",
                        options.port);
  put_text(c, text, (size_t)length);
}

static void ask_for_proof(struct conn *c, const char *text, size_t length) {
  const char *nonce = memmem(text, length, "\"nonce\":\"", 9);
  if (nonce == NULL || nonce + 9 + 44 > text + length) die("no greeting");
  char line[96];
  int size = snprintf(line, sizeof line, "sign %d %.44s\n", c->id, nonce + 9);
  if (write(1, line, (size_t)size) != size) die("nobody signs");
}

static void proved(char *text) {
  char *rest;
  long id = strtol(text, &rest, 10);
  if (id < 0 || id >= conn_count || *rest != ' ') die("a proof of nobody");
  char login[2048];
  int length = snprintf(login, sizeof login, "{\"id\":2,\"do\":\"login\",\"certificate\":\"%s\",\"proof\":\"%s\"}",
                        people[id].certificate, rest + 1);
  put_text(&conns[id], login, (size_t)length);
  flush(&conns[id]);
}

static void join(struct conn *c) { put_text(c, people[c->id].resume, strlen(people[c->id].resume)); }

// The bytes before a frame's payload, and that payload's length; 0 when they have not all come.
static size_t frame_head(const char *at, size_t length, size_t *size) {
  if (length < 2) return 0;
  const unsigned char *byte = (const unsigned char *)at;
  *size = byte[1] & 0x7f;
  if (*size < 126) return 2;
  int bytes = *size == 126 ? 2 : 8;
  if (length < 2 + (size_t)bytes) return 0;
  *size = 0;
  for (int i = 0; i < bytes; i++) *size = *size << 8 | byte[2 + i];
  return 2 + (size_t)bytes;
}

static int says(const char *text, size_t length, const char *what) {
  return length >= strlen(what) && memcmp(text, what, strlen(what)) == 0;
}

static void refused(const char *text, size_t length) {
  fprintf(stderr, "load: the server says %.*s\n", (int)length, text);
  die("refused");
}

static int step(struct conn *c) {
  if (c->step == 0) {
    char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    if (!says(c->in, c->in_length, "HTTP/1.1 101")) refused(c->in, (size_t)(end - c->in));
    consume(c, end + 4);
    greet(c);
    c->step = 1;
    return 1;
  }
  size_t size, head = frame_head(c->in, c->in_length, &size);
  if (head == 0 || c->in_length < head + size) return 0;
  const char *text = c->in + head;
  if ((c->in[0] & 0x0f) == 8) refused(text + 2, size < 2 ? 0 : size - 2);
  char answer[24];
  snprintf(answer, sizeof answer, "{\"id\":%d,\"ok\"", c->step);
  if (says(text, size, "{\"id\":") && memmem(text, size, "\"error\"", 7) != NULL) refused(text, size);
  int is_answer = says(text, size, answer);
  if (is_answer && c->step == 1) ask_for_proof(c, text, size);
  consume(c, text + size);
  if (!is_answer) return 1;
  c->step++;
  if (c->step == 3) ready(c);
  if (c->step == 4) joined(c);
  return 1;
}

// An id is a UUID of version 7: here its last 62 bits are the sender's number (14) and nanoseconds (48).
static void message(struct conn *c, uint64_t sent_at) {
  struct person *one = &people[c->id];
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  char changing[PUBLISH_HEAD_BYTES];
  put_number(changing + 1, ++c->sent, 4);
  char *id = changing + PUBLISH_ID_AT;
  put_number(id, (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000, 6);
  put_number(id + 6, 0x7000 | (c->sent & 0xfff), 2);
  put_number(id + 8, 1ull << 63 | (uint64_t)c->id << 48 | (sent_at & TIME_MASK), 8);
  // A device has sealed each of them.
  put_number(changing + PUBLISH_SEALED_AT, c->sent, 6);
  char *payload = one->frame + FRAME_HEAD_BYTES;
  for (int i = 1; i < 5; i++) payload[i] = changing[i] ^ MASK;
  for (int i = PUBLISH_ID_AT; i < PUBLISH_ID_AT + 16; i++) payload[i] = changing[i] ^ MASK;
  for (int i = PUBLISH_SEALED_AT; i < PUBLISH_HEAD_BYTES; i++) payload[i] = changing[i] ^ MASK;
  put(c, one->frame, one->frame_length);
}

static void on_frame(struct conn *c, const char *frame, const char *payload, size_t length) {
  static const char pong[6] = {(char)0x8a, (char)0x80};
  switch (frame[0] & 0x0f) {
    case 1:
      if (memmem(payload, length, "\"error\"", 7) != NULL) refused(payload, length);
      return;
    case 2:
      if (length < EVENT_HEAD_BYTES || payload[0] != 1) return;
      uint64_t low = 0;
      for (int i = 0; i < 8; i++) low = low << 8 | (unsigned char)payload[EVENT_ID_AT + 8 + i];
      return count_delivery(c, (int)(low >> 48 & 0x3fff), low);
    case 8:
      return refused(payload + 2, length < 2 ? 0 : length - 2);
    case 9:
      put(c, pong, sizeof pong);
      return flush(c);
  }
}

static void take(struct conn *c, char *at, size_t length) {
  char *end = at + length;
  at -= c->carry_length;
  memcpy(at, c->carry, c->carry_length);
  c->carry_length = 0;
  for (;;) {
    size_t passed = (size_t)(end - at) < c->skip ? (size_t)(end - at) : c->skip;
    at += passed;
    c->skip -= passed;
    if (at == end) return;
    size_t size = 0, head = frame_head(at, (size_t)(end - at), &size);
    size_t looked = size < EVENT_HEAD_BYTES ? size : EVENT_HEAD_BYTES;
    if (head == 0 || (size_t)(end - at) < head + looked) {
      c->carry_length = (size_t)(end - at);
      memcpy(c->carry, at, c->carry_length);
      return;
    }
    on_frame(c, at, at + head, looked);
    at += head;
    c->skip = size;
  }
}

const struct protocol sotto = {"sotto", 1, begin, step, join, message, take};
