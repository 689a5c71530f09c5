/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stateless, address-only translation between IPv6 and IPv4 (RFC 7915 sections 4 and 5).
 *
 * The core has no state, takes no locks, allocates nothing and knows no policy: which IPv4 address stands
 * for which IPv6 address is the caller's business. One packet goes through three steps:
 *
 *   1. fip64_parse6() or fip64_parse4(): checks everything that can be checked without addresses: lengths,
 *      extension headers or options, TTL, MTU, ICMP types, the packet quoted by an ICMP error. After
 *      FIP64_PASS nothing can fail any more, so no binding is ever made for a packet that is then dropped.
 *   2. The caller finds an endpoint for each address: fip64_src/dst(), and for an ICMP error (FIP64_ICMP_ERR
 *      in info.ip.flags) fip64_inner_src/dst(). If it finds none: fip64_refuse().
 *   3. fip64_6to4() or fip64_4to6() rewrites the packet in place and moves fip64_buf.data. If info.frag_mtu
 *      is not 0 the result is to be sent as the fragments that fip64_frag_next() describes.
 *
 * FIP64_SEND_ERROR from step 1 or from fip64_refuse(): apply your rate limit, then fip64_build_error() turns
 * the packet into the ICMP error to send back. FIP64_DROP: count info.reason.
 *
 * fip64/fast.h has the inline versions of 1 and 3 for plain TCP and UDP; it falls back to the functions here.
 */
#ifndef FIP64_FIP64_H
#define FIP64_FIP64_H

#include <fip64/csum.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Contiguous bytes that are always enough for a packet without extension headers, ICMP errors included:
   40 + 8 + 8 (outer, fragment, ICMP) + 60 (inner IPv4 with options) + 20 and some. */
#define FIP64_CONTIG_WANTED 256
/* Free bytes wanted in front of the packet: the most that 4to6 or an ICMP error prepends. */
#define FIP64_HEADROOM 64

enum
{
  FIP64_PROTO_HOPOPTS = 0,
  FIP64_PROTO_ICMP = 1,
  FIP64_PROTO_IGMP = 2,
  FIP64_PROTO_TCP = 6,
  FIP64_PROTO_UDP = 17,
  FIP64_PROTO_DCCP = 33,
  FIP64_PROTO_ROUTING = 43,
  FIP64_PROTO_FRAGMENT = 44,
  FIP64_PROTO_ESP = 50,
  FIP64_PROTO_AH = 51,
  FIP64_PROTO_ICMP6 = 58,
  FIP64_PROTO_NONE = 59,
  FIP64_PROTO_DSTOPTS = 60,
  FIP64_PROTO_MOBILITY = 135,
  FIP64_PROTO_UDPLITE = 136,
  FIP64_PROTO_HIP = 139,
  FIP64_PROTO_SHIM6 = 140,
};

enum fip64_verdict
{
  FIP64_PASS = 0,   /* translate it */
  FIP64_SEND_ERROR, /* discard it; info.err_* says which ICMP error the sender should get */
  FIP64_DROP,       /* discard it silently */
};

/* Why a packet was not translated. X(symbol, counter name, description). */
#define FIP64_REASONS                                                                                         \
  X (OK, "ok", "translated")                                                                                  \
  X (BAD_VERSION, "bad-version", "IP version field does not fit")                                             \
  X (TRUNCATED, "truncated", "packet shorter than its headers say")                                           \
  X (BAD_HEADER, "bad-header", "header length fields contradict each other")                                  \
  X (BAD_FRAGMENT, "bad-fragment", "fragment of a packet that has more than 65535 bytes in IPv4")                                     \
  X (SHORT_L4, "short-l4", "transport header does not fit into the (first) fragment")                         \
  X (NOT_LINEAR, "not-linear", "needed bytes are not in the first buffer")                                    \
  X (NO_HEADROOM, "no-headroom", "not enough space in front of the packet")                                   \
  X (TOO_MANY_EXT, "too-many-extension-headers", "more than 8 extension headers")                             \
  X (TTL, "ttl-exceeded", "TTL or hop limit exceeded")                                                        \
  X (TOO_BIG, "too-big", "translated packet exceeds the next-hop MTU and may not be fragmented")              \
  X (SOURCE_ROUTE, "source-route", "unexpired source route or routing header")                                \
  X (FRAG_EXT_HDR, "fragment-extension-header", "extension header follows the fragment header")               \
  X (PROTO, "untranslatable-protocol", "protocol means something else in the other family")                   \
  X (IGMP, "igmp", "IGMP is single-hop")                                                                      \
  X (ICMP_FRAGMENT, "icmp-fragment", "fragmented ICMP cannot be translated without state")                    \
  X (ICMP_TYPE, "icmp-type", "ICMP type has no counterpart")                                                  \
  X (ICMP_CODE, "icmp-code", "ICMP code has no counterpart")                                                  \
  X (ICMP_POINTER, "icmp-pointer", "parameter problem points to a field without counterpart")                 \
  X (INNER_BAD, "inner-bad", "packet quoted by an ICMP error is malformed or too short")                      \
  X (INNER_PROTO, "inner-untranslatable", "packet quoted by an ICMP error could not have been translated") \
  X (INNER_ICMP, "inner-icmp", "ICMP error about an ICMP error or an untranslatable ICMP type")               \
  X (UDP_ZERO, "udp-zero-checksum", "UDP without checksum and configured to drop it")                         \
  X (UDP_ZERO_FRAGMENT, "udp-zero-checksum-fragment", "fragmented UDP without checksum")                      \
  X (MARTIAN, "martian", "illegal source or destination address")                                             \
  X (NO_MAPPING, "no-mapping", "no address mapping for the destination")                                      \
  X (NO_BINDING, "no-binding", "no address left for the client")

