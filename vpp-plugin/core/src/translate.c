/* SPDX-License-Identifier: Apache-2.0 */
/* Step 3: headers in, headers out. Nothing here can fail: parse.c has checked everything. */
#include "internal.h"

uint32_t
fip64_write_ip6 (uint8_t *h, uint32_t tc, const struct fip64_ip *ip, uint32_t payload_len, uint32_t hop,
		 const uint8_t src[16], const uint8_t dst[16])
{
  uint32_t proto = ip->proto == FIP64_PROTO_ICMP ? FIP64_PROTO_ICMP6 : ip->proto;
  bool frag = ip->flags & FIP64_FRAG;
  fip64_put32 (h, 0x60000000u | tc << 20);
  fip64_put32 (h + 4, (payload_len + (frag ? 8 : 0)) << 16 | (frag ? FIP64_PROTO_FRAGMENT : proto) << 8 | hop);
  memcpy (h + 8, src, 16);
  memcpy (h + 24, dst, 16);
  if (!frag)
    return 40;
  fip64_put32 (h + 40, proto << 24 | ip->frag);
  fip64_put32 (h + 44, ip->ident & 0xffff);
  return 48;
}

/* The front of the packet now begins at p; its end has not moved. */
static void
set_front (struct fip64_buf *b, uint8_t *p)
{
  uint32_t chained = b->total - b->contig;
  b->contig = (uint32_t) (b->data + b->contig - p);
  b->total = b->contig + chained;
  b->data = p;
}

static void
adjust_l4 (uint8_t *l4, const struct fip64_ip *ip, uint32_t delta)
{
  int off = fip64_csum_off (ip->proto);
  if (off < 0 || !fip64_has_l4 (ip))
    return;
  uint16_t csum = fip64_load16 (l4 + off);
  if (csum == 0 && ip->proto == FIP64_PROTO_UDP)
    return;
  fip64_store16 (l4 + off, fip64_csum_update (ip->proto, csum, delta));
}

void
fip64_6to4_slow (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
		 const struct fip64_addrs *a, uint16_t ident)
{
  uint8_t *p = b->data;
  uint32_t tos = (fip64_be32 (p) >> 20) & c->tos_mask_6to4;
  uint32_t ttl = (uint32_t) p[7] - c->ttl_dec;
  uint8_t *l4 = p + i->ip.hdr_len;
  uint8_t proto = i->ip.proto;
  uint32_t frag = 0;
  uint32_t id = ident;

  if (proto == FIP64_PROTO_ICMP6)
    {
      l4 = fip64_icmp_rewrite (b, c, i, a);
      proto = FIP64_PROTO_ICMP;
    }
  else
    adjust_l4 (l4, &i->ip, (uint32_t) a->src->to4 + a->dst->to4);

  set_front (b, l4 - 20);
  if (i->ip.flags & FIP64_FRAG)
    {
      id = i->ip.ident & 0xffff;
      frag = (uint32_t) i->ip.frag >> 3 | (i->ip.frag & 1 ? 0x2000u : 0);
    }
  else if (b->total > 1260)
    frag = 0x4000;
  fip64_write_ip4 (b->data, tos, b->total, id, frag, ttl, proto, a->src->v4, a->dst->v4);
}

/* RFC 7915 section 4.5: the one case in which the payload is read. */
static void
fill_udp_csum (uint8_t *udp, const struct fip64_addrs *a)
{
  uint32_t len = fip64_be16 (udp + 4);
  uint64_t s = fip64_sum16bytes (a->src->v6) + fip64_sum16bytes (a->dst->v6)
	       + fip64_pseudo6_tail (len, FIP64_PROTO_UDP) + fip64_sum (udp, len);
  uint16_t csum = (uint16_t) ~fip64_fold (s);
  fip64_store16 (udp + 6, csum ? csum : 0xffff);
}

void
fip64_4to6_slow (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
		 const struct fip64_addrs *a)
{
  uint8_t *p = b->data;
  uint32_t tc = p[1] & c->tos_mask_4to6;
  uint32_t hop = (uint32_t) p[8] - c->ttl_dec;
  uint8_t *l4 = p + i->ip.hdr_len;
  uint32_t hdr_len = 40 + (i->ip.flags & FIP64_FRAG ? 8u : 0u);

  if (i->ip.proto == FIP64_PROTO_ICMP)
    l4 = fip64_icmp_rewrite (b, c, i, a);
  else if (i->ip.flags & FIP64_UDP_ZERO)
    fill_udp_csum (l4, a);
  else
    adjust_l4 (l4, &i->ip, (uint32_t) a->src->to6 + a->dst->to6);

  set_front (b, l4 - hdr_len);
  fip64_write_ip6 (b->data, tc, &i->ip, b->total - hdr_len, hop, a->src->v6, a->dst->v6);
}
