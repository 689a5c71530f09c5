/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP messages: RFC 7915 sections 4.2, 4.3, 5.2 and 5.3. */
#include "internal.h"

enum
{
  V4_ECHO_REPLY = 0,
  V4_UNREACH = 3,
  V4_ECHO = 8,
  V4_TIME = 11,
  V4_PARAM = 12,
  V6_UNREACH = 1,
  V6_TOO_BIG = 2,
  V6_TIME = 3,
  V6_PARAM = 4,
  V6_ECHO = 128,
  V6_ECHO_REPLY = 129,
};

/* RFC 7915 figures 3 and 6: the field at an offset of one family's header begins at this offset of the other's; -1:
   there is none. */
static int
pointer_4to6 (uint32_t p)
{
  static const int8_t map[20] = { 0, 1, 4, 4, -1, -1, -1, -1, 7, 6, -1, -1, 8, 8, 8, 8, 24, 24, 24, 24 };
  return p < sizeof map ? map[p] : -1;
}

static int
pointer_6to4 (uint32_t p)
{
  static const int8_t map[8] = { 0, 1, -1, -1, 2, 2, 9, 8 };
  return p < sizeof map ? map[p] : p < 24 ? 12 : p < 40 ? 16 : -1;
}

/* The likely MTU of a router that dropped a packet of this length and named no MTU (RFC 1191 section 7.1). RFC 7915
   takes the greatest plateau below the packet's length that is at least 1280. */
static uint32_t
plateau (uint32_t total_len)
{
  static const uint16_t plateaus[] = { 65535, 32000, 17914, 8166, 4352, 2002, 1492 };
  for (size_t n = 0; n < sizeof plateaus / sizeof plateaus[0]; n++)
    if (plateaus[n] < total_len)
      return plateaus[n];
  return FIP64_MIN_MTU6 - 20; /* the caller adds 20 */
}

/*
 * Checks the transport header of the quoted packet, which has been parsed, and computes the lengths in the new message.
 * ext: bytes of an extension (RFC 4884) behind it. unit: bytes in which the outgoing family counts the length of the
 * quoted packet (RFC 4884); 0 if the outgoing type cannot carry an extension.
 */
static enum fip64_reason
lay_out (const struct fip64_buf *b, struct fip64_info *i, uint32_t ext, uint32_t unit)
{
  bool to4 = i->version == 6;
  const struct fip64_ip *in = &i->inner;
  uint32_t l4 = i->inner_off + in->hdr_len;
  uint32_t have = fip64_min (in->payload_len, i->inner_avail - in->hdr_len);

  if (fip64_has_l4 (in))
    {
      const uint8_t *icmp = b->data + l4;
      int off = fip64_csum_off (in->proto);
      if (off >= 0 && have >= (uint32_t) off + 2 && l4 + (uint32_t) off + 2 > b->contig)
	return FIP64_R_NOT_LINEAR;
      if (in->proto == (to4 ? FIP64_PROTO_ICMP6 : FIP64_PROTO_ICMP))
	{
	  if (have < 4)
	    return FIP64_R_INNER_BAD;
	  if (l4 + 4 > b->contig)
	    return FIP64_R_NOT_LINEAR;
	  if (to4 ? icmp[0] != V6_ECHO && icmp[0] != V6_ECHO_REPLY : icmp[0] != V4_ECHO && icmp[0] != V4_ECHO_REPLY)
	    return FIP64_R_INNER_ICMP;
	}
    }

  uint32_t dgram = i->inner_avail - in->hdr_len + (to4 ? 20u : 40u + (in->flags & FIP64_FRAG ? 8u : 0u));
  uint32_t limit = to4 ? 65535 - 20 - 8 : FIP64_MIN_MTU6 - 40 - 8; /* RFC 4443 section 2.4(c) */
  if (ext && unit)
    {
      uint32_t padded = fip64_max (FIP64_MIN_EXT_DGRAM, (dgram + unit - 1) / unit * unit);
      if (padded / unit <= 255 && padded + ext <= limit)
	{
	  i->pad = (uint16_t) (padded - dgram);
	  i->icmp_len = 8 + padded + ext;
	  i->icmp_arg |= to4 ? padded / unit << 16 : padded / unit << 24;
	  ext = 0;
	}
    }
  if (i->icmp_len == 0)
    {
      /* An extension that does not fit is removed as a whole: a part of it would have no valid checksum. */
      i->cut = ext;
      if (dgram > limit)
	{
	  i->cut += dgram - limit;
	  dgram = limit;
	}
      i->icmp_len = 8 + dgram;
    }
  if ((i->cut || i->pad) && b->contig < b->total)
    return FIP64_R_NOT_LINEAR;
  i->ip.flags |= FIP64_ICMP_ERR;
  return FIP64_R_OK;
}

