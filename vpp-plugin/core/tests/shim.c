/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"
#include <stdlib.h>

static bool
emit (uint8_t **out, uint8_t *end, uint32_t *lens, uint32_t max_out, struct shim_result *res, const uint8_t *a,
      size_t na, const uint8_t *b, size_t nb, const uint8_t *c, size_t nc)
{
  if (res->n_out >= max_out || (size_t) (end - *out) < na + nb + nc)
    return false;
  if (na)
    memcpy (*out, a, na);
  if (nb)
    memcpy (*out + na, b, nb);
  if (nc)
    memcpy (*out + na + nb, c, nc);
  *out += na + nb + nc;
  lens[res->n_out++] = (uint32_t) (na + nb + nc);
  return true;
}

int
shim_run (uint32_t version, const uint8_t *in, uint32_t len, uint32_t contig, const struct fip64_conf *c,
	  const uint8_t *addrs, uint32_t ident, uint32_t flags, const uint8_t *err_src, uint8_t *out,
	  uint32_t out_size, uint32_t *lens, uint32_t max_out, struct shim_result *res)
{
  struct fip64_endpoint ep[4];
  for (int n = 0; n < 4; n++)
    fip64_endpoint_init (&ep[n], addrs + 20 * n, fip64_load32 (addrs + 20 * n + 16));
  struct fip64_addrs a = { &ep[0], &ep[1], &ep[2], &ep[3] };
  memset (res, 0, sizeof *res);
  if (contig > len)
    contig = len;

  /* Exactly as large as the core may touch: AddressSanitizer sees the rest. */
  uint32_t headroom = flags & SHIM_NO_HEADROOM ? 0 : FIP64_HEADROOM;
  uint8_t *mem = malloc (headroom + contig + !contig);
  if (!mem)
    abort ();
  memset (mem, 0xa5, headroom);
  if (contig)
    memcpy (mem + headroom, in, contig);
  struct fip64_buf b = { mem, mem + headroom, contig, len };
  struct fip64_info i;
  memset (&i, 0x5a, sizeof i);

  enum fip64_verdict v;
  if (flags & SHIM_SLOW)
    v = version == 6 ? fip64_parse6_slow (&b, c, &i) : fip64_parse4_slow (&b, c, &i);
  else
    v = version == 6 ? fip64_parse6 (&b, c, &i) : fip64_parse4 (&b, c, &i);
  if (v == FIP64_PASS && (flags & SHIM_REFUSE))
    v = fip64_refuse (&b, &i, FIP64_R_NO_MAPPING);
  res->verdict = (int32_t) v;
  res->reason = i.reason;
  uint8_t *end = out + out_size;
  int ok = 1;
  if (v == FIP64_SEND_ERROR)
    {
      res->err_type = i.err_type;
      res->err_code = i.err_code;
      res->err_arg = i.err_arg;
      if (fip64_build_error (&b, &i, err_src))
	ok = emit (&out, end, lens, max_out, res, b.data, b.contig, NULL, 0, NULL, 0);
    }
  else if (v == FIP64_PASS)
    {
      if (i.ip.flags & FIP64_ICMP_ERR)
	{
	  size_t n = version == 6 ? 16 : 4;
	  res->is_icmp_error = 1;
	  memcpy (res->inner_src, fip64_inner_src (&b, &i), n);
	  memcpy (res->inner_dst, fip64_inner_dst (&b, &i), n);
	}
      /* What was chained stays where it is: right behind. */
      const uint8_t *tail = in + contig;
      if (version == 6)
	fip64_6to4 (&b, c, &i, &a, (uint16_t) ident);
      else
	fip64_4to6 (&b, c, &i, &a);
      res->frag_mtu = i.frag_mtu;
      res->plain = i.plain;
      if (b.data < b.head || b.data + b.contig > mem + headroom + contig || b.total < b.contig)
	abort ();
      if (!i.frag_mtu)
	ok = emit (&out, end, lens, max_out, res, b.data, b.contig, tail, b.total - b.contig, NULL, 0);
      else
	{
	  struct fip64_frag_iter it;
	  struct fip64_fragment f;
	  fip64_frag_init (&it, &b, &i);
	  while (ok && fip64_frag_next (&it, &f))
	    {
	      uint32_t near = f.off >= b.contig ? 0 : b.contig - f.off < f.len ? b.contig - f.off : f.len;
	      const uint8_t *far = near == f.len ? NULL : tail + (f.off + near - b.contig);
	      ok = emit (&out, end, lens, max_out, res, f.hdr, f.hdr_len, near ? b.data + f.off : NULL, near, far,
			 f.len - near);
	    }
	}
    }
  free (mem);
  return ok;
}

const char *
shim_reason (uint32_t r)
{
  return fip64_reason_name ((enum fip64_reason) r);
}

uint32_t
shim_martian4 (const uint8_t *a)
{
  return fip64_martian4 (fip64_load32 (a));
}

uint32_t
shim_martian6 (const uint8_t *a)
{
  return fip64_martian6 (a);
}

uint32_t
shim_ip4_header_ok (const uint8_t *p, uint32_t len)
{
  return fip64_ip4_header_ok (p, len);
}

const char *
shim_conf_check (const struct fip64_conf *c)
{
  return fip64_conf_check (c);
}
