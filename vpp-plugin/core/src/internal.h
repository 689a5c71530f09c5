/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FIP64_INTERNAL_H
#define FIP64_INTERNAL_H

#include <fip64/fast.h>

enum
{
  FIP64_MIN_MTU6 = 1280,
  FIP64_MIN_MTU4 = 68,
  FIP64_MAX_ICMP4_ERROR = 576, /* RFC 1812 section 4.3.2.3 */
  FIP64_MAX_EXT = 8,
  FIP64_MIN_EXT_DGRAM = 128, /* RFC 4884 section 4: the quoted packet is at least so long */
};

/* parse.c: reads one IP header and the headers behind it, up to the transport header. contig: bytes that can be
   read; avail: bytes on the wire, which only an inner packet (quoted in an ICMP error) may exceed. *route becomes
   the offset of what makes a packet source routed, or 0. */
enum fip64_reason fip64_parse_ip6 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner,
				   struct fip64_ip *ip, uint32_t *route);
enum fip64_reason fip64_parse_ip4 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner,
				   struct fip64_ip *ip, uint32_t *route);

/* icmp.c: reads type, code, second word and inner packet of the unfragmented ICMP message of either family at
   i->ip.hdr_len. Fills i->icmp_* and i->inner*. */
enum fip64_reason fip64_icmp_parse (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i);
/* Rewrites the message, and returns where its ICMP header begins now. b->contig and b->total are adjusted to what has
   changed behind that place. */
uint8_t *fip64_icmp_rewrite (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
			     const struct fip64_addrs *a);

FIP64_INLINE bool
fip64_has_l4 (const struct fip64_ip *ip)
{
  return (ip->frag & 0xfff8) == 0;
}

/* Whether a packet is a fragment of a longer one; an atomic fragment (RFC 6946) is not. */
FIP64_INLINE bool
fip64_is_part (const struct fip64_ip *ip)
{
  return ip->frag != 0;
}

/* Whether packets of a protocol exist in one IP version only. */
FIP64_INLINE bool
fip64_untranslatable6 (uint8_t proto)
{
  return proto == FIP64_PROTO_ICMP || proto == FIP64_PROTO_IGMP;
}

/* IPv4 packets with the number of an IPv6 extension header would become IPv6 packets with that header. */
FIP64_INLINE bool
fip64_untranslatable4 (uint8_t proto)
{
  return proto == FIP64_PROTO_HOPOPTS || proto == FIP64_PROTO_IGMP || proto == FIP64_PROTO_ROUTING
	 || proto == FIP64_PROTO_FRAGMENT || proto == FIP64_PROTO_ICMP6 || proto == FIP64_PROTO_DSTOPTS;
}

/* Offset of the checksum that covers the addresses, or -1. DCCP and UDP-Lite: see doc/rfc7915.rst. */
FIP64_INLINE int
fip64_csum_off (uint8_t proto)
{
  switch (proto)
    {
    case FIP64_PROTO_TCP:
      return 16;
    case FIP64_PROTO_UDP:
    case FIP64_PROTO_DCCP:
    case FIP64_PROTO_UDPLITE:
      return 6;
    default:
      return -1;
    }
}

FIP64_INLINE bool
fip64_csum_no_zero (uint8_t proto)
{
  return proto == FIP64_PROTO_UDP || proto == FIP64_PROTO_UDPLITE;
}

FIP64_INLINE uint16_t
fip64_csum_update (uint8_t proto, uint16_t csum, uint32_t delta)
{
  uint16_t new = fip64_csum_adjust (csum, delta);
  return new == 0 && fip64_csum_no_zero (proto) ? 0xffff : new;
}

/* Length and next header of the IPv6 pseudo-header, in memory order. */
FIP64_INLINE uint64_t
fip64_pseudo6_tail (uint32_t len, uint8_t proto)
{
  return (uint64_t) fip64_hton32 (len) + fip64_hton32 ((uint32_t) proto);
}

FIP64_INLINE uint32_t
fip64_min (uint32_t a, uint32_t b)
{
  return a < b ? a : b;
}

FIP64_INLINE uint32_t
fip64_max (uint32_t a, uint32_t b)
{
  return a > b ? a : b;
}

/* IPv6 header, and fragment header if ip says FIP64_FRAG. Returns its length. */
uint32_t fip64_write_ip6 (uint8_t *h, uint32_t tc, const struct fip64_ip *ip, uint32_t payload_len, uint32_t hop,
			  const uint8_t src[16], const uint8_t dst[16]);

#endif