enum fip64_reason
{
#define X(sym, name, desc) FIP64_R_##sym,
  FIP64_REASONS
#undef X
    FIP64_N_REASONS
};

/* Name (stable, for counters) and description of a reason. */
const char *fip64_reason_name (enum fip64_reason r);
const char *fip64_reason_text (enum fip64_reason r);

struct fip64_conf
{
  uint16_t mtu4;            /* MTU of the IPv4 next hop, at least 68 */
  uint16_t mtu6;            /* MTU of the IPv6 next hop, at least 1280 */
  uint16_t lowest_ipv6_mtu; /* RFC 7915 section 4.1; IPv4 packets without DF are fragmented to this */
  uint8_t ttl_dec;          /* 1: decrement here; 0: the caller's forwarding does. Checked in either case */
  uint8_t tos_mask_4to6;    /* 0xff: copy TOS to traffic class; 0: zero */
  uint8_t tos_mask_6to4;
  uint8_t udp_zero_drop; /* 1: drop IPv4 UDP without checksum; 0: compute one where possible */
};

/* RFC 7915's defaults and MTU 1500 on both sides. */
void fip64_conf_default (struct fip64_conf *c);
/* NULL, or the name of the first field that is out of range. */
const char *fip64_conf_check (const struct fip64_conf *c);

/*
 * A packet. Only [data, data + contig) and the headroom [head, data) are ever touched. total may exceed
 * contig (VPP's chained buffers): the rest is never looked at. Parsing trims total and contig to the length in
 * the IP header. total must not be less than contig.
 */
struct fip64_buf
{
  uint8_t *head;
  uint8_t *data;
  uint32_t contig;
  uint32_t total;
};

/* One host in both families. */
struct fip64_endpoint
{
  uint8_t v6[16];
  uint32_t v4;  /* network byte order */
  uint16_t to4; /* checksum difference when v4 replaces v6 */
  uint16_t to6; /* and the reverse */
};

FIP64_INLINE void
fip64_endpoint_init (struct fip64_endpoint *e, const uint8_t v6[16], uint32_t v4)
{
  memcpy (e->v6, v6, 16);
  e->v4 = v4;
  e->to4 = fip64_fold ((uint64_t) v4 + fip64_neg (fip64_fold (fip64_sum16bytes (v6))));
  e->to6 = fip64_neg (e->to4);
}

/*
 * Endpoints for the addresses of the packet as it came in: each endpoint's address of the incoming family must
 * equal the packet's, or transport checksums come out wrong. Only for ICMP errors the inner ones are read; the
 * source there may be a router for which the caller makes an endpoint on the stack.
 */
struct fip64_addrs
{
  const struct fip64_endpoint *src, *dst;
  const struct fip64_endpoint *inner_src, *inner_dst;
};

/* fip64_ip.flags */
enum
{
  FIP64_FRAG = 1,     /* IPv6: has a fragment header (perhaps atomic); IPv4: is a fragment */
  FIP64_DF = 2,       /* IPv4 only */
  FIP64_ICMP_ERR = 4, /* an ICMP error with an inner packet that is translated too */
  FIP64_UDP_ZERO = 8, /* UDP without checksum */
};

/* What parsing found out about one IP packet, outer or inner. */
struct fip64_ip
{
  uint32_t payload_len; /* bytes after the IP header and all extension headers, by the header's word */
  uint32_t ident;
  uint16_t hdr_len; /* IP header with options, or extension headers up to the transport header */
  uint16_t frag;    /* as in the IPv6 fragment header: offset in bytes, bit 0 M */
  uint8_t proto;    /* transport protocol, as in the incoming family */
  uint8_t flags;
};

struct fip64_info
{
  uint8_t version; /* 4 or 6: the family it came in with */
  uint8_t plain;   /* the fast path applies: then only what stands up to frag_mtu is set, not payload_len, ident */
  uint8_t reason;  /* enum fip64_reason */
  uint8_t no_error;
  struct fip64_ip ip;

