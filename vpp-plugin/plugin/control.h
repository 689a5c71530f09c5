/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions with which API and CLI change the state. Each is idempotent and does all or nothing. They are for
 * the main thread only, and those that change tenants or mappings may run only while the workers are stopped.
 *
 * An error has one of the codes VNET_API_ERROR_* (README.rst lists them) and a text that names the object and the
 * reason; the caller frees it.
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
/* Returns whether a mapping of the tenant has a fixed address between first and last (host order), and in *which the
   address. */
bool fip64_mapping_within (u32 tenant, u32 first, u32 last, u32 *which);
u32 fip64_mapping_ip6_table_id (const fip64_mapping_t *m);

clib_error_t *fip64_binding_set (const ip6_address_t *client, u32 pool_address, u32 table_id);
void fip64_binding_remove (const ip6_address_t *client, u32 table_id);
/* Counts the pool's dynamic bindings as removed and queues events for them; the pool is going to be freed. */
void fip64_bindings_forget (fip64_tenant_t *t, struct fip64_pool *pool);
u32 fip64_slot_address (const struct fip64_pool *pool, u32 slot);

/* Register and unregister an API client for events. The workers must be stopped for the first of these. */
void fip64_events_want (u32 client_index, u32 pid);
void fip64_events_want_no_more (u32 client_index);
/* In api.c. Returns false when the client does not read its events, or has disconnected. */
bool fip64_event_send (const fip64_event_client_t *client, const fip64_event_t *event);

void fip64_counters_clear (void);

bool fip64_unicast4 (u32 address);
bool fip64_unicast6 (const ip6_address_t *address);

clib_error_t *fip64_error (int code, char *fmt, ...);
#define fip64_log_warn(...) vlib_log_warn (fip64_main.log_class, __VA_ARGS__)
#define fip64_log_info(...) vlib_log_info (fip64_main.log_class, __VA_ARGS__)

#endif
