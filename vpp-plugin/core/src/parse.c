/* SPDX-License-Identifier: Apache-2.0 */
/* Step 1: reads the headers, and refuses what can be refused without a look-up of the addresses. */
#include "internal.h"

/* Whether the first `need` bytes of a packet exist on the wire and can be read. */
static inline enum fip64_reason
readable (uint32_t need, uint32_t contig, uint32_t avail)
{
  return need > avail ? FIP64_R_TRUNCATED : need > contig ? FIP64_R_NOT_LINEAR : FIP64_R_OK;
}

/* The extension headers that RFC 7915 section 5.1.1 tells us to skip, and the fragment header. */
static inline bool
is_skipped (uint8_t proto)
{
  return proto == FIP64_PROTO_HOPOPTS || proto == FIP64_PROTO_ROUTING || proto == FIP64_PROTO_DSTOPTS
	 || proto == FIP64_PROTO_FRAGMENT;
}

/* All extension headers, but ESP: RFC 7915 section 5.1.1 excepts it. */
static inline bool
is_ext_hdr (uint8_t proto)
{
  return is_skipped (proto) || proto == FIP64_PROTO_AH || proto == FIP64_PROTO_MOBILITY || proto == FIP64_PROTO_HIP
	 || proto == FIP64_PROTO_SHIM6;
}

/* Where a chain of extension headers has led to. */
struct chain
{
  uint32_t off;	     /* of the header behind it */
  uint8_t proto;     /* of that header */
  uint32_t fragment; /* offset of the fragment header that ended it, or 0 */
  uint32_t route;    /* offset of "segments left" in the first routing header that has some, or 0 */
};

/* Follows extension headers from c->off on, where a header of type c->proto begins. In front of a fragment header,
   which ends the chain, only those that are skipped; behind it all. contig: bytes that can be read; avail: bytes on
   the wire; end: where the packet ends according to its header. */
static inline enum fip64_reason
follow (const uint8_t *p, uint32_t contig, uint32_t avail, uint32_t end, bool behind_fragment, struct chain *c)
{
  enum fip64_reason r;
  for (int n = 0; behind_fragment ? is_ext_hdr (c->proto) : is_skipped (c->proto); n++)
    {
      if (n == FIP64_MAX_EXT)
	return FIP64_R_TOO_MANY_EXT;
      if (c->off + 8 > end)
	return FIP64_R_BAD_HEADER;
      r = readable (c->off + 8, contig, avail);
      if (r)
	return r;
      const uint8_t *e = p + c->off;
      uint8_t type = c->proto;
      c->proto = e[0];
      if (type == FIP64_PROTO_FRAGMENT)
	{
	  c->fragment = c->off;
	  c->off += 8;
	  if (!behind_fragment)
	    break;
	  continue;
	}
      if (type == FIP64_PROTO_ROUTING && e[3] != 0 && c->route == 0)
	c->route = c->off + 3;
      c->off += type == FIP64_PROTO_AH ? 4u * (e[1] + 2u) : 8u * (e[1] + 1u);
    }
  return c->off > end ? FIP64_R_BAD_HEADER : readable (c->off, contig, avail);
}

/* A later fragment belongs to a packet that, reassembled in IPv4, is longer than a total length can say. hdr_len: of
   the IPv4 header. The whole packet's header is not shorter, since a later fragment has no option that the first has
   not. */
static bool
beyond_64k (const struct fip64_ip *ip, uint32_t hdr_len)
{
  return !fip64_has_l4 (ip) && hdr_len + (ip->frag & 0xfff8u) + ip->payload_len > 65535;
}

