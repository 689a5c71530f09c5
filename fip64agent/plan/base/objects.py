# SPDX-License-Identifier: Apache-2.0
"""The objects that a host has once, and those of its router ports."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import ClassVar

from fip64agent.plan.problems import ObjectKey


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """What this host needs as soon as it has one uplink."""

    kind: ClassVar[str] = "host"
    downlink: str = ""
    """OVS end of the one veth to the translator, "ovs-dl"; "": each tenant has one of its own."""
    downlink_peer: str = ""
    """The translator's end of it."""
    downlink_mac: str = ""
    """MAC of the translator there."""
    downlink_ofport: int | None = None
    """OpenFlow port of `downlink`; None until OVS has opened it."""
    nd_netns: str = ""
    """The namespace of the far ends of all Neighbor Discovery links."""
    guarded: tuple[IPv6Network, ...] = ()
    """In whose name no VM may send: the prefixes that the uplinks here serve, and their next hops; sorted."""
    guarded_macs: tuple[str, ...] = ()
    """MACs of the uplinks here: likewise, and for the link-local addresses that follow from them; sorted."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind,)


@dataclasses.dataclass(frozen=True, slots=True)
class Uplink:
    """A router port with IPv6 addresses that is bound here."""

    kind: ClassVar[str] = "uplink"
    port_id: str
    router_id: str
    network_id: str
    interface: str
    """Name of the OVS interface that carries iface-id=<port id>: the wire to the outside."""
    ofport: int
    veth: str
    """OVS end of our veth, "ovs-" + 8 characters."""
    veth_ofport: int | None
    """None until OVS has opened it; no flows until then."""
    peer: str
    """Translator's end, "vpp-" + the same characters."""
    mac: str
    """MAC of the translator's end: the router port's mac_address."""
    mtu: int
    addresses: tuple[IPv6Interface, ...]
    """With prefix lengths; sorted."""
    routes: tuple[tuple[IPv6Network, IPv6Address], ...]
    """(destination, next hop): subnet gateways, host routes, the router's extra routes; sorted."""
    table: int
    """Number of the routing table for what leaves by this uplink."""
    onlink: tuple[IPv6Network, ...]
    """Prefixes of the uplink's own network; sorted."""
    routed: tuple[IPv6Network, ...]
    """Prefixes of the other external networks that this uplink serves: source routing,
    redirect, and a blackhole for what is not assigned; sorted."""
    redirect: str
    nd_netns: str
    nd_veth: str
    """OVS end of the Neighbor Discovery link, "ovs-nd-" and the characters of `veth`. At its far end the
    kernel answers Neighbor Solicitations and MLD queries for the uplink and its on-link floating IPs."""
    nd_veth_ofport: int | None
    """None until OVS has opened it; no flows until then."""
    nd_peer: str
    """Far end, "nd-" and the same characters, inside `nd_netns`; its MAC is `mac`."""
    members: tuple[int, ...] = ()
    """OpenFlow ports of the interfaces of a bond, the active one first, then by number; () when
    `interface` is alone on its bridge port."""

    @property
    def ofports(self) -> tuple[int, ...]:
        """OpenFlow ports that its packets come in by, sorted."""
        return tuple(sorted(self.members)) or (self.ofport,)

    @property
    def active_ofport(self) -> int:
        """OpenFlow port that its packets leave by."""
        return self.members[0] if self.members else self.ofport

    @property
    def veths(self) -> tuple[str, str]:
        """Names of the two that are ports of ours on the bridge."""
        return self.veth, self.nd_veth

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)

    @property
    def next_hops(self) -> tuple[IPv6Address, ...]:
        """The gateways that its routes lead to; sorted."""
        return tuple(sorted({via for _, via in self.routes}))