/* Length of the quoted packet: as claimed when an extension (RFC 4884) follows it, otherwise all that is there. */
static uint32_t
quoted_len (const struct fip64_info *i, uint32_t claimed)
{
  uint32_t all = i->ip.payload_len - 8;
  return claimed >= FIP64_MIN_EXT_DGRAM && claimed < all ? claimed : all;
}

static enum fip64_reason
inner_reason (enum fip64_reason r)
{
  switch (r)
    {
    case FIP64_R_OK:
    case FIP64_R_NOT_LINEAR:
      return r;
    case FIP64_R_FRAG_EXT_HDR:
    case FIP64_R_TOO_MANY_EXT:
      return FIP64_R_INNER_PROTO;
    default:
      return FIP64_R_INNER_BAD;
    }
}

/* What the type of an ICMP message says about the rest of it. */
struct kind
{
  bool error;	    /* it quotes a packet */
  bool too_big;	    /* it carries an MTU */
  uint32_t claimed; /* bytes of the quoted packet, as RFC 4884 states them; 0: no statement */
  uint32_t unit;    /* for lay_out() */
};

/* Type, code and second word of an ICMPv6 message in ICMPv4, into i->icmp_*. */
static enum fip64_reason
map_6to4 (const uint8_t *icmp, struct fip64_info *i, struct kind *k)
{
  uint8_t code = icmp[1];
  int ptr;

  *k = (struct kind){ .error = true, .unit = 4 };
  i->icmp_code = code;
  switch (icmp[0])
    {
    case V6_ECHO:
      i->icmp_type = V4_ECHO;
      k->error = false;
      break;
    case V6_ECHO_REPLY:
      i->icmp_type = V4_ECHO_REPLY;
      k->error = false;
      break;
    case V6_UNREACH:
      {
	static const uint8_t map[] = { 1, 10, 1, 1, 3 };
	if (code >= sizeof map)
	  return FIP64_R_ICMP_CODE;
	i->icmp_type = V4_UNREACH;
	i->icmp_code = map[code];
	k->claimed = 8u * icmp[4];
	break;
      }
    case V6_TOO_BIG:
      i->icmp_type = V4_UNREACH;
      i->icmp_code = 4;
      k->too_big = true;
      break;
    case V6_TIME:
      i->icmp_type = V4_TIME;
      k->claimed = 8u * icmp[4];
      break;
    case V6_PARAM:
      if (code == 1)
	{
	  i->icmp_type = V4_UNREACH;
	  i->icmp_code = 2;
	  break;
	}
      if (code != 0)
	return FIP64_R_ICMP_CODE;
      ptr = pointer_6to4 (fip64_be32 (icmp + 4));
      if (ptr < 0)
	return FIP64_R_ICMP_POINTER;
      i->icmp_type = V4_PARAM;
      i->icmp_arg = (uint32_t) ptr << 24;
      break;
    default:
      return FIP64_R_ICMP_TYPE;
    }
  return FIP64_R_OK;
}

