/* SPDX-License-Identifier: Apache-2.0 */
/* Step 1: everything that can be found out, and refused, without knowing addresses. */
#include "internal.h"

static bool
is_ext_hdr (uint8_t proto)
{
  switch (proto)
    {
    case FIP64_PROTO_HOPOPTS:
    case FIP64_PROTO_ROUTING:
    case FIP64_PROTO_FRAGMENT:
    case FIP64_PROTO_AH:
    case FIP64_PROTO_DSTOPTS:
    case FIP64_PROTO_MOBILITY:
    case FIP64_PROTO_HIP:
    case FIP64_PROTO_SHIM6:
      return true;
    default: /* RFC 7915 section 5.1.1 excepts ESP */
      return false;
    }
}

/* What the later fragment belongs to would be longer, reassembled in IPv4, than a total length can say. hdr_len: of the
   IPv4 header; that of the whole packet is no shorter, since a later fragment has no option that the first has not. */
static bool
beyond_64k (const struct fip64_ip *ip, uint32_t hdr_len)
{
  return !fip64_has_l4 (ip) && hdr_len + (ip->frag & 0xfff8u) + ip->payload_len > 65535;
}

enum fip64_reason
fip64_parse_ip6 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner, struct fip64_ip *ip, uint32_t *route)
{
  *route = 0;
  if (avail < 40)
    return FIP64_R_TRUNCATED;
  if (contig < 40)
    return FIP64_R_NOT_LINEAR;
  if ((p[0] >> 4) != 6)
    return FIP64_R_BAD_VERSION;
  uint32_t end = 40u + fip64_be16 (p + 4);
  if (end > avail && !inner)
    return FIP64_R_TRUNCATED;

  uint32_t off = 40;
  uint8_t nh = p[6];
  ip->flags = 0;
  ip->frag = 0;
  ip->ident = 0;
  for (int n = 0; nh == FIP64_PROTO_HOPOPTS || nh == FIP64_PROTO_ROUTING || nh == FIP64_PROTO_DSTOPTS
		  || nh == FIP64_PROTO_FRAGMENT;
       n++)
    {
      if (n == FIP64_MAX_EXT)
	return FIP64_R_TOO_MANY_EXT;
      if (off + 8 > end)
	return FIP64_R_BAD_HEADER;
      if (off + 8 > avail)
	return FIP64_R_TRUNCATED;
      if (off + 8 > contig)
	return FIP64_R_NOT_LINEAR;
      const uint8_t *e = p + off;
      if (nh == FIP64_PROTO_FRAGMENT)
	{
	  ip->flags |= FIP64_FRAG;
	  ip->frag = fip64_be16 (e + 2) & 0xfff9;
	  ip->ident = fip64_be32 (e + 4);
	  nh = e[0];
	  off += 8;
	  break;
	}
      if (nh == FIP64_PROTO_ROUTING && e[3] != 0 && *route == 0)
	*route = off + 3;
      nh = e[0];
      off += 8u * (e[1] + 1u);
    }
  if (off > end)
    return FIP64_R_BAD_HEADER;
  if (off > avail)
    return FIP64_R_TRUNCATED;
  if (off > contig)
    return FIP64_R_NOT_LINEAR;
  ip->proto = nh;
  ip->hdr_len = (uint16_t) off;
  ip->payload_len = end - off;
  if (beyond_64k (ip, 20))
    return FIP64_R_BAD_FRAGMENT;
  return (ip->flags & FIP64_FRAG) && is_ext_hdr (nh) ? FIP64_R_FRAG_EXT_HDR : FIP64_R_OK;
}

/* Offset of an unexpired loose or strict source route, or 0. A broken list of options ends there: options are
   ignored anyway. A source route whose own length is broken counts as unexpired. */
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
  if (avail < 20)
    return FIP64_R_TRUNCATED;
  if (contig < 20)
    return FIP64_R_NOT_LINEAR;
  if ((p[0] >> 4) != 4)
    return FIP64_R_BAD_VERSION;
  uint32_t hdr_len = 4u * (p[0] & 15);
  uint32_t total = fip64_be16 (p + 2);
  if (hdr_len < 20 || total < hdr_len)
    return FIP64_R_BAD_HEADER;
  if (hdr_len > avail || (total > avail && !inner))
    return FIP64_R_TRUNCATED;
  if (hdr_len > contig)
    return FIP64_R_NOT_LINEAR;
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

/* Errors are not sent about ICMP errors, nor about packets from or to more than one host (RFC 1122 section 3.2.2, RFC 4443
   section 2.4(e)); in IPv4 not about later fragments either. Those of IPv6 are no exception, unless they are of ICMPv6:
   whether of an error, only the first one tells. */
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

/* Extension headers stand behind the fragment header of a first (or only) fragment: do they lead to an ICMPv6 error? What
   cannot be seen is none. */
static bool
hides_icmp_error6 (const struct fip64_buf *b, const struct fip64_ip *ip)
{
  uint32_t off = ip->hdr_len;
  uint8_t nh = ip->proto;
  for (int n = 0; n < FIP64_MAX_EXT && is_ext_hdr (nh) && off + 8 <= b->contig; n++)
    {
      const uint8_t *e = b->data + off;
      off += nh == FIP64_PROTO_FRAGMENT ? 8u : nh == FIP64_PROTO_AH ? 4u * (e[1] + 2u) : 8u * (e[1] + 1u);
      nh = e[0];
    }
  return nh == FIP64_PROTO_ICMP6 && off < b->contig && is_icmp_error6 (b->data + off);
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
  switch (i->ip.proto)
    {
    case FIP64_PROTO_ICMP:
    case FIP64_PROTO_IGMP:
      return fip64_refuse (b, i, FIP64_R_PROTO);
    case FIP64_PROTO_ICMP6:
      if (fip64_is_part (&i->ip))
	return fip64_refuse (b, i, FIP64_R_ICMP_FRAGMENT);
      r = fip64_icmp_parse6 (b, c, i);
      if (r)
	return drop (i, r);
      if (i->ip.flags & FIP64_ICMP_ERR)
	len4 = 20 + i->icmp_len;
      break;
    default:
      break;
    }

  if (len4 > c->mtu4)
    {
      /* A packet that an IPv6 sender may not be asked to make smaller is fragmented (section 5.1.1). */
      if (b->total > FIP64_MIN_MTU6)
	return send_error (b, i, FIP64_R_TOO_BIG, 2, 0,
			   fip64_max (FIP64_MIN_MTU6, fip64_min (c->mtu4 + 20u, c->mtu6)));
      i->frag_mtu = c->mtu4;
    }
  return FIP64_PASS;
}

/* Protocol numbers that would become IPv6 headers of their own, or ICMPv6 that nobody has looked at. */
static bool
unsafe_proto4 (uint8_t proto)
{
  return proto == FIP64_PROTO_HOPOPTS || proto == FIP64_PROTO_ROUTING || proto == FIP64_PROTO_FRAGMENT
	 || proto == FIP64_PROTO_ICMP6 || proto == FIP64_PROTO_DSTOPTS;
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
  if (unsafe_proto4 (i->ip.proto))
    return fip64_refuse (b, i, FIP64_R_PROTO);

  uint32_t overhead = 40 + (i->ip.flags & FIP64_FRAG ? 8u : 0u);
  uint32_t payload = i->ip.payload_len;
  if (i->ip.proto == FIP64_PROTO_ICMP)
    {
      if (fip64_is_part (&i->ip))
	return fip64_refuse (b, i, FIP64_R_ICMP_FRAGMENT);
      r = fip64_icmp_parse4 (b, c, i);
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
