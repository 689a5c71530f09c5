/* SPDX-License-Identifier: Apache-2.0 */
/* One packet through all steps, with flat arguments: for Python (ctypes), the fuzzer and the unit tests. */
#ifndef FIP64_SHIM_H
#define FIP64_SHIM_H

#include <fip64/fast.h>

struct shim_result
{
  int32_t verdict;
  int32_t reason;
  uint32_t frag_mtu;
  uint32_t n_out;     /* packets in out, one after the other */
  uint32_t err_type, err_code, err_arg;
  uint32_t is_icmp_error; /* of the incoming packet: inner addresses exist */
  uint32_t plain;	  /* the inline path was taken */
  uint8_t inner_src[16], inner_dst[16];
};

enum
{
  SHIM_SLOW = 1,     /* never the inline path */
  SHIM_REFUSE = 2,   /* as if no mapping had been found */
  SHIM_NO_HEADROOM = 4,
};

/* addrs: (v6, v4) of source, destination, inner source, inner destination; 20 bytes each. */
int shim_run (uint32_t version, const uint8_t *in, uint32_t len, uint32_t contig, const struct fip64_conf *c,
	      const uint8_t *addrs, uint32_t ident, uint32_t flags, const uint8_t *err_src, uint8_t *out,
	      uint32_t out_size, uint32_t *lens, uint32_t max_out, struct shim_result *res);
const char *shim_reason (uint32_t r);
uint32_t shim_martian4 (const uint8_t *a);
uint32_t shim_martian6 (const uint8_t *a);
uint32_t shim_ip4_header_ok (const uint8_t *p, uint32_t len);
const char *shim_conf_check (const struct fip64_conf *c);

#endif