  uint16_t frag_mtu; /* after translation: send as fragments of at most so many bytes; 0: as it is */

  /* FIP64_SEND_ERROR: type, code and second word (MTU, pointer) in the incoming family. */
  uint8_t err_type, err_code;
  uint32_t err_arg;

  /* ICMP: what type, code and (errors) second word become. */
  uint8_t icmp_type, icmp_code;
  uint32_t icmp_arg;

  /* ICMP errors only. Offsets count from the outer IP header. */
  struct fip64_ip inner;
  uint16_t inner_off;
  uint32_t inner_avail; /* bytes of the quoted packet that are there (RFC 4884 extension excluded) */
  uint32_t icmp_len;    /* of the translated message */
  uint32_t cut;         /* bytes cut off at the packet's end */
  uint16_t pad;         /* zero bytes put between quoted packet and RFC 4884 extension */
};

/* Step 1. */
enum fip64_verdict fip64_parse6_slow (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i);
enum fip64_verdict fip64_parse4_slow (struct fip64_buf *b, const struct fip64_conf *c, struct fip64_info *i);

/* Addresses of the packet (in network order, not aligned): 16 or 4 bytes depending on info.version. */
FIP64_INLINE const uint8_t *
fip64_src (const struct fip64_buf *b, const struct fip64_info *i)
{
  return b->data + (i->version == 6 ? 8 : 12);
}

FIP64_INLINE const uint8_t *
fip64_dst (const struct fip64_buf *b, const struct fip64_info *i)
{
  return b->data + (i->version == 6 ? 24 : 16);
}

FIP64_INLINE const uint8_t *
fip64_inner_src (const struct fip64_buf *b, const struct fip64_info *i)
{
  return b->data + i->inner_off + (i->version == 6 ? 8 : 12);
}

FIP64_INLINE const uint8_t *
fip64_inner_dst (const struct fip64_buf *b, const struct fip64_info *i)
{
  return b->data + i->inner_off + (i->version == 6 ? 24 : 16);
}

/*
 * The caller cannot or will not translate a parsed packet: records the reason and prepares the error of RFC 7915
 * sections 4.4 and 5.4 (administratively prohibited), unless an error may not be sent about this packet.
 */
enum fip64_verdict fip64_refuse (const struct fip64_buf *b, struct fip64_info *i, enum fip64_reason why);

/* Step 3. ident: the IPv4 identification for packets without fragment header, from the caller's generator. */
void fip64_6to4_slow (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
		      const struct fip64_addrs *a, uint16_t ident);
void fip64_4to6_slow (struct fip64_buf *b, const struct fip64_conf *c, const struct fip64_info *i,
		      const struct fip64_addrs *a);

/*
 * Turns the packet into the ICMP error info.err_*: to its source, from src (4 or 16 bytes, one of the translator's
 * own addresses). Quotes as much as fits into 576 (IPv4) or 1280 bytes (IPv6) and as is contiguous: afterwards
 * total == contig. False, and nothing touched, without headroom (48 bytes).
 */
bool fip64_build_error (struct fip64_buf *b, const struct fip64_info *i, const uint8_t *src);

/*
 * Fragments of a translated packet (either family; refragments what is a fragment). The payload is only referred
 * to by offset, so it may be chained.
 */
struct fip64_frag_iter
{
  const uint8_t *pkt;
  uint32_t total;
  uint32_t pos;	     /* payload bytes done */
  uint32_t ident;
  uint16_t chunk;    /* payload bytes in all but the last, multiple of 8 */
  uint16_t hdr_len;  /* of the packet */
  uint16_t base;     /* offset of the packet itself, if it is a fragment */
  uint8_t more;	     /* and its M flag */
  uint8_t version;
  uint8_t proto;
};

struct fip64_fragment
{
  uint8_t hdr[48];
  uint32_t hdr_len;
  uint32_t off; /* payload: [off, off + len) of the translated packet */
  uint32_t len;
};

/* i must have been filled by the parser that b was translated with. */
void fip64_frag_init (struct fip64_frag_iter *it, const struct fip64_buf *b, const struct fip64_info *i);
bool fip64_frag_next (struct fip64_frag_iter *it, struct fip64_fragment *f);

/* Offered checks; the core does not call them (RFC 7915 sections 4.1 and 5.1: SHOULD silently discard). */
/* Not a legal source: 0/8, 127/8, 169.254/16 (link-local), multicast, class E and broadcast. Network byte order. */
bool fip64_martian4 (uint32_t addr);
/* Not a legal source: unspecified, loopback, multicast, link-local, IPv4-mapped, IPv4-compatible. */
bool fip64_martian6 (const uint8_t addr[16]);
/* The IPv4 header is all there and its checksum is right (VPP's ip4-input has done that already). */
bool fip64_ip4_header_ok (const uint8_t *pkt, size_t len);

#ifdef __cplusplus
}
#endif
#endif
