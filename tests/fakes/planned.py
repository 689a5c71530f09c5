# SPDX-License-Identifier: Apache-2.0
"""Objects of the plan, as plan() makes them, for tests of the rooms that install them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan import allocate
from fip64agent.plan.desired import Host, Mapping64, Tenant, Uplink

EXTERNAL = IPv6Network("2001:db8:f::/64")
UPLINK_ADDRESS = IPv6Interface("2001:db8:f::1/64")
POOL = IPv4Network("100.64.0.0/16")


def host(prefix: str, translator: str = "tayga") -> Host:
    if translator == "tayga":
        return Host(nd_netns=allocate.nd_netns(prefix))
    return Host(allocate.DOWNLINK, allocate.DOWNLINK_PEER, allocate.DOWNLINK_MAC,
                nd_netns=allocate.nd_netns(prefix))


def uplink(prefix: str, port_id: str = "11111111-0000-4000-8000-000000000001", number: int = 1,
           **changes) -> Uplink:
    suffix = allocate.uplink_suffixes([port_id])[port_id]
    values = {
        "port_id": port_id, "router_id": "edge", "network_id": "external", "interface": "wire",
        "ofport": 1, "veth": f"ovs-{suffix}", "veth_ofport": None, "peer": f"vpp-{suffix}",
        "mac": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}", "mtu": 1500,
        "addresses": (UPLINK_ADDRESS,),
        "routes": ((IPv6Network("::/0"), IPv6Address("2001:db8:f::ffff")),),
        "table": allocate.FIRST_TABLE + number, "onlink": (EXTERNAL,),
        "routed": (IPv6Network("2001:db8:e::/64"),), "redirect": "all",
        "nd_netns": allocate.nd_netns(prefix), "nd_veth": f"ovs-nd-{suffix}", "nd_veth_ofport": None,
        "nd_peer": f"nd-{suffix}"}
    return Uplink(**values | changes)


def tenant(router_id: str, vlan: int, maps=(), pool: IPv4Network = POOL, **changes) -> Tenant:
    """`maps`: {"10.0.0.5": "2001:db8:f::10"} or pairs."""
    pairs = sorted((IPv4Address(fixed), IPv6Address(floating)) for fixed, floating in dict(maps).items())
    values = {
        "router_id": router_id, "vlan": vlan, "interface": f"ovs-dl-{vlan}",
        "own_interface": True, "mac": allocate.tenant_mac(vlan),
        "pool": pool, "address6": UPLINK_ADDRESS.ip, "maps": tuple(pairs)}
    tayga = changes.get("own_interface", True)
    values |= {"pool_first": pool[0 if tayga else 1], "pool_last": pool[-1 if tayga else -2]}
    return Tenant(**values | changes)


def mapping(of: Tenant, floating_ip: str, fixed_ip: str = "10.0.0.5",
            table: int = allocate.FIRST_TABLE + 1) -> Mapping64:
    return Mapping64(
        fip_id=f"fip-{floating_ip}", floating_ip=IPv6Address(floating_ip), fixed_ip=IPv4Address(fixed_ip),
        router_id=of.router_id, port_id="vm", uplink_id="uplink", on_link=False, nd_netns="", nd_peer="",
        uplink_ofport=1,
        uplink_mac="fa:16:3e:00:00:01", vlan=of.vlan, downlink_ofport=2, table=table,
        downlink_vlan=None if of.own_interface else of.vlan, downlink_mac=of.mac, pool=of.pool,
        vm_ofport=3, vm_mac="fa:16:3e:00:00:05", gateway_mac="fa:16:3e:00:00:fe")