/* Type, code and second word of an ICMPv4 message in ICMPv6, into i->icmp_*. */
static enum fip64_reason
map_4to6 (const uint8_t *icmp, struct fip64_info *i, struct kind *k)
{
  uint8_t code = icmp[1];
  int ptr;

  *k = (struct kind){ .error = true, .claimed = 4u * icmp[5] };
  i->icmp_code = code;
  switch (icmp[0])
    {
    case V4_ECHO:
      i->icmp_type = V6_ECHO;
      k->error = false;
      break;
    case V4_ECHO_REPLY:
      i->icmp_type = V6_ECHO_REPLY;
      k->error = false;
      break;
    case V4_UNREACH:
      i->icmp_type = V6_UNREACH;
      k->unit = 8;
      switch (code)
	{
	case 0:
	case 1:
	case 5:
	case 6:
	case 7:
	case 8:
	case 11:
	case 12:
	  i->icmp_code = 0;
	  break;
	case 2:
	  i->icmp_type = V6_PARAM;
	  i->icmp_code = 1;
	  i->icmp_arg = 6; /* the Next Header field */
	  k->unit = 0;
	  break;
	case 3:
	  i->icmp_code = 4;
	  break;
	case 4:
	  i->icmp_type = V6_TOO_BIG;
	  i->icmp_code = 0;
	  k->too_big = true;
	  k->unit = 0;
	  break;
	case 9:
	case 10:
	case 13:
	case 15:
	  i->icmp_code = 1;
	  break;
	default:
	  return FIP64_R_ICMP_CODE;
	}
      break;
    case V4_TIME:
      i->icmp_type = V6_TIME;
      k->unit = 8;
      break;
    case V4_PARAM:
      if (code != 0 && code != 2)
	return FIP64_R_ICMP_CODE;
      ptr = pointer_4to6 (icmp[4]);
      if (ptr < 0)
	return FIP64_R_ICMP_POINTER;
      i->icmp_type = V6_PARAM;
      i->icmp_code = 0;
      i->icmp_arg = (uint32_t) ptr;
      break;
    default:
      return FIP64_R_ICMP_TYPE;
    }
  return FIP64_R_OK;
}

/* Headers of the quoted packet, which has the family of the packet around it. */
static enum fip64_reason
parse_quoted (const struct fip64_buf *b, struct fip64_info *i, uint32_t claimed)
{
  uint32_t route;
  i->inner_off = (uint16_t) (i->ip.hdr_len + 8);
  i->inner_avail = quoted_len (i, claimed);
  const uint8_t *p = b->data + i->inner_off;
  uint32_t contig = fip64_min (b->contig - i->inner_off, i->inner_avail);
  bool v6 = i->version == 6;
  enum fip64_reason r = inner_reason (v6 ? fip64_parse_ip6 (p, contig, i->inner_avail, true, &i->inner, &route)
					 : fip64_parse_ip4 (p, contig, i->inner_avail, true, &i->inner, &route));
  if (r)
    return r;
  bool refused = v6 ? route || fip64_untranslatable6 (i->inner.proto) : fip64_untranslatable4 (i->inner.proto);
  return refused ? FIP64_R_INNER_PROTO : FIP64_R_OK;
}

/* The MTU of a message that carries one, for the other family. The quoted packet has been parsed. */
static uint32_t
mtu_6to4 (uint32_t mtu, const struct fip64_conf *c, const struct fip64_info *i)
{
  /* Less than 1280 is no IPv6 MTU (RFC 8201). Taken literally, a forged message could shrink IPv4 packets to
     nothing. */
  mtu = fip64_max (mtu, FIP64_MIN_MTU6) - (i->inner.flags & FIP64_FRAG ? 28 : 20);
  return fip64_min (mtu, fip64_min (c->mtu4, c->mtu6 - 20u));
}

static uint32_t
mtu_4to6 (uint32_t mtu, const struct fip64_conf *c, const struct fip64_info *i)
{
  if (mtu == 0)
    mtu = plateau (i->inner.hdr_len + i->inner.payload_len);
  mtu = fip64_min (mtu + 20, fip64_min (c->mtu6, c->mtu4 + 20u));
  return fip64_max (FIP64_MIN_MTU6, mtu);
}

