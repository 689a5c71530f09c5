/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: 8 bytes of choices, then a packet. Whatever the bytes, nothing outside the buffers is touched (malloc of
 * the exact size under AddressSanitizer), the inline path agrees with the full one, and what comes out is
 * well-formed: lengths, header checksum, fits the MTU. Aborts otherwise.
 */
#include "shim.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define CHECK(x)                                                                                              \
  do                                                                                                          \
    if (!(x))                                                                                                 \
      {                                                                                                       \
	fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                              \
	abort ();                                                                                             \
      }                                                                                                       \
  while (0)

enum
{
  MAX_OUT = 2048,
  OUT_SIZE = 256 * 1024,
};

static uint8_t out[2][OUT_SIZE];
static uint32_t lens[2][MAX_OUT];

static void
check_out (uint32_t version, const struct shim_result *r, const uint8_t *p, const uint32_t *len, uint32_t limit)
{
  for (uint32_t n = 0; n < r->n_out; p += len[n++])
    {
      if (version == 4)
	{
	  CHECK (fip64_ip4_header_ok (p, len[n]));
	  CHECK (fip64_be16 (p + 2) == len[n]);
	  /* No fragment of a packet that is longer than a total length can say. */
	  CHECK (8u * (fip64_be16 (p + 6) & 0x1fff) + len[n] <= 65535);
	}
      else
	{
	  CHECK (len[n] >= 40 && (p[0] >> 4) == 6);
	  CHECK (40u + fip64_be16 (p + 4) == len[n]);
	}
      CHECK (len[n] <= limit);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  if (size < 9 || size > 65536 + 8)
    return 0;
  struct fip64_conf c;
  fip64_conf_default (&c);
  static const uint16_t mtus4[] = { 1500, 68, 576, 1259, 1260, 1280, 9000, 65535 };
  static const uint16_t mtus6[] = { 1500, 1280, 1281, 1400, 1492, 9000, 65535, 1480 };
  static const uint16_t lowest[] = { 1280, 1500, 1400, 9000 };
  c.mtu4 = mtus4[data[0] & 7];
  c.mtu6 = mtus6[(data[0] >> 3) & 7];
  c.lowest_ipv6_mtu = lowest[data[0] >> 6];
  c.ttl_dec = data[1] & 1;
  c.udp_zero_drop = (data[1] >> 1) & 1;
  uint32_t version = data[1] & 4 ? 4 : 6;
  uint32_t flags = (data[1] & 8 ? SHIM_REFUSE : 0) | (data[1] & 16 ? SHIM_NO_HEADROOM : 0);
  uint32_t contig = data[1] & 32 ? (uint32_t) data[2] << 2 : 0xffffffff;
  uint16_t ident = fip64_load16 (data + 3);
  const uint8_t *p = data + 8;
  uint32_t n = (uint32_t) size - 8;
  uint8_t addrs[80];
  for (size_t k = 0; k < sizeof addrs; k++)
    addrs[k] = (uint8_t) (0x20 + 7 * k + data[5]);
  uint8_t err_src[16] = { 0xfe, 0x80 };

  struct shim_result r[2];
  for (uint32_t k = 0; k < 2; k++)
    CHECK (shim_run (version, p, n, contig, &c, addrs, ident, flags | (k ? SHIM_SLOW : 0), err_src, out[k], OUT_SIZE,
		     lens[k], MAX_OUT, &r[k]));
  CHECK (r[0].verdict == r[1].verdict && r[0].reason == r[1].reason && r[0].n_out == r[1].n_out
	 && r[0].frag_mtu == r[1].frag_mtu);
  size_t bytes = 0;
  for (uint32_t k = 0; k < r[0].n_out; k++)
    {
      CHECK (lens[0][k] == lens[1][k]);
      bytes += lens[0][k];
    }
  CHECK (memcmp (out[0], out[1], bytes) == 0);
  if (r[0].verdict == FIP64_PASS)
    {
      CHECK (r[0].n_out > 0);
      /* Unfragmented IPv6 that may exceed lowest_ipv6_mtu had DF; mtu6 holds in any case. */
      check_out (10 - version, &r[0], out[0], lens[0], version == 6 ? c.mtu4 : c.mtu6);
    }
  else if (r[0].verdict == FIP64_SEND_ERROR)
    check_out (version, &r[0], out[0], lens[0], version == 6 ? 1280 : 576);
  else
    CHECK (r[0].reason != FIP64_R_OK && r[0].n_out == 0);
  return 0;
}