enum fip64_reason
fip64_parse_ip6 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner, struct fip64_ip *ip, uint32_t *route)
{
  *route = 0;
  enum fip64_reason r = readable (40, contig, avail);
  if (r)
    return r;
  if ((p[0] >> 4) != 6)
    return FIP64_R_BAD_VERSION;
  uint32_t end = 40u + fip64_be16 (p + 4);
  if (end > avail && !inner)
    return FIP64_R_TRUNCATED;

  struct chain c = { .off = 40, .proto = p[6] };
  r = follow (p, contig, avail, end, false, &c);
  *route = c.route;
  if (r)
    return r;
  ip->flags = c.fragment ? FIP64_FRAG : 0;
  ip->frag = c.fragment ? fip64_be16 (p + c.fragment + 2) & 0xfff9 : 0;
  ip->ident = c.fragment ? fip64_be32 (p + c.fragment + 4) : 0;
  ip->proto = c.proto;
  ip->hdr_len = (uint16_t) c.off;
  ip->payload_len = end - c.off;
  if (beyond_64k (ip, 20))
    return FIP64_R_BAD_FRAGMENT;
  return c.fragment && is_ext_hdr (c.proto) ? FIP64_R_FRAG_EXT_HDR : FIP64_R_OK;
}

/* Offset of a loose or strict source route that is not used up, or 0. A list of options ends where it is broken,
   since options are ignored; a source route whose own length is broken counts as not used up. */
static uint32_t
source_route4 (const uint8_t *p, uint32_t hdr_len)
{
  for (uint32_t o = 20; o < hdr_len;)
    {
      uint8_t type = p[o];
      if (type == 0)
	break;
      if (type == 1)
	{
	  o++;
	  continue;
	}
      uint32_t len = o + 1 < hdr_len ? p[o + 1] : 0;
      bool sr = type == 131 || type == 137;
      if (len < 2 || o + len > hdr_len)
	return sr ? o : 0;
      if (sr && (len < 3 || p[o + 2] <= len))
	return o;
      o += len;
    }
  return 0;
}

enum fip64_reason
fip64_parse_ip4 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner, struct fip64_ip *ip, uint32_t *route)
{
  *route = 0;
  enum fip64_reason r = readable (20, contig, avail);
  if (r)
    return r;
  if ((p[0] >> 4) != 4)
    return FIP64_R_BAD_VERSION;
  uint32_t hdr_len = 4u * (p[0] & 15);
  uint32_t total = fip64_be16 (p + 2);
  if (hdr_len < 20 || total < hdr_len)
    return FIP64_R_BAD_HEADER;
  if (total > avail && !inner)
    return FIP64_R_TRUNCATED;
  r = readable (hdr_len, contig, avail);
  if (r)
    return r;
  uint16_t frag = fip64_be16 (p + 6);
  ip->frag = (uint16_t) ((frag & 0x1fff) << 3 | ((frag >> 13) & 1));
  ip->ident = fip64_be16 (p + 4);
  ip->flags = (uint8_t) ((ip->frag ? FIP64_FRAG : 0) | (frag & 0x4000 ? FIP64_DF : 0));
  ip->proto = p[9];
  ip->hdr_len = (uint16_t) hdr_len;
  ip->payload_len = total - hdr_len;
  if (beyond_64k (ip, hdr_len))
    return FIP64_R_BAD_FRAGMENT;
  if (!inner)
    *route = source_route4 (p, hdr_len);
  return FIP64_R_OK;
}

/* Whether no ICMP error may be sent about a packet: when it is an ICMP error itself, or when its source or
   destination is not one host (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)). Also when it is a later fragment:
   in IPv4 always, in IPv6 if it is of an ICMPv6 message, as only the first one tells whether that is an error. */
static bool
error_forbidden (const struct fip64_buf *b, const struct fip64_info *i)
{
  const uint8_t *s = fip64_src (b, i), *d = fip64_dst (b, i);
  bool later = !fip64_has_l4 (&i->ip);
  if (i->no_error)
    return true;
  if (i->version == 4)
    return later || s[0] == 0 || s[0] == 127 || s[0] >= 224 || d[0] >= 224;
  if (later && i->ip.proto == FIP64_PROTO_ICMP6)
    return true;
  static const uint8_t unspecified[16];
  return s[0] == 0xff || d[0] == 0xff || memcmp (s, unspecified, 16) == 0;
}

static enum fip64_verdict
drop (struct fip64_info *i, enum fip64_reason why)
{
  i->reason = (uint8_t) why;
  return FIP64_DROP;
}