enum fip64_reason
fip64_icmp_parse (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  const uint8_t *icmp = b->data + i->ip.hdr_len;
  bool to4 = i->version == 6;
  struct kind k;

  enum fip64_reason r = to4 ? map_6to4 (icmp, i, &k) : map_4to6 (icmp, i, &k);
  if (r || !k.error)
    return r;
  r = parse_quoted (b, i, k.claimed);
  if (r)
    return r;
  if (k.too_big)
    i->icmp_arg = to4 ? mtu_6to4 (fip64_be32 (icmp + 4), c, i) : mtu_4to6 (fip64_be16 (icmp + 6), c, i);
  return lay_out (b, i, i->ip.payload_len - 8 - i->inner_avail, k.unit);
}

/* Sum over the pseudo-header of an ICMPv6 message whose addresses are at a (source, then destination). */
static uint64_t
pseudo6_at (const uint8_t *a, uint32_t len)
{
  return fip64_sum16bytes (a) + fip64_sum16bytes (a + 16) + fip64_pseudo6_tail (len, FIP64_PROTO_ICMP6);
}

static uint64_t
pseudo6_of (const struct fip64_endpoint *src, const struct fip64_endpoint *dst, uint32_t len)
{
  return fip64_sum16bytes (src->v6) + fip64_sum16bytes (dst->v6) + fip64_pseudo6_tail (len, FIP64_PROTO_ICMP6);
}

static uint64_t
neg (uint64_t s)
{
  return fip64_neg (fip64_fold (s));
}

/* Sets type and checksum of an echo message. change: what the pseudo-header adds to the sum. */
static void
rewrite_echo (uint8_t *icmp, uint8_t type, uint64_t change)
{
  uint64_t s = (uint64_t) (uint16_t) ~fip64_load16 (icmp + 2) + neg (fip64_load16 (icmp)) + change;
  icmp[0] = type;
  s += fip64_load16 (icmp);
  uint16_t csum = (uint16_t) ~fip64_fold (s);
  /* The checksum of an echo reply in which all else is zero is all ones. All ones is also right for every other
     message whose sum is zero (RFC 1624 section 3). */
  if (type == V4_ECHO_REPLY && csum == 0)
    csum = 0xffff;
  fip64_store16 (icmp + 2, csum);
}

/* Rewrites the transport header of the quoted packet, as far as it was quoted. Returns what the change adds to a sum
   over the message. */
static uint64_t
rewrite_inner_l4 (uint8_t *l4, const struct fip64_info *i, const struct fip64_addrs *a)
{
  const struct fip64_ip *in = &i->inner;
  bool to4 = i->version == 6;
  uint32_t have = fip64_min (in->payload_len, i->inner_avail - in->hdr_len);
  int off = fip64_csum_off (in->proto);

  if (!fip64_has_l4 (in))
    return 0;
  if (in->proto == (to4 ? FIP64_PROTO_ICMP6 : FIP64_PROTO_ICMP))
    {
      /* The length of a fragmented message is not known; nobody can verify its checksum. */
      uint64_t pseudo = pseudo6_of (a->inner_src, a->inner_dst, fip64_is_part (in) ? 0 : in->payload_len);
      uint64_t old = neg (fip64_load32 (l4));
      uint8_t type;
      if (to4)
	type = l4[0] == V6_ECHO ? V4_ECHO : V4_ECHO_REPLY;
      else
	type = l4[0] == V4_ECHO ? V6_ECHO : V6_ECHO_REPLY;
      rewrite_echo (l4, type, to4 ? neg (pseudo) : pseudo);
      return old + fip64_load32 (l4);
    }
  if (off < 0 || have < (uint32_t) off + 2)
    return 0;
  uint8_t *p = l4 + off;
  uint16_t csum = fip64_load16 (p);
  if (csum == 0 && in->proto == FIP64_PROTO_UDP)
    return 0;
  uint32_t delta = to4 ? (uint32_t) a->inner_src->to4 + a->inner_dst->to4
		       : (uint32_t) a->inner_src->to6 + a->inner_dst->to6;
  fip64_store16 (p, fip64_csum_update (in->proto, csum, delta));
  return (uint64_t) fip64_neg (csum) + fip64_load16 (p);
}

