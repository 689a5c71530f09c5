/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no packets built by others: sums, names, configuration, memory limits. Packets: test_*.py. */
#include "../src/internal.h"
#include "expect.h"

static void
test_fold (void)
{
  EXPECT (fip64_fold (0) == 0);
  EXPECT (fip64_fold (0xffff) == 0xffff);
  EXPECT (fip64_fold (0x10000) == 1);
  EXPECT (fip64_fold (0xffffffffffffffffu) == 0xffff);
  /* Against the definition: x modulo 65535, with 65535 for nonzero multiples. */
  uint64_t x = 0x123456789abcdefu;
  for (int n = 0; n < 100000; n++)
    {
      x = x * 6364136223846793005u + 1442695040888963407u;
      uint64_t v = x >> (n % 48);
      EXPECT (fip64_fold (v) == (v == 0 ? 0 : v % 65535 == 0 ? 65535 : v % 65535));
    }
}

static void
test_sum_odd_and_short (void)
{
  uint8_t p[7] = { 1, 2, 3, 4, 5, 6, 7 };
  EXPECT (fip64_sum (p, 0) == 0);
  for (size_t n = 0; n <= 7; n++)
    {
      uint32_t want = 0;
      for (size_t k = 0; k < n; k++)
	want += (uint32_t) p[k] << (k % 2 ? 0 : 8);
      EXPECT (fip64_sum (p, n) == fip64_hton16 ((uint16_t) want));
    }
}

static void
test_adjust_equals_recompute (void)
{
  uint8_t p[64];
  uint32_t seed = 1;
  for (int n = 0; n < 20000; n++)
    {
      for (size_t k = 0; k < sizeof p; k++)
	{
	  seed = seed * 1664525u + 1013904223u;
	  p[k] = (uint8_t) (n % 5 ? seed >> 24 : seed >> 31 ? 0xff : 0);
	}
      p[40] |= 1; /* a packet is never all zeros */
      uint16_t before = (uint16_t) ~fip64_sum (p, sizeof p);
      uint32_t delta = fip64_neg (fip64_sum (p, 16));
      for (size_t k = 0; k < 16; k++)
	p[k] = (uint8_t) (p[k] * 7 + 3);
      delta += fip64_sum (p, 16);
      EXPECT (fip64_csum_adjust (before, delta) == fip64_neg (fip64_sum (p, sizeof p)));
    }
}

static void
test_endpoint_differences_cancel (void)
{
  struct fip64_endpoint e;
  uint8_t a[16] = { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
  fip64_endpoint_init (&e, a, fip64_hton32 (0xc0000201));
  for (uint32_t csum = 0; csum < 0xffff; csum++) /* 0xffff is the other zero */
    EXPECT (fip64_csum_adjust (fip64_csum_adjust ((uint16_t) csum, e.to4), e.to6) == csum);
}

static void
test_reason_names_unique (void)
{
  for (unsigned a = 0; a < FIP64_N_REASONS; a++)
    {
      EXPECT (fip64_reason_name (a)[0] && fip64_reason_text (a)[0]);
      for (unsigned b = 0; b < a; b++)
	EXPECT (strcmp (fip64_reason_name (a), fip64_reason_name (b)) != 0);
    }
  EXPECT (strcmp (fip64_reason_name (FIP64_N_REASONS), "unknown") == 0);
}

static void
test_conf_check (void)
{
  struct fip64_conf c;
  fip64_conf_default (&c);
  EXPECT (fip64_conf_check (&c) == NULL);
  EXPECT (c.mtu4 == 1500 && c.mtu6 == 1500 && c.lowest_ipv6_mtu == 1280 && c.ttl_dec == 1 && c.udp_zero_drop == 0
	  && c.tos_mask_4to6 == 0xff && c.tos_mask_6to4 == 0xff);
  c.mtu4 = 68;
  c.mtu6 = 1280;
  EXPECT (fip64_conf_check (&c) == NULL);
  c.ttl_dec = 2;
  EXPECT (strcmp (fip64_conf_check (&c), "ttl_dec") == 0);
  c.mtu6 = 1279;
  EXPECT (strcmp (fip64_conf_check (&c), "mtu6") == 0);
  fip64_conf_default (&c);
  c.mtu4 = 67;
  EXPECT (strcmp (fip64_conf_check (&c), "mtu4") == 0);
  fip64_conf_default (&c);
  c.lowest_ipv6_mtu = 1000;
  EXPECT (strcmp (fip64_conf_check (&c), "lowest_ipv6_mtu") == 0);
}

static void
test_error_needs_headroom (void)
{
  uint8_t mem[100] = { 0 };
  struct fip64_buf b = { mem, mem + 20, 40, 40 };
  struct fip64_info i = { .version = 6 };
  uint8_t src[16] = { 0 };
  EXPECT (!fip64_build_error (&b, &i, src));
  EXPECT (b.data == mem + 20 && b.total == 40);
}

int
main (void)
{
  test_fold ();
  test_sum_odd_and_short ();
  test_adjust_equals_recompute ();
  test_endpoint_differences_cancel ();
  test_reason_names_unique ();
  test_conf_check ();
  test_error_needs_headroom ();
  if (failures)
    fprintf (stderr, "%d failures\n", failures);
  return failures != 0;
}