static enum fip64_verdict
send_error (const struct fip64_buf *b, struct fip64_info *i, enum fip64_reason why, uint8_t type, uint8_t code,
	    uint32_t arg)
{
  i->reason = (uint8_t) why;
  i->err_type = type;
  i->err_code = code;
  i->err_arg = arg;
  return error_forbidden (b, i) ? FIP64_DROP : FIP64_SEND_ERROR;
}

enum fip64_verdict
fip64_refuse (const struct fip64_buf *b, struct fip64_info *i, enum fip64_reason why)
{
  return i->version == 6 ? send_error (b, i, why, 1, 1, 0) : send_error (b, i, why, 3, 13, 0);
}

static enum fip64_reason
check_l4 (const struct fip64_buf *b, const struct fip64_info *i)
{
  uint32_t need;
  switch (i->ip.proto)
    {
    case FIP64_PROTO_TCP:
      need = 20;
      break;
    case FIP64_PROTO_UDP:
    case FIP64_PROTO_UDPLITE:
    case FIP64_PROTO_DCCP:
    case FIP64_PROTO_ICMP:
    case FIP64_PROTO_ICMP6:
      need = 8;
      break;
    default:
      return FIP64_R_OK;
    }
  if (i->ip.payload_len < need)
    return FIP64_R_SHORT_L4;
  return i->ip.hdr_len + need > b->contig ? FIP64_R_NOT_LINEAR : FIP64_R_OK;
}

static void
trim (struct fip64_buf *b, uint32_t len)
{
  if (b->total > len)
    b->total = len;
  if (b->contig > b->total)
    b->contig = b->total;
}

static bool
is_icmp_error6 (const uint8_t *icmp)
{
  return icmp[0] < 128 || icmp[0] == 137; /* redirect: RFC 4443 section 2.4(e.2) */
}

static bool
is_icmp_error4 (const uint8_t *icmp)
{
  return icmp[0] == 3 || icmp[0] == 4 || icmp[0] == 5 || icmp[0] == 11 || icmp[0] == 12;
}

/* Whether the extension headers behind the fragment header of a first (or only) fragment lead to an ICMPv6 error.
   One that cannot be read does not count. */
static bool
hides_icmp_error6 (const struct fip64_buf *b, const struct fip64_ip *ip)
{
  struct chain c = { .off = ip->hdr_len, .proto = ip->proto };
  enum fip64_reason r = follow (b->data, b->contig, b->total, b->total, true, &c);
  return r == FIP64_R_OK && c.proto == FIP64_PROTO_ICMP6 && c.off < b->contig && is_icmp_error6 (b->data + c.off);
}

static void
info_init (struct fip64_info *i, uint8_t version)
{
  memset (i, 0, sizeof *i);
  i->version = version;
}

enum fip64_verdict
fip64_parse6_slow (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  uint32_t route;
  info_init (i, 6);
  enum fip64_reason r = fip64_parse_ip6 (b->data, b->contig, b->total, false, &i->ip, &route);
  bool frag_ext_hdr = r == FIP64_R_FRAG_EXT_HDR;
  if (r && !frag_ext_hdr)
    return drop (i, r);
  trim (b, i->ip.hdr_len + i->ip.payload_len);
  const uint8_t *l4 = b->data + i->ip.hdr_len;
  if (fip64_has_l4 (&i->ip) && !frag_ext_hdr)
    {
      r = check_l4 (b, i);
      if (r)
	return drop (i, r);
      i->no_error = i->ip.proto == FIP64_PROTO_ICMP6 && is_icmp_error6 (l4);
    }
  else if (fip64_has_l4 (&i->ip))
    i->no_error = hides_icmp_error6 (b, &i->ip);

  if (b->data[7] <= 1)
    return send_error (b, i, FIP64_R_TTL, 3, 0, 0);
  if (route)
    return send_error (b, i, FIP64_R_SOURCE_ROUTE, 4, 0, route);
  if (frag_ext_hdr)
    return fip64_refuse (b, i, FIP64_R_FRAG_EXT_HDR);

  uint32_t len4 = 20 + i->ip.payload_len;
  if (fip64_untranslatable6 (i->ip.proto))
    return fip64_refuse (b, i, FIP64_R_PROTO);
  if (i->ip.proto == FIP64_PROTO_ICMP6)
    {
      if (fip64_is_part (&i->ip))
	return fip64_refuse (b, i, FIP64_R_ICMP_FRAGMENT);
      r = fip64_icmp_parse (b, c, i);
      if (r)
	return drop (i, r);
      if (i->ip.flags & FIP64_ICMP_ERR)
	len4 = 20 + i->icmp_len;
    }

  if (len4 > c->mtu4)
    {
      /* No IPv6 sender has to send packets of less than 1280 bytes, so a short one is fragmented (section 5.1.1). */
      if (b->total > FIP64_MIN_MTU6)
	return send_error (b, i, FIP64_R_TOO_BIG, 2, 0,
			   fip64_max (FIP64_MIN_MTU6, fip64_min (c->mtu4 + 20u, c->mtu6)));
      i->frag_mtu = c->mtu4;
    }
  return FIP64_PASS;
}