static uint8_t *
rewrite_error (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
	       const struct fip64_addrs *a)
{
  bool to4 = i->version == 6;
  uint8_t *p = b->data;
  uint8_t *icmp = p + i->ip.hdr_len;
  uint8_t *inner = p + i->inner_off;
  uint8_t *l4 = inner + i->inner.hdr_len;
  uint8_t hdr[48];
  uint32_t hdr_len;

  /* The checksum gives the sum over the message; from that what changes is subtracted, and added as it is after the
     change. So the checksum of a damaged message stays wrong. */
  uint64_t s = (uint64_t) (uint16_t) ~fip64_load16 (icmp + 2);
  s += neg ((uint64_t) fip64_load16 (icmp) + fip64_load32 (icmp + 4));
  s += neg (fip64_sum (inner, i->inner.hdr_len));
  s += neg (fip64_sum (p + (b->total - i->cut), i->cut));
  if (to4)
    s += neg (pseudo6_at (p + 8, i->ip.payload_len));
  s += rewrite_inner_l4 (l4, i, a);

  if (to4)
    {
      uint32_t w0 = fip64_be32 (inner);
      uint32_t len = fip64_min (65535, 20 + i->inner.payload_len);
      uint32_t frag = 0;
      if (i->inner.flags & FIP64_FRAG)
	frag = (uint32_t) i->inner.frag >> 3 | (i->inner.frag & 1 ? 0x2000u : 0);
      else if (len > 1260)
	frag = 0x4000;
      uint8_t proto = i->inner.proto == FIP64_PROTO_ICMP6 ? FIP64_PROTO_ICMP : i->inner.proto;
      fip64_write_ip4 (hdr, (w0 >> 20) & c->tos_mask_6to4, len, i->inner.ident & 0xffff, frag, inner[7], proto,
		       a->inner_src->v4, a->inner_dst->v4);
      hdr_len = 20;
    }
  else
    hdr_len = fip64_write_ip6 (hdr, inner[1] & c->tos_mask_4to6, &i->inner, i->inner.payload_len, inner[8],
			       a->inner_src->v6, a->inner_dst->v6);
  s += fip64_sum (hdr, hdr_len);

  b->total -= i->cut;
  b->contig = fip64_min (b->contig, b->total);

  uint8_t *dgram_end = inner + i->inner_avail;
  inner = l4 - hdr_len;
  icmp = inner - 8;
  memcpy (inner, hdr, hdr_len);
  icmp[0] = i->icmp_type;
  icmp[1] = i->icmp_code;
  fip64_put32 (icmp + 4, i->icmp_arg);
  s += (uint64_t) fip64_load16 (icmp) + fip64_load32 (icmp + 4);
  if (!to4)
    s += pseudo6_of (a->src, a->dst, i->icmp_len);
  fip64_store16 (icmp + 2, (uint16_t) ~fip64_fold (s));

  if (i->pad)
    {
      memmove (icmp - i->pad, icmp, (size_t) (dgram_end - icmp));
      memset (dgram_end - i->pad, 0, i->pad);
      icmp -= i->pad;
    }
  return icmp;
}

uint8_t *
fip64_icmp_rewrite (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
		    const struct fip64_addrs *a)
{
  if (i->ip.flags & FIP64_ICMP_ERR)
    return rewrite_error (b, c, i, a);
  uint8_t *icmp = b->data + i->ip.hdr_len;
  rewrite_echo (icmp, i->icmp_type,
		i->version == 6 ? neg (pseudo6_at (b->data + 8, i->ip.payload_len))
				: pseudo6_of (a->src, a->dst, i->ip.payload_len));
  return icmp;
}
