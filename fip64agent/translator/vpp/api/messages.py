# SPDX-License-Identifier: Apache-2.0
"""The messages that the driver uses, as VPP 26.06 and 26.10 define them.

`compatibility` compares a VPP with them, and its describe() makes such tables from any VPP. What the driver
does not use is left out here.
"""

PLUGIN = "fip64_plugin.so"
"""Name of the plugin's file."""

FIP64 = {
    "fip64_plugin_get_version": "51077d14",
    "fip64_plugin_get_version_reply": "7c291d81",
    "fip64_tenant_add_del": "1a934fd7",
    "fip64_tenant_add_del_reply": "e8d4e804",
    "fip64_tenant_dump": "51077d14",
    "fip64_tenant_details": "9c680509",
    "fip64_mapping_add_del": "523595ac",
    "fip64_mapping_add_del_reply": "837840bb",
    "fip64_mapping_dump": "0cca2cd9",
    "fip64_mapping_details": "64168da4",
    "fip64_binding_add_del": "89ee1baa",
    "fip64_binding_add_del_reply": "837840bb",
    "fip64_binding_get": "9a56cfd8",
    "fip64_binding_get_reply": "6b046c3d",
    "fip64_binding_details": "f968aa10",
    "fip64_binding_event": "d2b35072",
    "want_fip64_binding_events": "3ec6d6c2",
    "want_fip64_binding_events_reply": "e8d4e804",
}
"""The plugin's messages and their CRCs, which must be equal: plugin and agent have the same version."""


def _table(text: str) -> dict[str, str]:
    """Read lines "name: fields"; a line that begins with a blank continues the one before it."""
    found: dict[str, str] = {}
    name = ""
    for line in text.strip().splitlines():
        if line.startswith(" "):
            found[name] += " " + line.strip()
        else:
            name, _, fields = line.partition(":")
            found[name] = fields.strip()
    return found


VPP = _table("""
show_version:
show_version_reply: i32 retval, string[32] version
cli_inband: string[0] cmd
cli_inband_reply: i32 retval, string[0] reply
sw_interface_dump: vl_api_interface_index_t sw_if_index, bool name_filter_valid, string[0] name_filter
sw_interface_details: vl_api_interface_index_t sw_if_index, u32 sup_sw_if_index,
  vl_api_mac_address_t l2_address, vl_api_if_status_flags_t flags, u32[4] mtu, u32 sub_id,
  u16 sub_outer_vlan_id, string[64] tag
sw_interface_set_flags: vl_api_interface_index_t sw_if_index, vl_api_if_status_flags_t flags
sw_interface_tag_add_del: bool is_add, vl_api_interface_index_t sw_if_index, string[64] tag
sw_interface_set_mtu: vl_api_interface_index_t sw_if_index, u32[4] mtu
sw_interface_set_table: vl_api_interface_index_t sw_if_index, bool is_ipv6, u32 vrf_id
sw_interface_get_table: vl_api_interface_index_t sw_if_index, bool is_ipv6
sw_interface_get_table_reply: i32 retval, u32 vrf_id
sw_interface_add_del_address: vl_api_interface_index_t sw_if_index, bool is_add, bool del_all,
  vl_api_address_with_prefix_t prefix
ip_address_dump: vl_api_interface_index_t sw_if_index, bool is_ipv6
ip_address_details: vl_api_interface_index_t sw_if_index, vl_api_address_with_prefix_t prefix
want_interface_events: u32 enable_disable, u32 pid
sw_interface_event: vl_api_interface_index_t sw_if_index, vl_api_if_status_flags_t flags, bool deleted
af_packet_create_v3: vl_api_af_packet_mode_t mode, vl_api_mac_address_t hw_addr, bool use_random_hw_addr,
  string[64] host_if_name, u32 rx_frame_size, u32 tx_frame_size, u32 rx_frames_per_block,
  u32 tx_frames_per_block, vl_api_af_packet_flags_t flags, u16 num_rx_queues, u16 num_tx_queues
af_packet_create_v3_reply: i32 retval, vl_api_interface_index_t sw_if_index
af_packet_delete: string[64] host_if_name
af_packet_dump:
af_packet_details: vl_api_interface_index_t sw_if_index, string[64] host_if_name
create_vlan_subif: vl_api_interface_index_t sw_if_index, u32 vlan_id
create_vlan_subif_reply: i32 retval, vl_api_interface_index_t sw_if_index
delete_subif: vl_api_interface_index_t sw_if_index
ip_table_add_del: bool is_add, vl_api_ip_table_t table
ip_table_dump:
ip_table_details: vl_api_ip_table_t table
ip_route_add_del: bool is_add, bool is_multipath, vl_api_ip_route_t route
ip_route_add_del_reply: i32 retval
ip_table_flush: vl_api_ip_table_t table
ip_route_v2_dump: u8 src, vl_api_ip_table_t table
ip_route_v2_details: vl_api_ip_route_v2_t route
fib_source_dump:
fib_source_details: vl_api_fib_source_t src
ip_route_lookup: u32 table_id, u8 exact, vl_api_prefix_t prefix
ip_route_lookup_reply: i32 retval, vl_api_ip_route_t route
ip_neighbor_add_del: bool is_add, vl_api_ip_neighbor_t neighbor
ip_neighbor_add_del_reply: i32 retval
ip_neighbor_config: vl_api_address_family_t af, u32 max_number, u32 max_age, bool recycle
ip_neighbor_config_get: vl_api_address_family_t af
ip_neighbor_config_get_reply: i32 retval, u32 max_number, u32 max_age, bool recycle
ip_neighbor_dump: vl_api_interface_index_t sw_if_index, vl_api_address_family_t af
ip_neighbor_details: f64 age, vl_api_ip_neighbor_t neighbor
""")
"""VPP's own messages. Of requests all fields; of replies, details and events those that the driver reads."""

