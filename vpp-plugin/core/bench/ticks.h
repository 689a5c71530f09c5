/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FIP64_TICKS_H
#define FIP64_TICKS_H

#include <stdint.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#define ticks() __rdtsc ()
#else
#include <time.h>
static uint64_t
ticks (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}
#endif

static int
by_value (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return x < y ? -1 : x > y;
}

#endif
