# SPDX-License-Identifier: Apache-2.0
"""Walks a packet from a client to a floating IP and back, and says where it would stop.

Every step asks what really decides: Open vSwitch about its flows (ofproto/trace, with a packet as
it would be on the wire), the kernel about its routes, the translator about its mappings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from fip64agent import hub
from fip64agent.admin import kernel, ovstrace, packets, report
from fip64agent.admin.state import States
from fip64agent.exceptions import Fip64Error
from fip64agent.links import layout
from fip64agent.plan.desired import ACTIVE, Mapping64, Tenant, Uplink

OK, NOTE, STOP, NOT_REACHED = "ok", "note", "stop", "not reached"
CLIENT_MAC = "02:00:00:00:00:0c"
"""Source of what comes in by the uplink: the client's or the upstream router's. Flows do not look at it."""


class _Stop(Exception):
    """The packet ends here."""

    def __init__(self, looked_at: str, detail: str) -> None:
        self.looked_at = looked_at
        super().__init__(detail)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    name: str
    title: str
    result: str
    """OK, NOTE (goes on, but look at it), STOP or NOT_REACHED."""
    looked_at: str = ""
    detail: str = ""


Outcome = tuple[str, str, str]
"""(result, looked at, detail)."""


class _Walk:
    """One trace: the steps are its methods, in the order of STEPS."""

    def __init__(self, agent, fip_id: str, client: IPv6Address | None) -> None:
        self.agent = agent
        self.states = States.now(agent)
        self.fip_id = fip_id
        self.client = client
        desired = self.states.desired
        self.mapping: Mapping64 | None = desired.mappings.get(fip_id)
        self.uplink: Uplink | None = desired.uplinks.get(self.mapping.uplink_id) if self.mapping else None
        self.tenant: Tenant | None = desired.tenants.get(self.mapping.router_id) if self.mapping else None
        if self.client is None and self.uplink is not None and self.uplink.onlink:
            prefix = self.uplink.onlink[0]
            self.client = prefix[-2] if prefix.num_addresses > 2 else prefix[0]
        self.pool_address: IPv4Address | None = self.mapping.pool[-2] if self.mapping else None
        """Stands in for the client; its binding's address when it has one."""
        self.next_hop: IPv6Address | None = None

    def run(self) -> list[Step]:
        steps, stopped = [], False
        for name, title, method in self.steps():
            if stopped:
                steps.append(Step(name, title, NOT_REACHED))
                continue
            try:
                steps.append(Step(name, title, *method()))
            except _Stop as stop:
                steps.append(Step(name, title, STOP, stop.looked_at, str(stop)))
                stopped = True
            except (Fip64Error, OSError) as error:
                steps.append(Step(name, title, STOP, "", f"cannot be looked at: {error}"))
                stopped = True
        return steps

    def steps(self) -> list[tuple[str, str, Callable[[], Outcome]]]:
        kernel_there = [("route", "the core namespace routes it to the tenant", self._route_to_tenant),
                        ("tenant-route", "the tenant's namespace hands it to the translator",
                         self._route_to_translator)]
        kernel_back = [("route-back", "the core namespace routes the answer to the uplink",
                        self._route_back)]
        tayga = self.mapping is None or self.mapping.translator == "tayga"
        return [
            ("fip", "the floating IP is known here", self._fip),
            ("ports", "VM port and uplink are bound on this host", self._ports),
            ("neighbor", "its address is resolved on the uplink's link", self._neighbor),
            ("redirect", "IPv6 from the uplink goes to the translator", self._redirect),
            *(kernel_there if tayga else []),
            ("translate", "the translator knows the mapping", self._translate),
            ("deliver", "IPv4 from the translator goes to the VM", self._deliver),
            ("arp", "the VM resolves its gateway", self._arp),
            ("answer", "the VM's answer goes to the translator", self._answer),
            *(kernel_back if tayga else []),
            ("uplink", "IPv6 from the translator leaves by the uplink", self._uplink),
            *([("next-hop", "the next hop towards the client", self._next_hop)] if tayga else []),
        ]

    # -- what is known ----------------------------------------------------------------------

    def _fip(self) -> Outcome:
        state = self.states.fip(self.fip_id)
        where = f"floating IP {self.fip_id} in the plan"
        if self.mapping is None or self.uplink is None or self.tenant is None:
            raise _Stop(where, f"{state.state}: {state.reason}")
        text = f"{self.mapping.floating_ip} -> {self.mapping.fixed_ip} of router {self.mapping.router_id}"
        if state.state != ACTIVE:
            return NOTE, where, f"{text}; {state.state}: {state.reason}"
        return OK, where, f"{text}; active"

    def _ports(self) -> Outcome:
        mapping, uplink, tenant = self.mapping, self.uplink, self.tenant
        vm = report.interface_of(self.states, mapping.vm_ofport)
        where = f"OVS interfaces of port {mapping.port_id} and uplink {uplink.port_id}"
        if vm is None:
            raise _Stop(where, f"no interface has OpenFlow port {mapping.vm_ofport}: the VM was unplugged")
        for name, ofport in ((uplink.veth, uplink.veth_ofport), (tenant.interface, mapping.downlink_ofport)):
            if ofport is None:
                error = getattr(self.states.interfaces.get(name), "error", None)
                raise _Stop(where, f"Open vSwitch has not opened {name}" + (f": {error}" if error else ""))
        return OK, where, (f"VM {vm} ({mapping.vm_ofport}), uplink {uplink.interface} ({uplink.ofport}), "
                           f"to the translator {uplink.veth} ({uplink.veth_ofport}) and "
                           f"{tenant.interface} ({mapping.downlink_ofport})")

    # -- flows ------------------------------------------------------------------------------

    def _trace(self, in_port: int, packet: bytes, expected: int, what: str) -> tuple[str, ovstrace.Walk]:
        """Send a packet through the flows; it must be output to port `expected`, by a flow that says so."""
        looked_at = f"ofproto/trace in_port={in_port}: {what}"
        walk = ovstrace.read(self.agent.rooms["switch"].trace(in_port, packet))
        if expected in walk.outputs:
            return looked_at, walk
        if walk.normal:
            ended = f"no flow of ours matches, and it is switched as NORMAL; {walk}"
        elif walk.outputs:
            ended = f"it goes to {self._ports_named(walk.outputs)}; {walk}"
        else:
            ended = f"dropped: {walk}"
        raise _Stop(looked_at, f"does not reach {self._ports_named([expected])}: {ended}")

    def _ports_named(self, ofports) -> str:
        return ", ".join(f"{report.interface_of(self.states, port) or 'port'} ({port})" for port in ofports)

    def _neighbor(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        if not mapping.on_link:
            addresses = ", ".join(str(address.ip) for address in uplink.addresses)
            return OK, "the plan", (f"{mapping.floating_ip} is routed, not on-link: the upstream router must "
                                    f"have a route to it via the uplink ({addresses})")
        source = self.client if any(self.client in prefix for prefix in uplink.onlink) \
            else IPv6Address("fe80::1")
        looked_at, walk = self._trace(
            mapping.uplink_ofport, packets.neighbor_solicitation(source, CLIENT_MAC, mapping.floating_ip),
            mapping.uplink_ofport, f"Neighbor Solicitation for {mapping.floating_ip}")
        if f"nd_tll={mapping.uplink_mac}" not in walk.final_flow:
            raise _Stop(looked_at, f"answered, but not with the uplink's MAC {mapping.uplink_mac}: "
                                   f"{walk.final_flow}")
        return OK, looked_at, f"answered with {mapping.uplink_mac}; {walk}"

    def _redirect(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(CLIENT_MAC, mapping.uplink_mac, self.client, mapping.floating_ip)
        looked_at, walk = self._trace(uplink.ofport, packet, uplink.veth_ofport,
                                      f"UDP {self.client} -> {mapping.floating_ip}")
        return OK, looked_at, f"to {self._ports_named([uplink.veth_ofport])}; {walk}"

    def _deliver(self) -> Outcome:
        mapping = self.mapping
        packet = packets.udp4(mapping.downlink_mac, mapping.vm_mac, self.pool_address, mapping.fixed_ip)
        looked_at, walk = self._trace(mapping.downlink_ofport, packet, mapping.vm_ofport,
                                      f"UDP {self.pool_address} -> {mapping.fixed_ip}")
        if f"dl_dst={mapping.vm_mac}" not in walk.final_flow:
            raise _Stop(looked_at, f"reaches the VM's port, but not with its MAC {mapping.vm_mac}")
        return OK, looked_at, f"to {self._ports_named([mapping.vm_ofport])}; {walk}"

    def _arp(self) -> Outcome:
        mapping = self.mapping
        gateways = self.states.gateways(mapping.port_id)
        if not self.agent.conf.ovs.answer_arp:
            return NOTE, "[ovs] answer_arp", "switched off: another system must answer the VM's ARP requests"
        if not gateways:
            return NOTE, "the plan", "no gateway address is known: another system must answer ARP"
        for gateway in gateways:
            packet = packets.arp_request(mapping.vm_mac, mapping.fixed_ip, gateway.address)
            looked_at, walk = self._trace(mapping.vm_ofport, packet, mapping.vm_ofport,
                                          f"ARP request for {gateway.address}")
        return OK, looked_at, f"answered with {gateways[-1].mac}; {walk}"

    def _answer(self) -> Outcome:
        mapping = self.mapping
        packet = packets.udp4(mapping.vm_mac, mapping.gateway_mac, mapping.fixed_ip, self.pool_address,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, walk = self._trace(mapping.vm_ofport, packet, mapping.downlink_ofport,
                                      f"UDP {mapping.fixed_ip} -> {self.pool_address}")
        return OK, looked_at, f"to {self._ports_named([mapping.downlink_ofport])}; {walk}"

    def _uplink(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(mapping.uplink_mac, CLIENT_MAC, mapping.floating_ip, self.client,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, walk = self._trace(uplink.veth_ofport, packet, uplink.ofport,
                                      f"UDP {mapping.floating_ip} -> {self.client}")
        return OK, looked_at, f"to {self._ports_named([uplink.ofport])}; {walk}"

    # -- the translator's side --------------------------------------------------------------

    def _way(self, netns: str, source: IPv6Address, destination: IPv6Address, device: str,
             expected: str) -> tuple[str, kernel.Way]:
        looked_at = f"route of {destination} from {source} iif {device} in namespace {netns}"
        try:
            way = hub.offload(kernel.route, netns, source, destination, device)
        except kernel.NoWay as error:
            raise _Stop(looked_at, str(error)) from error
        if way.device != expected:
            raise _Stop(looked_at, f"leads to {way}, and not to {expected}")
        return looked_at, way

    def _route_to_tenant(self) -> Outcome:
        looked_at, way = self._way(self.mapping.core_netns, self.client, self.mapping.floating_ip,
                                   self.uplink.peer, self.mapping.core_link)
        return OK, looked_at, str(way)

    def _route_to_translator(self) -> Outcome:
        looked_at, way = self._way(self.tenant.netns, self.client, self.mapping.floating_ip,
                                   layout.CORE, layout.TUN)
        return OK, looked_at, str(way)

    def _route_back(self) -> Outcome:
        looked_at, way = self._way(self.mapping.core_netns, self.mapping.floating_ip, self.client,
                                   self.mapping.core_link, self.uplink.peer)
        self.next_hop = IPv6Address(way.via) if way.via else self.client
        return OK, looked_at, str(way)

    def _next_hop(self) -> Outcome:
        looked_at = f"neighbor {self.next_hop} on {self.uplink.peer} in namespace {self.mapping.core_netns}"
        try:
            known = hub.offload(kernel.neighbour, self.mapping.core_netns, self.uplink.peer, self.next_hop)
        except kernel.NoWay as error:
            raise _Stop(looked_at, str(error)) from error
        if known is None:
            return OK, looked_at, "not known yet: resolved when the first packet is sent"
        state, mac = known
        if state in ("FAILED", "INCOMPLETE"):
            return NOTE, looked_at, f"{state}: nobody answered the last Neighbor Solicitation"
        return OK, looked_at, f"{state}, {mac}"

    def _translate(self) -> Outcome:
        room = self.agent.rooms["translator"]
        looked_at = f"translator of tenant {self.mapping.router_id}, read back"
        if reason := room.ready():
            raise _Stop(looked_at, reason)
        installed = room.actual()
        for obj in (self.tenant, self.mapping):
            for item in room.expand(obj):
                if item.key not in installed:
                    raise _Stop(looked_at, f"{item} is not there")
                if installed[item.key] != item:
                    raise _Stop(looked_at, f"{item} is there, but not as planned: {installed[item.key]!r}")
        text = f"{self.mapping.floating_ip} <-> {self.mapping.fixed_ip} is installed"
        if trouble := room.healthy():
            return NOTE, looked_at, f"{text}, but {trouble}"
        for binding in room.clients(self.mapping.router_id):
            if binding.client == self.client:
                self.pool_address = binding.pool_address
                return OK, looked_at, f"{text}; the client is {binding.pool_address}"
        return OK, looked_at, (f"{text}; no binding of this client is known: it gets a pool address "
                               "with its first packet")


def trace(agent, fip_id: str, client: str | None = None) -> dict[str, Any]:
    """Walk a packet from `client` (an IPv6 address; by default one on the uplink's link) and back.

    Raises: ValueError when `client` is no IPv6 unicast address.
    """
    address = None
    if client is not None:
        try:
            address = IPv6Address(client)
        except ValueError:
            raise ValueError(f"client {client!r} is not an IPv6 address") from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise ValueError(f"client {client} is not an address that a client can have")
    walk = _Walk(agent, fip_id, address)
    steps = walk.run()
    return {
        "fip": fip_id,
        "floating_ip_address": report.label(walk.states, Mapping64.kind, fip_id),
        "fixed_ip_address": str(walk.mapping.fixed_ip) if walk.mapping else None,
        "client": str(walk.client) if walk.client else None,
        "reachable": all(step.result in (OK, NOTE) for step in steps),
        "stops_at": next((step.name for step in steps if step.result == STOP), None),
        "steps": [dataclasses.asdict(step) for step in steps],
    }
