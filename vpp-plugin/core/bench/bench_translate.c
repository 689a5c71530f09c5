/* SPDX-License-Identifier: Apache-2.0 */
/* Time-stamp counter ticks per packet of parse + translate, 64-byte UDP (IPv6: 84 bytes), both directions.
   Look-ups are an array access: endpoints of --clients N clients are visited in a scattered order. */
#include <fip64/fast.h>
#include "ticks.h"
#include <stdio.h>
#include <stdlib.h>

enum
{
  BATCH = 256,
  STRIDE = 256,
  ROUNDS = 2000,
};

static uint8_t mem[BATCH * STRIDE] __attribute__ ((aligned (64)));
static uint8_t saved[BATCH * STRIDE];

static void
make (int version, uint8_t *p, const struct fip64_endpoint *src, const struct fip64_endpoint *dst)
{
  if (version == 6)
    {
      fip64_put32 (p, 0x60000000);
      fip64_put32 (p + 4, 44u << 16 | 17 << 8 | 64);
      memcpy (p + 8, src->v6, 16);
      memcpy (p + 24, dst->v6, 16);
      p += 40;
    }
  else
    {
      fip64_write_ip4 (p, 0, 64, 1, 0, 64, 17, src->v4, dst->v4);
      p += 20;
    }
  fip64_put32 (p, 1000u << 16 | 2000);
  fip64_put32 (p + 4, 44u << 16 | 0x1234);
  memset (p + 8, 0x55, 36);
}

static void
run (int version, int slow, const struct fip64_endpoint *clients, size_t n, const struct fip64_endpoint *fip)
{
  struct fip64_conf c;
  fip64_conf_default (&c);
  static uint64_t t[ROUNDS];
  static struct fip64_buf b[BATCH];
  static size_t who[BATCH];
  size_t next = 0;
  uint64_t sink = 0;
  for (int round = 0; round < ROUNDS; round++)
    {
      for (size_t k = 0; k < BATCH; k++)
	{
	  who[k] = next;
	  next = (next + 7919) % n;
	  const struct fip64_endpoint *cl = &clients[who[k]];
	  uint8_t *p = saved + k * STRIDE + 128;
	  make (version, p, version == 6 ? cl : fip, version == 6 ? fip : cl);
	  b[k] = (struct fip64_buf){ mem + k * STRIDE, mem + k * STRIDE + 128, version == 6 ? 84 : 64,
				     version == 6 ? 84 : 64 };
	}
      memcpy (mem, saved, sizeof mem);
      uint64_t t0 = ticks ();
      for (size_t k = 0; k < BATCH; k++)
	{
	  struct fip64_info i;
	  struct fip64_addrs a = { 0 };
	  __builtin_prefetch (&clients[who[(k + 4) % BATCH]]);
	  const struct fip64_endpoint *cl = &clients[who[k]];
	  if (version == 6)
	    {
	      a.src = cl;
	      a.dst = fip;
	      if (slow ? fip64_parse6_slow (&b[k], &c, &i) : fip64_parse6 (&b[k], &c, &i))
		abort ();
	      if (slow)
		fip64_6to4_slow (&b[k], &c, &i, &a, (uint16_t) k);
	      else
		fip64_6to4 (&b[k], &c, &i, &a, (uint16_t) k);
	    }
	  else
	    {
	      a.src = fip;
	      a.dst = cl;
	      if (slow ? fip64_parse4_slow (&b[k], &c, &i) : fip64_parse4 (&b[k], &c, &i))
		abort ();
	      if (slow)
		fip64_4to6_slow (&b[k], &c, &i, &a);
	      else
		fip64_4to6 (&b[k], &c, &i, &a);
	    }
	  sink += b[k].total;
	}
      t[round] = ticks () - t0;
    }
  qsort (t, ROUNDS, sizeof t[0], by_value);
  printf ("%s %s, %8zu clients: %6.1f ticks per packet (median; best %.1f)%s\n", version == 6 ? "6to4" : "4to6",
	  slow ? "full  " : "inline", n, (double) t[ROUNDS / 2] / BATCH, (double) t[0] / BATCH, sink ? "" : "?");
}

int
main (void)
{
  static const size_t counts[] = { 1, 1000, 1000000 };
  size_t max = 1000000;
  struct fip64_endpoint fip, *clients = calloc (max, sizeof *clients);
  if (!clients)
    return 1;
  uint8_t a[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
  fip64_endpoint_init (&fip, a, fip64_hton32 (0x0a000005));
  for (uint32_t k = 0; k < max; k++)
    {
      fip64_put32 (a + 8, k * 2654435761u);
      fip64_endpoint_init (&clients[k], a, fip64_hton32 (0x64400000 + k));
    }
  for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
    {
      run (6, 0, clients, counts[k], &fip);
      run (4, 0, clients, counts[k], &fip);
    }
  run (6, 1, clients, 1, &fip);
  run (4, 1, clients, 1, &fip);
  free (clients);
  return 0;
}
