/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unaligned loads and stores, and one's complement sums (RFC 1071, RFC 1624).
 *
 * Sums are kept in memory order: words are loaded as the machine sees them, never swapped. A one's
 * complement sum does not care, as long as every term and the result are treated alike, so constants are
 * brought into memory order with fip64_hton16/32 before they are added.
 */
#ifndef FIP64_CSUM_H
#define FIP64_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FIP64_INLINE static inline __attribute__ ((__always_inline__, __unused__))
#define fip64_likely(x) __builtin_expect (!!(x), 1)
#define fip64_unlikely(x) __builtin_expect (!!(x), 0)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define fip64_hton16(x) __builtin_bswap16 (x)
#define fip64_hton32(x) __builtin_bswap32 (x)
#else
#define fip64_hton16(x) ((uint16_t)(x))
#define fip64_hton32(x) ((uint32_t)(x))
#endif

FIP64_INLINE uint16_t
fip64_load16 (const uint8_t *p)
{
  uint16_t v;
  memcpy (&v, p, sizeof v);
  return v;
}

FIP64_INLINE uint32_t
fip64_load32 (const uint8_t *p)
{
  uint32_t v;
  memcpy (&v, p, sizeof v);
  return v;
}

FIP64_INLINE void
fip64_store16 (uint8_t *p, uint16_t v)
{
  memcpy (p, &v, sizeof v);
}

FIP64_INLINE void
fip64_store32 (uint8_t *p, uint32_t v)
{
  memcpy (p, &v, sizeof v);
}

/* Host byte order. */
FIP64_INLINE uint16_t
fip64_be16 (const uint8_t *p)
{
  return fip64_hton16 (fip64_load16 (p));
}

FIP64_INLINE uint32_t
fip64_be32 (const uint8_t *p)
{
  return fip64_hton32 (fip64_load32 (p));
}

FIP64_INLINE void
fip64_put16 (uint8_t *p, uint16_t v)
{
  fip64_store16 (p, fip64_hton16 (v));
}

FIP64_INLINE void
fip64_put32 (uint8_t *p, uint32_t v)
{
  fip64_store32 (p, fip64_hton32 (v));
}

/* 64-bit accumulator to 16 bits. Zero only when every term was zero: RFC 1624's -0 never appears where the
   sum of nonzero data is meant. */
FIP64_INLINE uint16_t
fip64_fold (uint64_t s)
{
  s = (s & 0xffffffffu) + (s >> 32);
  s = (s & 0xffffu) + ((s >> 16) & 0xffffu) + (s >> 32);
  s = (s & 0xffffu) + (s >> 16);
  s = (s & 0xffffu) + (s >> 16);
  return (uint16_t) s;
}

/* The additive inverse of a folded sum. */
FIP64_INLINE uint16_t
fip64_neg (uint16_t folded)
{
  return (uint16_t) ~folded;
}

FIP64_INLINE uint64_t
fip64_sum16bytes (const uint8_t *p)
{
  return (uint64_t) fip64_load32 (p) + fip64_load32 (p + 4) + fip64_load32 (p + 8) + fip64_load32 (p + 12);
}

/* Sum of n bytes that begin at an even offset of the checksummed data; an odd last byte is padded. */
FIP64_INLINE uint16_t
fip64_sum (const uint8_t *p, size_t n)
{
  uint64_t s = 0;
  for (; n >= 4; p += 4, n -= 4)
    s += fip64_load32 (p);
  if (n >= 2)
    {
      s += fip64_load16 (p);
      p += 2;
      n -= 2;
    }
  if (n)
    {
      uint8_t last[2] = { p[0], 0 };
      s += fip64_load16 (last);
    }
  return fip64_fold (s);
}

/* RFC 1624 equation 3 with the difference (new minus old) summed beforehand. */
FIP64_INLINE uint16_t
fip64_csum_adjust (uint16_t csum, uint32_t delta)
{
  uint32_t s = (uint32_t) (uint16_t) ~csum + delta;
  s = (s & 0xffffu) + (s >> 16);
  s = (s & 0xffffu) + (s >> 16);
  return (uint16_t) ~s;
}

#endif
