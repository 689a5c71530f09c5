/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: unfragmented TCP and UDP without extension headers or IPv4 options, inlined into the caller's
 * packet loop. Everything else is handed to the functions in src/. The results are the same as theirs.
 */
#ifndef FIP64_FAST_H
#define FIP64_FAST_H

#include <fip64/fip64.h>

/* Smallest transport header of TCP or UDP; 0 for others. */
FIP64_INLINE uint32_t
fip64_plain_l4_min (uint8_t proto)
{
  return proto == FIP64_PROTO_TCP ? 20 : proto == FIP64_PROTO_UDP ? 8 : 0;
}

FIP64_INLINE uint32_t
fip64_plain_csum_off (uint8_t proto)
{
  return proto == FIP64_PROTO_TCP ? 16 : 6;
}

FIP64_INLINE void
fip64_plain_info (struct fip64_info *i, uint8_t version, uint8_t proto, uint16_t hdr_len)
{
  i->version = version;
  i->plain = 1;
  i->reason = FIP64_R_OK;
  i->frag_mtu = 0;
  i->no_error = 0;
  i->ip.proto = proto;
  i->ip.frag = 0;
  i->ip.flags = 0;
  i->ip.hdr_len = hdr_len;
}

/* The hot path applies, and *i is set; otherwise it is not. */
FIP64_INLINE bool
fip64_is_plain6 (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  const uint8_t *p = b->data;
  if (fip64_unlikely (b->contig < 48))
    return false;
  uint32_t plen = fip64_be16 (p + 4);
  uint32_t l4 = fip64_plain_l4_min (p[6]);
  if (fip64_unlikely (l4 == 0 || (p[0] >> 4) != 6 || p[7] <= 1 || plen < l4 || 40 + plen != b->total
		      || 40 + l4 > b->contig || 20 + plen > c->mtu4))
    return false;
  fip64_plain_info (i, 6, p[6], 40);
  return true;
}

FIP64_INLINE bool
fip64_is_plain4 (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  const uint8_t *p = b->data;
  if (fip64_unlikely (b->contig < 28))
    return false;
  uint32_t len = fip64_be16 (p + 2);
  uint32_t l4 = fip64_plain_l4_min (p[9]);
  uint32_t limit = p[6] & 0x40			  ? c->mtu6
		   : c->lowest_ipv6_mtu < c->mtu6 ? c->lowest_ipv6_mtu
						  : c->mtu6;
  /* 0xbfff: reserved bit, MF and offset are zero. A UDP checksum of zero needs more work. */
  if (fip64_unlikely (p[0] != 0x45 || l4 == 0 || (fip64_load16 (p + 6) & fip64_hton16 (0xbfff)) != 0 || p[8] <= 1
		      || len < 20 + l4 || len != b->total || 20 + l4 > b->contig || len + 20 > limit
		      || (p[9] == FIP64_PROTO_UDP && fip64_load16 (p + 26) == 0)
		      || b->data - b->head < FIP64_HEADROOM))
    return false;
  fip64_plain_info (i, 4, p[9], 20);
  return true;
}

FIP64_INLINE enum fip64_verdict
fip64_parse6 (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  return fip64_likely (fip64_is_plain6 (b, c, i)) ? FIP64_PASS : fip64_parse6_slow (b, c, i);
}

FIP64_INLINE enum fip64_verdict
fip64_parse4 (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  return fip64_likely (fip64_is_plain4 (b, c, i)) ? FIP64_PASS : fip64_parse4_slow (b, c, i);
}

/* DF is set on packets larger than an IPv6 minimum-MTU packet becomes (RFC 7915 section 5.1). */
FIP64_INLINE void
fip64_write_ip4 (uint8_t *h, uint32_t tos, uint32_t len, uint32_t ident, uint32_t frag, uint32_t ttl, uint32_t proto,
		 uint32_t src, uint32_t dst)
{
  uint32_t w0 = fip64_hton32 (0x45000000u | tos << 16 | len);
  uint32_t w1 = fip64_hton32 (ident << 16 | frag);
  uint32_t w2 = fip64_hton32 (ttl << 24 | proto << 16);
  uint64_t s = (uint64_t) w0 + w1 + w2 + src + dst;
  /* At most 2^35: three folds are enough and branch-free. */
  s = (s & 0xffffffffu) + (s >> 32);
  s = (s & 0xffffu) + (s >> 16);
  s = (s & 0xffffu) + (s >> 16);
  s = (s & 0xffffu) + (s >> 16);
  fip64_store32 (h, w0);
  fip64_store32 (h + 4, w1);
  fip64_store32 (h + 8, w2);
  fip64_store16 (h + 10, (uint16_t) ~s);
  fip64_store32 (h + 12, src);
  fip64_store32 (h + 16, dst);
}

FIP64_INLINE void
fip64_6to4 (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i, const struct fip64_addrs *a,
	    uint16_t ident)
{
  if (fip64_unlikely (!i->plain))
    {
      fip64_6to4_slow (b, c, i, a, ident);
      return;
    }
  uint8_t *p = b->data;
  uint32_t w0 = fip64_be32 (p);
  uint32_t len = b->total - 20;
  uint32_t ttl = (uint32_t) p[7] - c->ttl_dec;
  uint8_t *csum = p + 40 + fip64_plain_csum_off (i->ip.proto);
  uint16_t old = fip64_load16 (csum);
  uint16_t new = fip64_csum_adjust (old, (uint32_t) a->src->to4 + a->dst->to4);
  if (i->ip.proto == FIP64_PROTO_UDP)
    /* None stays none (RFC 6935 tunnels); a computed zero is sent as all ones. */
    new = old == 0 ? 0 : new == 0 ? 0xffff : new;
  fip64_store16 (csum, new);
  fip64_write_ip4 (p + 20, (w0 >> 20) & c->tos_mask_6to4, len, ident, len > 1260 ? 0x4000 : 0, ttl, i->ip.proto,
		   a->src->v4, a->dst->v4);
  b->data = p + 20;
  b->contig -= 20;
  b->total = len;
}

FIP64_INLINE void
fip64_4to6 (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i, const struct fip64_addrs *a)
{
  if (fip64_unlikely (!i->plain))
    {
      fip64_4to6_slow (b, c, i, a);
      return;
    }
  uint8_t *p = b->data;
  uint32_t tos = p[1] & c->tos_mask_4to6;
  uint32_t hop = (uint32_t) p[8] - c->ttl_dec;
  uint8_t *csum = p + 20 + fip64_plain_csum_off (i->ip.proto);
  uint16_t new = fip64_csum_adjust (fip64_load16 (csum), (uint32_t) a->src->to6 + a->dst->to6);
  if (i->ip.proto == FIP64_PROTO_UDP && new == 0)
    new = 0xffff;
  fip64_store16 (csum, new);
  uint8_t *h = p - 20;
  fip64_store32 (h, fip64_hton32 (0x60000000u | tos << 20));
  fip64_store32 (h + 4, fip64_hton32 ((b->total - 20) << 16 | (uint32_t) i->ip.proto << 8 | hop));
  memcpy (h + 8, a->src->v6, 16);
  memcpy (h + 24, a->dst->v6, 16);
  b->data = h;
  b->contig += 20;
  b->total += 20;
}

#endif
