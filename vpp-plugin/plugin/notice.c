/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"
#include "notice.h"

#include <vnet/ip/format.h>

/* One producer, one consumer. */
typedef struct
{
  fip64_notice_t notice;
  u8 is_full; /* the notice is the main thread's; else the worker's */
  u32 missed; /* since then */
  f64 next;   /* when it may be written down */
} place_t;

typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (line);
  place_t places[FIP64_N_NOTICES];
} worker_t;

static worker_t *workers; /* by thread */

static const char *const texts[FIP64_N_NOTICES] = {
  [FIP64_NOTICE_UDP_ZERO] = "UDP without checksum, which the tenant's settings say to drop",
  [FIP64_NOTICE_UDP_ZERO_FRAGMENT] = "UDP without checksum in fragments, for which none can be computed",
  [FIP64_NOTICE_FRAGMENT_EXTENSION] = "an extension header behind the fragment header",
  [FIP64_NOTICE_OFFLOAD] = "segmentation or another offload was left to do: switch it off at the sender",
  [FIP64_NOTICE_OWN_SOURCE] = "a source that is a floating IP, or VPP's own address, from outside",
};

void
fip64_notice (u32 thread, fip64_notice_kind_t kind, const fip64_notice_t *notice)
{
  place_t *place = workers[thread].places + kind;

  if (__atomic_load_n (&place->is_full, __ATOMIC_ACQUIRE))
    {
      __atomic_fetch_add (&place->missed, 1, __ATOMIC_RELAXED);
      return;
    }
  place->notice = *notice;
  __atomic_store_n (&place->is_full, 1, __ATOMIC_RELEASE);
}

static u8 *
format_end (u8 *s, va_list *args)
{
  const fip64_notice_t *n = va_arg (*args, const fip64_notice_t *);
  const u8 *address = va_arg (*args, const u8 *);
  u32 port = va_arg (*args, u32);

  s = n->version == 4 ? format (s, "%U", format_ip4_address, address) : format (s, "%U", format_ip6_address, address);
  return n->has_ports ? format (s, " port %u", port) : s;
}

static void
write_down (const fip64_notice_t *n, fip64_notice_kind_t kind, u32 missed)
{
  u8 *more = missed ? format (NULL, "; %u more of these packets meanwhile", missed) : NULL;

  fip64_log_warn ("dropped: %U to %U, tenant of table %u: %s%v", format_end, n, n->src, (u32) n->sport, format_end, n,
		  n->dst, (u32) n->dport, n->table_id, texts[kind], more);
  vec_free (more);
}

void
fip64_notices_log (f64 now)
{
  worker_t *w;

  vec_foreach (w, workers)
    for (u32 kind = 0; kind < FIP64_N_NOTICES; kind++)
      {
	place_t *place = w->places + kind;
	if (now < place->next || !__atomic_load_n (&place->is_full, __ATOMIC_ACQUIRE))
	  continue;
	write_down (&place->notice, kind, __atomic_exchange_n (&place->missed, 0, __ATOMIC_RELAXED));
	place->next = now + FIP64_NOTICE_INTERVAL;
	__atomic_store_n (&place->is_full, 0, __ATOMIC_RELEASE);
      }
}

/* Called when the number of threads is known. */
static clib_error_t *
fip64_notices_main_loop_enter (vlib_main_t *vm)
{
  vec_validate_aligned (workers, vlib_get_n_threads () - 1, CLIB_CACHE_LINE_BYTES);
  return NULL;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (fip64_notices_main_loop_enter);
