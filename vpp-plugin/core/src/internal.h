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

/* parse.c: one IP header of either family with everything up to the transport header. Reads at most contig
   bytes. avail: bytes on the wire; the header's length may exceed it only for an inner packet. route is set to the
   offset of what makes a packet source routed, or 0. */
enum fip64_reason fip64_parse_ip6 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner,
				   struct fip64_ip *ip, uint32_t *route);
enum fip64_reason fip64_parse_ip4 (const uint8_t *p, uint32_t contig, uint32_t avail, bool inner,
				   struct fip64_ip *ip, uint32_t *route);

/* icmp.c: type, code, second word and inner packet of an unfragmented ICMP message at ip.hdr_len: fills
   info.icmp_* and info.inner*. */
enum fip64_reason fip64_icmp_parse6 (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i);
enum fip64_reason fip64_icmp_parse4 (const struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i);
/* Rewrites the message; returns where the ICMP header begins now. Adjusts b->contig and b->total for everything
   that happened behind that point, and returns the payload length in i->icmp_len. */
uint8_t *fip64_icmp_rewrite (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
			     const struct fip64_addrs *a);

FIP64_INLINE bool
fip64_has_l4 (const struct fip64_ip *ip)
{
  return (ip->frag & 0xfff8) == 0;
}

/* A part of something: an atomic fragment is not. */
FIP64_INLINE bool
fip64_is_part (const struct fip64_ip *ip)
{
  return ip->frag != 0;
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
