/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors that the translator itself sends (RFC 7915 sections 4.4 and 5.4), fragments, names, checks. */
#include "internal.h"

bool
fip64_build_error (struct fip64_buf *b, const struct fip64_info *i, const uint8_t *src)
{
  bool v6 = i->version == 6;
  uint32_t ip_len = v6 ? 40 : 20;
  uint32_t front = ip_len + 8;
  if (b->data - b->head < (ptrdiff_t) front)
    return false;
  uint32_t quoted = fip64_min (b->contig, (v6 ? FIP64_MIN_MTU6 : FIP64_MAX_ICMP4_ERROR) - front);
  uint8_t *p = b->data - front;
  uint8_t *icmp = p + ip_len;
  uint8_t dst[16];
  memcpy (dst, fip64_src (b, i), v6 ? 16 : 4);

  icmp[0] = i->err_type;
  icmp[1] = i->err_code;
  fip64_store16 (icmp + 2, 0);
  fip64_put32 (icmp + 4, i->err_arg);
  uint64_t s = fip64_sum (icmp, 8 + quoted);
  if (v6)
    {
      fip64_put32 (p, 0x60000000u);
      fip64_put32 (p + 4, (8 + quoted) << 16 | FIP64_PROTO_ICMP6 << 8 | 64);
      memcpy (p + 8, src, 16);
      memcpy (p + 24, dst, 16);
      s += fip64_sum16bytes (p + 8) + fip64_sum16bytes (p + 24)
	   + fip64_pseudo6_tail (8 + quoted, FIP64_PROTO_ICMP6);
    }
  else
    /* Precedence internetwork control: RFC 1812 section 4.3.2.5. */
    fip64_write_ip4 (p, 0xc0, front + quoted, 0, 0, 64, FIP64_PROTO_ICMP, fip64_load32 (src), fip64_load32 (dst));
  fip64_store16 (icmp + 2, (uint16_t) ~fip64_fold (s));
  b->data = p;
  b->contig = b->total = front + quoted;
  return true;
}

void
fip64_frag_init (struct fip64_frag_iter *it, const struct fip64_buf *b, const struct fip64_info *i)
{
  const uint8_t *p = b->data;
  memset (it, 0, sizeof *it);
  it->pkt = p;
  it->total = b->total;
  it->version = i->version == 6 ? 4 : 6;
  it->ident = i->ip.ident & 0xffff;
  uint32_t overhead;
  if (it->version == 4)
    {
      uint16_t frag = fip64_be16 (p + 6);
      it->hdr_len = 20;
      overhead = 20;
      it->base = (uint16_t) ((frag & 0x1fff) << 3);
      it->more = (frag >> 13) & 1;
    }
  else
    {
      it->proto = p[6];
      it->hdr_len = 40;
      overhead = 48;
      if (p[6] == FIP64_PROTO_FRAGMENT)
	{
	  it->hdr_len = 48;
	  it->proto = p[40];
	  it->base = fip64_be16 (p + 42) & 0xfff8;
	  it->more = p[43] & 1;
	}
    }
  it->chunk = (uint16_t) ((i->frag_mtu - overhead) & ~7u);
}

bool
fip64_frag_next (struct fip64_frag_iter *it, struct fip64_fragment *f)
{
  uint32_t payload = it->total - it->hdr_len;
  if (it->pos >= payload)
    return false;
  f->off = it->hdr_len + it->pos;
  f->len = fip64_min (it->chunk, payload - it->pos);
  uint32_t at = it->base + it->pos;
  it->pos += f->len;
  bool more = it->pos < payload || it->more;
  const uint8_t *p = it->pkt;
  if (it->version == 4)
    {
      f->hdr_len = 20;
      fip64_write_ip4 (f->hdr, p[1], 20 + f->len, fip64_be16 (p + 4), at >> 3 | (more ? 0x2000u : 0), p[8], p[9],
		       fip64_load32 (p + 12), fip64_load32 (p + 16));
      return true;
    }
  f->hdr_len = 48;
  memcpy (f->hdr, p, 40);
  fip64_put16 (f->hdr + 4, (uint16_t) (8 + f->len));
  f->hdr[6] = FIP64_PROTO_FRAGMENT;
  fip64_put32 (f->hdr + 40, (uint32_t) it->proto << 24 | at | (more ? 1 : 0));
  fip64_put32 (f->hdr + 44, it->ident);
  return true;
}

const char *
fip64_reason_name (enum fip64_reason r)
{
  static const char *const names[] = {
#define X(sym, name, desc) name,
    FIP64_REASONS
#undef X
  };
  return (unsigned) r < FIP64_N_REASONS ? names[r] : "unknown";
}

const char *
fip64_reason_text (enum fip64_reason r)
{
  static const char *const texts[] = {
#define X(sym, name, desc) desc,
    FIP64_REASONS
#undef X
  };
  return (unsigned) r < FIP64_N_REASONS ? texts[r] : "unknown";
}

void
fip64_conf_default (struct fip64_conf *c)
{
  *c = (struct fip64_conf){
    .mtu4 = 1500,
    .mtu6 = 1500,
    .lowest_ipv6_mtu = FIP64_MIN_MTU6,
    .ttl_dec = 1,
    .tos_mask_4to6 = 0xff,
    .tos_mask_6to4 = 0xff,
    .udp_zero_drop = 0,
  };
}

const char *
fip64_conf_check (const struct fip64_conf *c)
{
  if (c->mtu4 < FIP64_MIN_MTU4)
    return "mtu4";
  if (c->mtu6 < FIP64_MIN_MTU6)
    return "mtu6";
  if (c->lowest_ipv6_mtu < FIP64_MIN_MTU6)
    return "lowest_ipv6_mtu";
  if (c->ttl_dec > 1)
    return "ttl_dec";
  return NULL;
}

bool
fip64_martian4 (uint32_t addr)
{
  uint32_t a = fip64_hton32 (addr), first = a >> 24;
  return first == 0 || first == 127 || first >= 224 || a >> 16 == 0xa9fe;
}

bool
fip64_martian6 (const uint8_t addr[16])
{
  static const uint8_t zero[12];
  static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
  /* ::/96 holds unspecified, loopback and the IPv4-compatible addresses. */
  return addr[0] == 0xff || (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80) || memcmp (addr, zero, 12) == 0
	 || memcmp (addr, mapped, 12) == 0;
}

bool
fip64_ip4_header_ok (const uint8_t *pkt, size_t len)
{
  if (len < 20 || (pkt[0] >> 4) != 4)
    return false;
  size_t hdr_len = 4u * (pkt[0] & 15);
  return hdr_len >= 20 && hdr_len <= len && fip64_sum (pkt, hdr_len) == 0xffff;
}