TYPES = _table("""
vl_api_interface_index_t: u32
vl_api_mac_address_t: u8[6]
vl_api_ip4_address_t: u8[4]
vl_api_ip6_address_t: u8[16]
vl_api_address_with_prefix_t: vl_api_prefix_t
vl_api_if_status_flags_t: IF_STATUS_API_FLAG_ADMIN_UP=1, IF_STATUS_API_FLAG_LINK_UP=2
vl_api_af_packet_mode_t: AF_PACKET_API_MODE_ETHERNET=1
vl_api_af_packet_flags_t: AF_PACKET_API_FLAG_QDISC_BYPASS=1, AF_PACKET_API_FLAG_VERSION_2=8
vl_api_address_family_t: ADDRESS_IP4=0, ADDRESS_IP6=1
vl_api_address_union_t: vl_api_ip4_address_t ip4, vl_api_ip6_address_t ip6
vl_api_address_t: vl_api_address_family_t af, vl_api_address_union_t un
vl_api_prefix_t: vl_api_address_t address, u8 len
vl_api_ip_table_t: u32 table_id, bool is_ip6, string[64] name
vl_api_ip_route_t: u32 table_id, u32 stats_index, vl_api_prefix_t prefix, u8 n_paths,
  vl_api_fib_path_t[n_paths] paths
vl_api_ip_route_v2_t: u32 table_id, vl_api_prefix_t prefix, u8 n_paths, u8 src,
  vl_api_fib_path_t[n_paths] paths
vl_api_fib_source_t: u8 id, string[64] name
vl_api_fib_path_t: u32 sw_if_index, u32 table_id, u32 rpf_id, u8 weight, u8 preference,
  vl_api_fib_path_type_t type, vl_api_fib_path_flags_t flags, vl_api_fib_path_nh_proto_t proto,
  vl_api_fib_path_nh_t nh, u8 n_labels, vl_api_fib_mpls_label_t[16] label_stack
vl_api_fib_path_nh_t: vl_api_address_union_t address, u32 via_label, u32 obj_id, u32 classify_table_index
vl_api_fib_path_type_t: FIB_API_PATH_TYPE_NORMAL=0, FIB_API_PATH_TYPE_LOCAL=1, FIB_API_PATH_TYPE_DROP=2,
  FIB_API_PATH_TYPE_ICMP_UNREACH=5, FIB_API_PATH_TYPE_ICMP_PROHIBIT=6
vl_api_fib_path_flags_t: FIB_API_PATH_FLAG_NONE=0
vl_api_fib_path_nh_proto_t: FIB_API_PATH_NH_PROTO_IP4=0, FIB_API_PATH_NH_PROTO_IP6=1
vl_api_ip_neighbor_t: vl_api_interface_index_t sw_if_index, vl_api_ip_neighbor_flags_t flags,
  vl_api_mac_address_t mac_address, vl_api_address_t ip_address
vl_api_ip_neighbor_flags_t: IP_API_NEIGHBOR_FLAG_STATIC=1, IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY=2
""")
"""The types of these fields; of enumerations only the members that the driver uses."""