static enum fip64_reason
check_udp_zero (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  const uint8_t *udp = b->data + i->ip.hdr_len;
  if (fip64_load16 (udp + 6) != 0)
    return FIP64_R_OK;
  if (fip64_is_part (&i->ip))
    return FIP64_R_UDP_ZERO_FRAGMENT;
  if (c->udp_zero_drop)
    return FIP64_R_UDP_ZERO;
  uint32_t len = fip64_be16 (udp + 4);
  if (len < 8 || len > i->ip.payload_len)
    return FIP64_R_BAD_HEADER;
  if (i->ip.hdr_len + len > b->contig)
    return FIP64_R_NOT_LINEAR;
  i->ip.flags |= FIP64_UDP_ZERO;
  return FIP64_R_OK;
}

enum fip64_verdict
fip64_parse4_slow (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i)
{
  uint32_t route;
  info_init (i, 4);
  enum fip64_reason r = fip64_parse_ip4 (b->data, b->contig, b->total, false, &i->ip, &route);
  if (r)
    return drop (i, r);
  trim (b, i->ip.hdr_len + i->ip.payload_len);
  const uint8_t *l4 = b->data + i->ip.hdr_len;
  if (fip64_has_l4 (&i->ip))
    {
      r = check_l4 (b, i);
      if (r)
	return drop (i, r);
      i->no_error = i->ip.proto == FIP64_PROTO_ICMP && is_icmp_error4 (l4);
    }

  if (b->data[8] <= 1)
    return send_error (b, i, FIP64_R_TTL, 11, 0, 0);
  if (route)
    return send_error (b, i, FIP64_R_SOURCE_ROUTE, 3, 5, 0);
  if (i->ip.proto == FIP64_PROTO_IGMP)
    return drop (i, FIP64_R_IGMP);
  if (fip64_untranslatable4 (i->ip.proto))
    return fip64_refuse (b, i, FIP64_R_PROTO);

  uint32_t overhead = 40 + (i->ip.flags & FIP64_FRAG ? 8u : 0u);
  uint32_t payload = i->ip.payload_len;
  if (i->ip.proto == FIP64_PROTO_ICMP)
    {
      if (fip64_is_part (&i->ip))
	return fip64_refuse (b, i, FIP64_R_ICMP_FRAGMENT);
      r = fip64_icmp_parse (b, c, i);
      if (r)
	return drop (i, r);
      if (i->ip.flags & FIP64_ICMP_ERR)
	payload = i->icmp_len;
    }
  else if (i->ip.proto == FIP64_PROTO_UDP && fip64_has_l4 (&i->ip))
    {
      r = check_udp_zero (b, c, i);
      if (r)
	return drop (i, r);
    }

  if (i->ip.flags & FIP64_DF)
    {
      if (overhead + payload > c->mtu6)
	return send_error (b, i, FIP64_R_TOO_BIG, 3, 4, c->mtu6 - (overhead - 20));
    }
  else if (overhead + payload > fip64_min (c->lowest_ipv6_mtu, c->mtu6))
    i->frag_mtu = (uint16_t) fip64_min (c->lowest_ipv6_mtu, c->mtu6);

  if (b->data - b->head < FIP64_HEADROOM)
    return drop (i, FIP64_R_NO_HEADROOM);
  return FIP64_PASS;
}
