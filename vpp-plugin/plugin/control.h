/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What API and CLI do with the state: every function is idempotent and either does all or nothing. Main thread only;
 * those that change tenants or mappings need the workers to stand still.
 *
 * An error has one of the codes VNET_API_ERROR_* (README.rst lists them) and a text that names object and reason; the
 * caller frees it.
 */
#ifndef FIP64_CONTROL_H
#define FIP64_CONTROL_H

#include <vnet/api_errno.h>
#include <vnet/fib/fib_table.h>

#include "state.h"

clib_error_t *fip64_tenant_set (const fip64_tenant_wanted_t *wanted);
void fip64_tenant_remove (u32 table_id);
/* NULL if there is none. */
fip64_tenant_t *fip64_tenant_by_table (u32 table_id);
/* Indices of all tenants, by table id; a vector to be freed. */
u32 *fip64_tenants_sorted (void);

clib_error_t *fip64_mapping_set (const ip6_address_t *floating, u32 ip6_table_id, u32 fixed, u32 table_id);
void fip64_mapping_remove (const ip6_address_t *floating, u32 ip6_table_id);
void fip64_mappings_remove_of_tenant (u32 tenant);
/* Is the fixed address of some mapping of the tenant between first and last (host order)? */
bool fip64_mapping_within (u32 tenant, u32 first, u32 last, u32 *which);
u32 fip64_mapping_ip6_table_id (const fip64_mapping_t *m);

clib_error_t *fip64_binding_set (const ip6_address_t *client, u32 pool_address, u32 table_id);
void fip64_binding_remove (const ip6_address_t *client, u32 table_id);
/* The pool is about to go: its dynamic bindings are counted and told as removed. */
void fip64_bindings_forget (fip64_tenant_t *t, struct fip64_pool *pool);
u32 fip64_slot_address (const struct fip64_pool *pool, u32 slot);

/* Events: to those who asked for them. The workers stand still for the first of these. */
void fip64_events_want (u32 client_index, u32 pid);
void fip64_events_want_no_more (u32 client_index);
/* In api.c. False: the client does not fetch its events, or is gone. */
bool fip64_event_send (const fip64_event_client_t *client, const fip64_event_t *event);

void fip64_counters_clear (void);

bool fip64_unicast4 (u32 address);
bool fip64_unicast6 (const ip6_address_t *address);

clib_error_t *fip64_error (int code, char *fmt, ...);
#define fip64_log_warn(...) vlib_log_warn (fip64_main.log_class, __VA_ARGS__)
#define fip64_log_info(...) vlib_log_info (fip64_main.log_class, __VA_ARGS__)

#endif
