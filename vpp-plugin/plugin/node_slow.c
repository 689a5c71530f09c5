/* SPDX-License-Identifier: Apache-2.0 */
/* Translates packets of any kind, one at a time: those that the loops of ip6-fip64 and ip4-fip64 cannot. */
#include "node.h"
#include "notice.h"

#include <vnet/dpo/load_balance.h>
#include <vnet/fib/ip6_fib.h>
#include <vnet/ip/ip.h>
#include <vnet/udp/udp_packet.h>
#include <vnet/interface_output.h>
#include <vnet/ip/format.h>
#include <vppinfra/random.h>

fip64_nodes_t fip64_nodes = { .errors_per_second = FIP64_ERRORS_PER_SECOND };

vlib_error_desc_t fip64_node_errors[FIP64_N_ERRORS] = {
#define X(symbol, stable_name, text)                                                                                   \
  [FIP64_R_##symbol] = { .name = stable_name,                                                                          \
			 .desc = text,                                                                                 \
			 .severity = FIP64_R_##symbol ? VL_COUNTER_SEVERITY_ERROR : VL_COUNTER_SEVERITY_INFO },
  FIP64_REASONS
#undef X
#define X(symbol, stable_name, level, text)                                                                            \
  [FIP64_ERROR_##symbol] = { .name = stable_name, .desc = text, .severity = VL_COUNTER_SEVERITY_##level },
    FIP64_NODE_COUNTERS
#undef X
};

enum
{
  SRC,
  DST,
  INNER_SRC,
  INNER_DST,
};

typedef struct
{
  vlib_main_t *vm;
  vlib_node_runtime_t *node;
  vlib_buffer_t *b;
  fip64_worker_t *worker;
  u32 now;
  fip64_tenant_t *tenant;
  u32 mapping;	    /* index of the mapping that counts it; ~0: unknown */
  u32 fib_in;	    /* FIB for ICMP errors */
  u32 fib_out;	    /* FIB for the translated packet */
  bool linearized;
  bool made;	    /* this packet made the client's binding */
  u32 n_fragments;

  struct fip64_buf buf;
  struct fip64_info info;
  enum fip64_verdict verdict;
  u16 code; /* counter: the core's reason, or a more precise one of FIP64_NODE_COUNTERS */

  struct fip64_endpoint hosts[4];
  struct fip64_addrs addrs;
} job_t;

/* What a trace records of a packet. */
enum
{
  TRACE_BYTES = 80, /* of each header */
};

typedef struct
{
  u8 version; /* 6: from IPv6 to IPv4 */
  u8 verdict;
  u8 made;
  u8 linearized;
  u8 error_sent;
  u8 err_type, err_code;
  u16 code;
  u16 frag_mtu;
  u32 n_fragments;
  u32 table_id;
  u32 mapping;
  struct fip64_endpoint client, host; /* v4 == 0: unknown */
  u16 before_len, after_len;
  u8 before[TRACE_BYTES], after[TRACE_BYTES];
} trace_t;

static void
count (job_t *j, u16 code, u64 n)
{
  vlib_node_increment_counter (j->vm, j->node->node_index, code, n);
}

static void
drop (job_t *j, u16 code)
{
  j->verdict = FIP64_DROP;
  j->code = code;
}

/* Drops the packet, with an ICMP error to its sender where one may be sent. code: the reason, which may be more
   precise than the core's. */
static void
refuse (job_t *j, enum fip64_reason why, u16 code)
{
  j->verdict = fip64_refuse (&j->buf, &j->info, why);
  j->code = code;
}

/* Buffers. */

static void
look_at_buffer (job_t *j)
{
  j->buf = fip64_buf_of (j->b);
  j->buf.total = vlib_buffer_length_in_chain (j->vm, j->b);
}

/* Cuts a chain: `rest` bytes stay behind the first buffer. */
static void
trim_chain (vlib_main_t *vm, vlib_buffer_t *b, u32 rest)
{
  vlib_buffer_t *first = b;
  first->total_length_not_including_first_buffer = rest;
  while (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    {
      if (rest == 0)
	{
	  b->flags &= ~VLIB_BUFFER_NEXT_PRESENT;
	  vlib_buffer_free_one (vm, b->next_buffer);
	  break;
	}
      b = vlib_get_buffer (vm, b->next_buffer);
      b->current_length = clib_min (b->current_length, rest);
      rest -= b->current_length;
    }
  if (!(first->flags & VLIB_BUFFER_NEXT_PRESENT))
    first->flags &= ~VLIB_BUFFER_TOTAL_LENGTH_VALID;
}

static void
give_back (job_t *j, u32 fib_index)
{
  if (j->b->flags & VLIB_BUFFER_NEXT_PRESENT)
    trim_chain (j->vm, j->b, j->buf.total - j->buf.contig);
  fip64_buf_back (j->b, &j->buf, fib_index);
  j->b->flags &= ~(VNET_BUFFER_F_L4_HDR_OFFSET_VALID | VNET_BUFFER_F_L4_CHECKSUM_COMPUTED |
		   VNET_BUFFER_F_L4_CHECKSUM_CORRECT);
  j->b->flags |= VNET_BUFFER_F_L3_HDR_OFFSET_VALID;
}

/* Computes checksums that were left to the interface (in a packet of this host, for example): a translated packet
   needs them. */
static bool
fill_checksums (job_t *j, bool is_ip4)
{
  vlib_buffer_t *b = j->b;
  const u32 valid = VNET_BUFFER_F_L3_HDR_OFFSET_VALID | VNET_BUFFER_F_L4_HDR_OFFSET_VALID;
  const u32 known = VNET_BUFFER_OFFLOAD_F_IP_CKSUM | VNET_BUFFER_OFFLOAD_F_TCP_CKSUM | VNET_BUFFER_OFFLOAD_F_UDP_CKSUM;

  if (b->flags & VNET_BUFFER_F_GSO)
    return false;
  if (!(b->flags & VNET_BUFFER_F_OFFLOAD))
    return true;
  if ((vnet_buffer (b)->oflags & ~known) || (b->flags & valid) != valid ||
      vnet_buffer (b)->l3_hdr_offset != b->current_data)
    return false;
  vnet_calc_checksums_inline (j->vm, b, is_ip4, !is_ip4);
  count (j, FIP64_ERROR_CHECKSUMS, 1);
  return true;
}

/* Copies the chain into one buffer: the core must read more than the first buffer has. */
static bool
linearize (job_t *j)
{
  if (j->linearized || !(j->b->flags & VLIB_BUFFER_NEXT_PRESENT) || !vlib_buffer_chain_linearize (j->vm, j->b))
    return false;
  j->linearized = true;
  count (j, FIP64_ERROR_LINEARIZED, 1);
  look_at_buffer (j);
  return true;
}

/* Copies a buffer that other copies of a flooded frame share, before bytes behind the packet are cut off. */
static bool
shared_behind (job_t *j)
{
  vlib_buffer_t *b = j->b;

  if (!(b->flags & VLIB_BUFFER_NEXT_PRESENT) || j->buf.total == j->buf.contig ||
      j->buf.total == vlib_buffer_length_in_chain (j->vm, b))
    return false;
  while (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    {
      b = vlib_get_buffer (j->vm, b->next_buffer);
      if (b->ref_count > 1)
	return true;
    }
  return false;
}

/* Computes the checksum of a UDP packet that has none and is longer than one buffer: the core would have to read all
   of it. */
static bool
fill_long_udp_checksum (job_t *j)
{
  ip4_header_t *ip = (ip4_header_t *) j->buf.data;
  u32 header = ip4_header_bytes (ip);
  udp_header_t *udp = ip4_next_header (ip);

  if (!(j->b->flags & VLIB_BUFFER_NEXT_PRESENT) || j->tenant->conf.udp_zero_drop || ip->protocol != IP_PROTOCOL_UDP ||
      ip4_is_fragment (ip) || j->buf.contig < header + sizeof (*udp) || udp->checksum != 0)
    return false;
  /* The datagram may be shorter than the packet. The core has checked its length. */
  u32 length = clib_net_to_host_u16 (udp->length);
  ip_csum_t sum = clib_host_to_net_u32 (length + (IP_PROTOCOL_UDP << 16));
  sum = ip_csum_with_carry (sum, clib_mem_unaligned (&ip->src_address, u64)); /* and dst_address */
  udp->checksum = ip_calculate_l4_checksum (j->vm, j->b, sum, length, (u8 *) ip, header, NULL);
  if (udp->checksum == 0)
    udp->checksum = 0xffff;
  return true;
}

/* Look-ups of the hosts. */

static void
known_client6 (job_t *j, int which, const u8 *v6)
{
  if (fip64_pool_find6 (j->tenant->pool, v6, j->now, &j->hosts[which]) == FIP64_NO_SLOT)
    j->hosts[which].v4 = 0;
}

/* Whether a packet from outside has a floating IP, or an address of VPP's own, as its source: such a source is
   forged. Packets that VMs send to floating IPs of each other, and packets of VPP itself, are not from outside. */
static bool
is_own_source (job_t *j, const fip64_mapping_t *m, const u8 *src)
{
  const fip64_mapping_t *of = fip64_mapping_of (src);
  u32 rx = vnet_buffer (j->b)->sw_if_index[VLIB_RX];

  if (of)
    return rx >= vec_len (ip4_main.fib_index_by_sw_if_index) ||
	   ip4_main.fib_index_by_sw_if_index[rx] != fip64_tenant_get (of->tenant)->ip4_fib_index;
  if (j->b->flags & VNET_BUFFER_F_LOCALLY_ORIGINATED)
    return false;
  index_t lbi = ip6_fib_table_fwding_lookup (m->ip6_fib_index, (const ip6_address_t *) src);
  return load_balance_get_bucket_i (load_balance_get (lbi), 0)->dpoi_type == DPO_RECEIVE ||
	 memcmp (src, j->tenant->address6.as_u8, 16) == 0;
}

static void
find_hosts6 (job_t *j, const fip64_mapping_t *m)
{
  const u8 *src = fip64_src (&j->buf, &j->info);

  j->hosts[DST] = m->endpoint;
  known_client6 (j, SRC, src);

  if (PREDICT_FALSE (j->info.ip.flags & FIP64_ICMP_ERR))
    {
      known_client6 (j, INNER_DST, fip64_inner_dst (&j->buf, &j->info));
      j->hosts[INNER_SRC] = m->endpoint;
      if (j->hosts[INNER_DST].v4 == 0 || memcmp (fip64_inner_src (&j->buf, &j->info), m->endpoint.v6, 16))
	return drop (j, FIP64_ERROR_INNER_UNKNOWN);
      if (j->hosts[SRC].v4 == 0)
	{
	  if (fip64_martian6 (src))
	    return drop (j, FIP64_R_MARTIAN);
	  /* A router on the way gets no binding; the tenant's own address is the source. */
	  fip64_endpoint_init (&j->hosts[SRC], src, j->tenant->address4);
	}
      return;
    }

  if (j->hosts[SRC].v4 == 0)
    {
      if (fip64_martian6 (src))
	return drop (j, FIP64_R_MARTIAN);
      if (is_own_source (j, m, src))
	return drop (j, FIP64_ERROR_OWN_SOURCE);
      if (fip64_client_bind (j->vm, j->tenant, src, j->now, &j->hosts[SRC]) == FIP64_NO_SLOT)
	{
	  j->hosts[SRC].v4 = 0;
	  return refuse (j, FIP64_R_NO_BINDING, FIP64_R_NO_BINDING);
	}
      j->made = true;
    }
}

static u32
load_address (const u8 *p)
{
  return fip64_load32 (p);
}

static const fip64_fixed_t *
known_host4 (job_t *j, int which, u32 v4)
{
  const fip64_fixed_t *f = fip64_fixed_find (j->tenant->index, v4);
  if (f)
    j->hosts[which] = f->endpoint;
  else
    j->hosts[which].v4 = 0;
  return f;
}

static bool
known_client4 (job_t *j, int which, u32 v4)
{
  bool found = fip64_pool_find4 (j->tenant->pool, v4, j->now, &j->hosts[which]) != FIP64_NO_SLOT;
  if (!found)
    j->hosts[which].v4 = 0;
  return found;
}

static void
find_hosts4 (job_t *j)
{
  u32 src = load_address (fip64_src (&j->buf, &j->info));
  const fip64_fixed_t *f = known_host4 (j, SRC, src);
  bool bound = known_client4 (j, DST, load_address (fip64_dst (&j->buf, &j->info)));

  if (PREDICT_FALSE (j->info.ip.flags & FIP64_ICMP_ERR))
    {
      const fip64_fixed_t *inner = known_host4 (j, INNER_DST, load_address (fip64_inner_dst (&j->buf, &j->info)));
      if (!known_client4 (j, INNER_SRC, load_address (fip64_inner_src (&j->buf, &j->info))) || !inner)
	return drop (j, FIP64_ERROR_INNER_UNKNOWN);
      if (!f)
	{
	  /* A router on the way. An illegal source is translated too, to help in troubleshooting (section 4.1). */
	  fip64_endpoint_init (&j->hosts[SRC], j->tenant->address6.as_u8, src);
	  f = inner;
	}
    }
  else if (!f)
    {
      if (fip64_martian4 (src))
	return drop (j, FIP64_R_MARTIAN);
      return refuse (j, FIP64_R_NO_MAPPING, FIP64_ERROR_UNMAPPED_SOURCE);
    }
  j->mapping = f->mapping;
  j->fib_out = f->ip6_fib_index;
  if (!bound)
    refuse (j, FIP64_R_NO_MAPPING, FIP64_ERROR_UNBOUND_POOL_ADDRESS);
}

/* Fragments. */

/* The place in a chain of buffers from which the next byte is copied. */
typedef struct
{
  vlib_buffer_t *b;
  u32 pos;
} cursor_t;

static void
copy_from (vlib_main_t *vm, cursor_t *c, u8 *to, u32 n)
{
  while (n)
    {
      u32 here = clib_min (n, c->b->current_length - c->pos);
      clib_memcpy_fast (to, (u8 *) vlib_buffer_get_current (c->b) + c->pos, here);
      to += here;
      n -= here;
      c->pos += here;
      if (n == 0 || !(c->b->flags & VLIB_BUFFER_NEXT_PRESENT))
	return;
      c->b = vlib_get_buffer (vm, c->b->next_buffer);
      c->pos = 0;
    }
}

/* Makes a fragment in new buffers. Returns the first buffer, or ~0 when there are none. */
static u32
make_fragment (vlib_main_t *vm, const vlib_buffer_t *of, const struct fip64_fragment *f, cursor_t *from)
{
  u32 size = vlib_buffer_get_default_data_size (vm);
  u32 n = (f->hdr_len + f->len + size - 1) / size;
  u32 left = f->len;
  u32 bi[FIP64_FRAGMENT_BUFFERS];

  if (n > ARRAY_LEN (bi))
    return ~0;
  u32 got = vlib_buffer_alloc (vm, bi, n);
  if (got != n)
    {
      vlib_buffer_free (vm, bi, got);
      return ~0;
    }
  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = vlib_get_buffer (vm, bi[i]);
      u32 header = i == 0 ? f->hdr_len : 0;
      u32 here = clib_min (left, size - header);
      clib_memcpy_fast (b->data, f->hdr, header);
      copy_from (vm, from, b->data + header, here);
      b->current_length = header + here;
      left -= here;
      if (i > 0)
	continue;
      vnet_buffer (b)->sw_if_index[VLIB_RX] = vnet_buffer (of)->sw_if_index[VLIB_RX];
      vnet_buffer (b)->sw_if_index[VLIB_TX] = vnet_buffer (of)->sw_if_index[VLIB_TX];
      vnet_buffer (b)->l3_hdr_offset = 0;
      vnet_buffer2 (b)->qos = vnet_buffer2 (of)->qos;
      b->flow_id = of->flow_id;
      b->trace_handle = of->trace_handle;
      b->flags |= (of->flags & (VLIB_BUFFER_IS_TRACED | VNET_BUFFER_F_QOS_DATA_VALID | VNET_BUFFER_F_LOCALLY_ORIGINATED)) |
		  VNET_BUFFER_F_L3_HDR_OFFSET_VALID;
      if (n > 1)
	{
	  b->flags |= VLIB_BUFFER_TOTAL_LENGTH_VALID;
	  b->total_length_not_including_first_buffer = left;
	}
    }
  for (u32 i = 0; i + 1 < n; i++)
    {
      vlib_buffer_t *b = vlib_get_buffer (vm, bi[i]);
      b->next_buffer = bi[i + 1];
      b->flags |= VLIB_BUFFER_NEXT_PRESENT;
    }
  return bi[0];
}

/* Makes the worker's list of fragments and frees the packet. Without buffers it returns false and leaves the packet
   as it is. */
static bool
fragment (job_t *j, fip64_next_t next)
{
  struct fip64_frag_iter it;
  struct fip64_fragment f;
  fip64_worker_t *w = j->worker;
  cursor_t from = { .b = j->b };

  fip64_frag_init (&it, &j->buf, &j->info);
  from.pos = it.hdr_len;
  while (fip64_frag_next (&it, &f))
    {
      u32 bi = make_fragment (j->vm, j->b, &f, &from);
      if (bi == ~0)
	{
	  vlib_buffer_free (j->vm, w->fragments, vec_len (w->fragments));
	  vec_reset_length (w->fragments);
	  return false;
	}
      vec_add1 (w->fragments, bi);
    }
  w->fragments_next = next;
  j->n_fragments = vec_len (w->fragments);
  count (j, FIP64_ERROR_FRAGMENTED, 1);
  count (j, FIP64_ERROR_FRAGMENTS, j->n_fragments);
  return true;
}

/* ICMP errors that we send. */

static bool
may_send_error (job_t *j)
{
  fip64_worker_t *w = j->worker;
  f64 rate = fip64_nodes.errors_per_second;
  f64 now = vlib_time_now (j->vm);

  w->tokens = clib_min (rate, w->tokens + (now - w->refilled) * rate);
  w->refilled = now;
  if (w->tokens < 1)
    return false;
  w->tokens -= 1;
  return true;
}

/* Returns whether the packet was turned into the error. */
static bool
become_error (job_t *j)
{
  const u8 *from = j->info.version == 6 ? j->tenant->address6.as_u8 : (const u8 *) &j->tenant->address4;

  if (!may_send_error (j))
    {
      count (j, FIP64_ERROR_ERRORS_HELD_BACK, 1);
      return false;
    }
  if (!fip64_build_error (&j->buf, &j->info, from))
    return false;
  give_back (j, j->fib_in);
  j->b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED; /* so that its hop limit is not decremented */
  count (j, j->code, 1);
  count (j, FIP64_ERROR_ERRORS_SENT, 1);
  return true;
}

/* The log. */

static void
tell (job_t *j)
{
  static const u8 kinds[FIP64_N_ERRORS] = {
    /* The kind + 1; 0: nothing is logged. */
    [FIP64_R_UDP_ZERO] = FIP64_NOTICE_UDP_ZERO + 1,
    [FIP64_R_UDP_ZERO_FRAGMENT] = FIP64_NOTICE_UDP_ZERO_FRAGMENT + 1,
    [FIP64_R_FRAG_EXT_HDR] = FIP64_NOTICE_FRAGMENT_EXTENSION + 1,
    [FIP64_ERROR_OWN_SOURCE] = FIP64_NOTICE_OWN_SOURCE + 1,
    [FIP64_ERROR_OFFLOAD] = FIP64_NOTICE_OFFLOAD + 1,
  };
  u32 kind = kinds[j->code];
  u32 size = j->info.version == 6 ? 16 : 4;

  if (PREDICT_TRUE (kind == 0))
    return;
  fip64_notice_t n = { .version = j->info.version, .table_id = j->tenant->is.table_id };
  clib_memcpy_fast (n.src, fip64_src (&j->buf, &j->info), size);
  clib_memcpy_fast (n.dst, fip64_dst (&j->buf, &j->info), size);
  if (j->code == FIP64_R_UDP_ZERO || j->code == FIP64_R_UDP_ZERO_FRAGMENT)
    {
      const u8 *udp = j->buf.data + j->info.ip.hdr_len;
      n.has_ports = true;
      n.sport = fip64_be16 (udp);
      n.dport = fip64_be16 (udp + 2);
    }
  fip64_notice (j->vm->thread_index, kind - 1, &n);
}

/* Traces. */

static u16
keep_header (u8 *to, vlib_buffer_t *b)
{
  u16 n = clib_min (b->current_length, TRACE_BYTES);
  clib_memcpy_fast (to, vlib_buffer_get_current (b), n);
  return n;
}

static void
trace_result (job_t *j, trace_t *t)
{
  int client = j->info.version == 6 ? SRC : DST;
  int host = j->info.version == 6 ? DST : SRC;

  t->version = j->info.version;
  t->verdict = j->verdict;
  t->made = j->made;
  t->linearized = j->linearized;
  t->err_type = j->info.err_type;
  t->err_code = j->info.err_code;
  t->code = j->code;
  t->frag_mtu = j->info.frag_mtu;
  t->n_fragments = j->n_fragments;
  t->table_id = j->tenant->is.table_id;
  t->mapping = j->mapping;
  t->client = j->hosts[client];
  t->host = j->hosts[host];
}

static u8 *
format_header (u8 *s, va_list *args)
{
  u8 *p = va_arg (*args, u8 *);
  u32 n = va_arg (*args, u32);
  if (n >= 20 && (p[0] >> 4) == 4)
    return format (s, "%U", format_ip4_header, p, n);
  return format (s, "%U", format_ip6_header, p, n);
}

u8 *
format_fip64_trace (u8 *s, va_list *args)
{
  CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
  CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
  trace_t *t = va_arg (*args, trace_t *);
  u32 indent = format_get_indent (s);
  vlib_error_desc_t *e = &fip64_node_errors[t->code];

  s = format (s, "tenant table %u, ", t->table_id);
  if (t->verdict == FIP64_PASS)
    s = format (s, "translated");
  else
    s = format (s, "%s: %s (%s)", t->error_sent ? "refused" : "dropped", e->name, e->desc);
  if (t->error_sent)
    s = format (s, ", ICMP%s error type %u code %u sent", t->version == 6 ? "v6" : "", t->err_type, t->err_code);
  if (t->n_fragments)
    s = format (s, ", %u fragments of at most %u bytes", t->n_fragments, t->frag_mtu);
  if (t->linearized)
    s = format (s, ", linearized");

  s = format (s, "\n%Umapping ", format_white_space, indent);
  if (t->mapping == ~0)
    s = format (s, "unknown");
  else
    s = format (s, "%u", t->mapping);
  if (t->host.v4)
    s = format (s, ": %U is %U", format_ip6_address, t->host.v6, format_ip4_address, &t->host.v4);
  s = format (s, "\n%Uclient ", format_white_space, indent);
  if (t->client.v4)
    s = format (s, "%U is %U (%s)", format_ip6_address, t->client.v6, format_ip4_address, &t->client.v4,
		t->made ? "made now" : "found");
  else
    s = format (s, "unknown");

  s = format (s, "\n%Ubefore: %U", format_white_space, indent, format_header, t->before, (u32) t->before_len);
  if (t->after_len)
    s = format (s, "\n%U%s: %U", format_white_space, indent, t->error_sent ? "sent back" : "after", format_header,
		t->after, (u32) t->after_len);
  return s;
}

/* All steps. */

static void
parse (job_t *j, bool is_ip4)
{
  while (1)
    {
      j->verdict = is_ip4 ? fip64_parse4 (&j->buf, &j->tenant->conf, &j->info) :
			    fip64_parse6 (&j->buf, &j->tenant->conf, &j->info);
      j->code = j->info.reason;
      if (PREDICT_FALSE (j->code == FIP64_R_NOT_LINEAR))
	{
	  look_at_buffer (j);
	  if (!linearize (j) && !(j->linearized && is_ip4 && fill_long_udp_checksum (j)))
	    return;
	}
      else if (PREDICT_FALSE (j->verdict == FIP64_PASS && shared_behind (j)))
	{
	  if (!linearize (j))
	    return drop (j, FIP64_ERROR_NO_BUFFERS);
	}
      else
	return;
    }
}

static fip64_next_t
translate (job_t *j, bool is_ip4)
{
  vlib_combined_counter_main_t *counter = is_ip4 ? &fip64_main.count_4to6 : &fip64_main.count_6to4;
  fip64_next_t next = is_ip4 ? FIP64_NEXT_IP6_LOOKUP : FIP64_NEXT_IP4_LOOKUP;
  u32 bytes = j->buf.total;

  if (is_ip4)
    fip64_4to6 (&j->buf, &j->tenant->conf, &j->info, &j->addrs);
  else
    fip64_6to4 (&j->buf, &j->tenant->conf, &j->info, &j->addrs, j->worker->ident++);
  give_back (j, j->fib_out);
  if (j->info.frag_mtu)
    {
      if (!fragment (j, next))
	{
	  drop (j, FIP64_ERROR_NO_BUFFERS);
	  return FIP64_NEXT_DROP;
	}
      next = FIP64_NEXT_FRAGMENTS;
    }
  count (j, FIP64_R_OK, 1);
  vlib_increment_combined_counter (counter, j->vm->thread_index, j->mapping, 1, bytes);
  return next;
}

static fip64_next_t
finish (job_t *j, bool is_ip4, trace_t *trace)
{
  fip64_next_t next = FIP64_NEXT_DROP;

  tell (j);
  if (j->verdict == FIP64_PASS)
    next = translate (j, is_ip4);
  else if (j->verdict == FIP64_SEND_ERROR && become_error (j))
    next = is_ip4 ? FIP64_NEXT_IP4_LOOKUP : FIP64_NEXT_IP6_LOOKUP;

  if (next == FIP64_NEXT_DROP)
    j->b->error = j->node->errors[j->code]; /* error-drop increments the counter */
  if (PREDICT_FALSE (trace != NULL))
    {
      trace_result (j, trace);
      trace->error_sent = j->verdict == FIP64_SEND_ERROR && next != FIP64_NEXT_DROP;
      if (next != FIP64_NEXT_DROP)
	trace->after_len = keep_header (trace->after, j->b);
    }
  if (next == FIP64_NEXT_FRAGMENTS)
    vlib_buffer_free_one (j->vm, vlib_get_buffer_index (j->vm, j->b));
  return next;
}

static trace_t *
begin (job_t *j, bool is_ip4)
{
  trace_t *trace = NULL;

  if (PREDICT_FALSE ((j->node->flags & VLIB_NODE_FLAG_TRACE) && (j->b->flags & VLIB_BUFFER_IS_TRACED)))
    {
      trace = vlib_add_trace (j->vm, j->node, j->b, sizeof (*trace));
      clib_memset (trace, 0, sizeof (*trace));
      trace->before_len = keep_header (trace->before, j->b);
    }
  j->worker = fip64_nodes.workers + j->vm->thread_index;
  j->addrs = (struct fip64_addrs){ &j->hosts[SRC], &j->hosts[DST], &j->hosts[INNER_SRC], &j->hosts[INNER_DST] };
  for (u32 i = 0; i < ARRAY_LEN (j->hosts); i++)
    j->hosts[i].v4 = 0;
  j->info.version = is_ip4 ? 4 : 6;
  j->info.frag_mtu = 0;
  bool complete = fill_checksums (j, is_ip4);
  look_at_buffer (j);
  if (complete)
    parse (j, is_ip4);
  else
    drop (j, FIP64_ERROR_OFFLOAD);
  return trace;
}

u16
fip64_node6_slow (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 now)
{
  u32 mapping = vnet_buffer (b)->ip.adj_index[VLIB_TX];
  const fip64_mapping_t *m = fip64_mapping_get (mapping);
  job_t j = { .vm = vm, .node = node, .b = b, .now = now, .mapping = mapping };

  j.tenant = fip64_tenant_get (m->tenant);
  j.fib_in = m->ip6_fib_index;
  j.fib_out = j.tenant->ip4_fib_index;
  trace_t *trace = begin (&j, false);
  if (j.verdict == FIP64_PASS)
    find_hosts6 (&j, m);
  return finish (&j, false, trace);
}

u16
fip64_node4_slow (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 now)
{
  job_t j = { .vm = vm, .node = node, .b = b, .now = now, .mapping = ~0 };

  j.tenant = fip64_tenant_get (vnet_buffer (b)->ip.adj_index[VLIB_TX]);
  j.fib_in = j.tenant->ip4_fib_index;
  trace_t *trace = begin (&j, true);
  if (j.verdict == FIP64_PASS)
    find_hosts4 (&j);
  return finish (&j, true, trace);
}

/* Called when the number of threads is known. */
static clib_error_t *
fip64_nodes_main_loop_enter (vlib_main_t *vm)
{
  u32 seed = random_default_seed ();

  vec_validate_aligned (fip64_nodes.workers, vlib_get_n_threads () - 1, CLIB_CACHE_LINE_BYTES);
  for (u32 i = 0; i < vec_len (fip64_nodes.workers); i++)
    fip64_nodes.workers[i].ident = random_u32 (&seed);
  return NULL;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (fip64_nodes_main_loop_enter);
