/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log messages about dropped packets, with their addresses. RFC 7915 asks for them in sections 4.5 (UDP without
 * checksum) and 5.1.1 (a header behind the fragment header). Workers record a packet, and the main thread logs it:
 * for each kind and worker the first one at once, then one in FIP64_NOTICE_INTERVAL, with the number of packets in
 * between.
 */
#ifndef FIP64_NOTICE_H
#define FIP64_NOTICE_H

#include "state.h"

#define FIP64_NOTICE_INTERVAL 10. /* seconds */

typedef enum
{
  FIP64_NOTICE_UDP_ZERO,
  FIP64_NOTICE_UDP_ZERO_FRAGMENT,
  FIP64_NOTICE_FRAGMENT_EXTENSION,
  FIP64_NOTICE_OWN_SOURCE,
  FIP64_NOTICE_OFFLOAD,
  FIP64_N_NOTICES,
} fip64_notice_kind_t;

typedef struct
{
  u8 src[16], dst[16]; /* the first four bytes: IPv4 */
  u8 version;
  bool has_ports;
  u16 sport, dport;
  u32 table_id; /* of the tenant */
} fip64_notice_t;

/* For any thread. */
void fip64_notice (u32 thread, fip64_notice_kind_t kind, const fip64_notice_t *notice);
/* For the main thread, about once a second. */
void fip64_notices_log (f64 now);

#endif
