/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FIP64_EXPECT_H
#define FIP64_EXPECT_H

#include <stdio.h>

static int failures;

#define EXPECT(x)                                                                                             \
  do                                                                                                          \
    if (!(x))                                                                                                 \
      {                                                                                                       \
	fprintf (stderr, "%s:%d: %s\n", __func__, __LINE__, #x);                                              \
	failures++;                                                                                           \
      }                                                                                                       \
  while (0)

#endif
