// Time, CPU time, memory and latencies.
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "load.h"

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void nap(uint64_t nanoseconds) {
  struct timespec t = {(time_t)(nanoseconds / 1000000000ull), (long)(nanoseconds % 1000000000ull)};
  nanosleep(&t, NULL);
}

// All threads of the server; the kernel counts them in nanoseconds.
double server_cpu_seconds(void) {
  char path[512];
  snprintf(path, sizeof path, "/proc/%s/task", options.pid);
  DIR *tasks = opendir(path);
  if (tasks == NULL) die("the server is gone");
  double total = 0;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", options.pid, task->d_name);
    FILE *file = fopen(path, "r");
    if (file == NULL) continue;
    unsigned long long ran = 0;
    if (fscanf(file, "%llu", &ran) == 1) total += (double)ran / 1e9;
    fclose(file);
  }
  closedir(tasks);
  return total;
}

double own_cpu_seconds(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

long server_rss_kib(void) {
  char path[128], row[256];
  snprintf(path, sizeof path, "/proc/%s/status", options.pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) die("the server is gone");
  long kib = 0;
  while (fgets(row, sizeof row, file) != NULL)
    if (strncmp(row, "VmRSS:", 6) == 0) kib = atol(row + 6);
  fclose(file);
  return kib;
}

// Powers of two in 32 steps each: an error of at most 3 %.
#define STEPS 32
static uint64_t counts[64 * STEPS];

static int step_of(uint64_t value) {
  if (value < STEPS) return (int)value;
  int power = 63 - __builtin_clzll(value);
  return (power - 4) * STEPS + (int)((value >> (power - 5)) & (STEPS - 1));
}

static double value_of(int step) {
  if (step < STEPS) return step;
  return (double)((uint64_t)(STEPS + (step & (STEPS - 1))) << (step / STEPS + 4 - 5));
}

void forget_latencies(void) { memset(counts, 0, sizeof counts); }

void add_latency(uint64_t nanoseconds) { counts[step_of(nanoseconds)]++; }

// The latency below which the share `share` of the deliveries lies; -1 without any.
double latency_ms(double share) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < 64 * STEPS; i++) total += counts[i];
  for (int i = 0; i < 64 * STEPS; i++) {
    seen += counts[i];
    if (total > 0 && (double)seen >= share * (double)total) return value_of(i) / 1e6;
  }
  return -1;
}

void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

void raise_file_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}
