# SPDX-License-Identifier: Apache-2.0
"""Do the resources of a topology fit together? Finds all that does not, and fills in what follows.

The resources come as they are in the document, each valid by itself. Those that are not are known
by id only: nobody is blamed for referring to them.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address

from fip64agent.topology.model import (
    ROUTER_INTERFACE,
    FixedIP,
    FloatingIP,
    Network,
    Port,
    Route,
    Router,
    Subnet,
    Topology,
)
from fip64agent.topology.problems import Collector, Path, shown

FLOATING_IP_OWNER = "network:floatingip"
"""device_owner of the port that Neutron makes for each floating IP, with the floating address."""


class Draft:
    """The resources of a document while it is read: each kind by id, with its place."""

    def __init__(self, sections, collector: Collector) -> None:
        self.objects: dict[str, dict] = {section: {} for section in sections}
        self.places: dict[str, dict[str, int]] = {section: {} for section in sections}
        self.faulty: dict[str, set[str]] = {section: set() for section in sections}
        """Ids of resources that could not be built."""
        self.incomplete: set[str] = set()
        """Sections that have such resources: what they lack, the document may have."""
        self._add = collector.add

    def put(self, section: str, index: int, item, raw) -> None:
        """Add what was built from `raw`: None when it is faulty. Raises: GiveUp."""
        if item is None:
            self.incomplete.add(section)
            if isinstance(raw, dict) and isinstance(raw.get("id"), str):
                self.faulty[section].add(raw["id"])
            return
        first = self.places[section].setdefault(item.id, index)
        if first != index:
            self._add((section, index, "id"), f"{shown(item.id)} is already the id of {section}[{first}]")
            return
        self.objects[section][item.id] = item


class Checker:
    """Checks a Draft; `topology()` returns the result, with what floating IPs leave out filled in."""

    def __init__(self, draft: Draft, collector: Collector) -> None:
        self._draft = draft
        self._add = collector.add
        self._networks: dict[str, Network] = draft.objects["networks"]
        self._subnets: dict[str, Subnet] = draft.objects["subnets"]
        self._routers: dict[str, Router] = draft.objects["routers"]
        self._ports: dict[str, Port] = draft.objects["ports"]
        self._floatingips: dict[str, FloatingIP] = draft.objects["floatingips"]
        self._subnets_of_network: dict[str, list[Subnet]] = defaultdict(list)
        self._tenant_subnets: dict[str, dict[str, Port]] = defaultdict(dict)
        """Router id -> id of each subnet it has an interface or a gateway on -> that port."""
        self._tenants_of_subnet: dict[str, set[str]] = defaultdict(set)
        """Subnet id -> ids of the routers with an interface on it."""
        self._ipv6_of_network: dict[tuple[str, IPv6Address], Port] = {}

    def topology(self) -> Topology:
        """Check everything. Raises: GiveUp."""
        for subnet in self._subnets.values():
            self._subnet(subnet)
        for subnets in self._subnets_of_network.values():
            for subnet, other in _overlaps(subnets):
                self._add(self._place("subnets", subnet.id, "cidr"),
                          f"{subnet.cidr} overlaps {other.cidr} of subnet {other.id} in the same network")
        self._all_ports()
        for router in self._routers.values():
            self._router(router)
        floatingips = self._all_floatingips()
        return Topology.of(self._networks.values(), self._subnets.values(), self._routers.values(),
                           self._ports.values(), floatingips)

    def _place(self, section: str, item_id: str, *inside: str | int) -> Path:
        return (section, self._draft.places[section][item_id], *inside)

    def _refer(self, section: str, item_id: str, path: Path):
        """Return the resource that `path` refers to; None, reported if nobody else did, without one."""
        found = self._draft.objects[section].get(item_id)
        if found is None and item_id not in self._draft.faulty[section]:
            self._add(path, f"no {section[:-1]} has the id {shown(item_id)}")
        return found

    def _routes(self, routes: tuple[Route, ...], version: int | None, path: Path) -> None:
        for index, route in enumerate(routes):
            if version is not None and route.destination.version != version:
                self._add((*path, index, "destination"), f"must be IPv{version}, {route.destination} "
                                                         f"is IPv{route.destination.version}")
            elif route.nexthop.version != route.destination.version:
                self._add((*path, index, "nexthop"), f"must be IPv{route.destination.version}, like the "
                          f"destination; {route.nexthop} is IPv{route.nexthop.version}")

    def _subnet(self, subnet: Subnet) -> None:
        path = self._place("subnets", subnet.id)
        if self._refer("networks", subnet.network_id, (*path, "network_id")) is not None:
            self._subnets_of_network[subnet.network_id].append(subnet)
        gateway = subnet.gateway_ip
        if gateway is not None and gateway not in subnet.cidr:
            if gateway.version != subnet.cidr.version:
                self._add((*path, "gateway_ip"), f"must be IPv{subnet.cidr.version}, like cidr; {gateway} "
                                                 f"is IPv{gateway.version}")
            elif gateway.version == 4 or not gateway.is_link_local:
                self._add((*path, "gateway_ip"), f"{gateway} is not in {subnet.cidr}")
        self._routes(subnet.host_routes, subnet.cidr.version, (*path, "host_routes"))

    def _all_ports(self) -> None:
        macs: dict[tuple[str, str], str] = {}
        addresses: dict[tuple[str, IPv4Address | IPv6Address], str] = {}
        for port in self._ports.values():
            path = self._place("ports", port.id)
            self._refer("networks", port.network_id, (*path, "network_id"))
            first = macs.setdefault((port.network_id, port.mac_address), port.id)
            if first != port.id:
                self._add((*path, "mac_address"), f"{port.mac_address} is already the MAC address of port "
                                                  f"{first} in the same network")
            if port.is_router_port and not port.device_id:
                self._add((*path, "device_id"), "is required: the id of the router whose port it is")
            elif port.is_router_port:
                self._refer("routers", port.device_id, (*path, "device_id"))
            for index, fixed in enumerate(port.fixed_ips):
                where = (*path, "fixed_ips", index)
                key = (fixed.subnet_id, fixed.ip_address)
                if key in addresses:
                    self._add((*where, "ip_address"), f"{fixed.ip_address} is already an address of port "
                                                      f"{addresses[key]} in the same subnet")
                else:
                    addresses[key] = port.id
                subnet = self._refer("subnets", fixed.subnet_id, (*where, "subnet_id"))
                if subnet is not None:
                    self._fixed_ip(port, fixed, subnet, where)

    def _fixed_ip(self, port: Port, fixed: FixedIP, subnet: Subnet, path: Path) -> None:
        address = fixed.ip_address
        if subnet.network_id != port.network_id:
            self._add((*path, "subnet_id"), f"subnet {subnet.id} is of network {subnet.network_id}, the port "
                                            f"is on network {port.network_id}")
        elif address.version != subnet.cidr.version:
            self._add((*path, "ip_address"), f"must be IPv{subnet.cidr.version}, like subnet {subnet.id}; "
                                             f"{address} is IPv{address.version}")
        elif address not in subnet.cidr:
            self._add((*path, "ip_address"), f"{address} is not in {subnet.cidr} of subnet {subnet.id}")
        if isinstance(address, IPv6Address) and port.device_owner != FLOATING_IP_OWNER:
            self._ipv6_of_network.setdefault((port.network_id, address), port)
        if port.is_router_port:
            self._tenant_subnets[port.device_id].setdefault(subnet.id, port)
            if port.device_owner == ROUTER_INTERFACE:
                self._tenants_of_subnet[subnet.id].add(port.device_id)

    def _router(self, router: Router) -> None:
        path = self._place("routers", router.id)
        self._routes(router.routes, None, (*path, "routes"))
        attached = self._tenant_subnets.get(router.id, {})
        subnets = [self._subnets[subnet_id] for subnet_id in attached]
        for subnet, other in _overlaps(subnets):
            if subnet.network_id != other.network_id:  # else reported as two subnets of that network
                self._add(self._place("ports", attached[subnet.id].id, "fixed_ips"),
                          f"router {router.id} has a port on subnet {subnet.id} ({subnet.cidr}) and on "
                          f"subnet {other.id} ({other.cidr}), which overlap")
        if router.nat64_pool is not None:
            for subnet in subnets:
                if subnet.ip_version == 4 and router.nat64_pool.overlaps(subnet.cidr):
                    self._add((*path, "nat64_pool"), f"{router.nat64_pool} overlaps {subnet.cidr} of subnet "
                                                     f"{subnet.id}, which the router has a port on")
        self._bindings(router, (*path, "nat64_bindings"))

    def _bindings(self, router: Router, path: Path) -> None:
        clients: dict[IPv6Address, int] = {}
        addresses: dict[IPv4Address, int] = {}
        pool = router.nat64_pool  # without one, which is in the configuration, plan() checks
        for index, binding in enumerate(router.nat64_bindings):
            client, address = binding.ipv6_address, binding.pool_address
            if (first := clients.setdefault(client, index)) != index:
                self._add((*path, index, "ipv6_address"), f"{client} already has a pool address by "
                                                          f"nat64_bindings[{first}]")
            if (first := addresses.setdefault(address, index)) != index:
                self._add((*path, index, "pool_address"), f"{address} is already the pool address of client "
                                                          f"{router.nat64_bindings[first].ipv6_address}")
            if pool is not None and address not in pool:
                self._add((*path, index, "pool_address"), f"{address} is not in nat64_pool {pool}")
            elif pool is not None and address in (pool[0], pool[-1]):
                self._add((*path, index, "pool_address"), f"{address} is the first or last address of "
                                                          f"nat64_pool {pool}, which no client gets")

    def _all_floatingips(self) -> list[FloatingIP]:
        addresses: dict[IPv6Address, str] = {}
        targets: dict[tuple[str, IPv4Address], str] = {}
        result = []
        for fip in self._floatingips.values():
            path = self._place("floatingips", fip.id)
            first = addresses.setdefault(fip.floating_ip_address, fip.id)
            if first != fip.id:
                self._add((*path, "floating_ip_address"), f"{fip.floating_ip_address} is already the address "
                                                          f"of floating IP {first}")
            self._floating_address(fip, (*path, "floating_ip_address"), path)
            fixed_ip_address, router_id = self._target(fip, path)
            if fixed_ip_address is not None and router_id is not None:
                first = targets.setdefault((router_id, fixed_ip_address), fip.id)
                if first != fip.id:
                    self._add((*path, "fixed_ip_address"), f"{fixed_ip_address} behind router {router_id} "
                                                           f"already has floating IP {first}")
            if (fixed_ip_address, router_id) != (fip.fixed_ip_address, fip.router_id):
                fip = dataclasses.replace(fip, fixed_ip_address=fixed_ip_address, router_id=router_id)
            result.append(fip)
        return result

    def _floating_address(self, fip: FloatingIP, where: Path, path: Path) -> None:
        """Check that the address is one of its network, and nobody else's."""
        network = self._refer("networks", fip.floating_network_id, (*path, "floating_network_id"))
        if network is None:
            return
        if not network.external:
            self._add((*path, "floating_network_id"), f"network {network.id} is not external "
                                                      "(router:external is not true)")
        address = fip.floating_ip_address
        prefixes = [subnet for subnet in self._subnets_of_network.get(network.id, ())
                    if subnet.ip_version == 6]
        own = next((subnet for subnet in prefixes if address in subnet.cidr), None)
        if own is None:
            if "subnets" not in self._draft.incomplete:
                has = (f"not in {', '.join(str(subnet.cidr) for subnet in prefixes)} of" if prefixes
                       else "not usable: there is no IPv6 subnet in")
                self._add(where, f"{address} is {has} network {network.id}")
        elif own.gateway_ip == address:
            self._add(where, f"{address} is the gateway_ip of subnet {own.id}")
        holder = self._ipv6_of_network.get((network.id, address))
        if holder is not None:
            self._add(where, f"{address} is already an address of port {holder.id}")

    def _target(self, fip: FloatingIP, path: Path) -> tuple[IPv4Address | None, str | None]:
        """Return the fixed IPv4 address and the router, as given or as they follow from the port."""
        given = fip.fixed_ip_address, fip.router_id
        if fip.router_id is not None:
            self._refer("routers", fip.router_id, (*path, "router_id"))
        if fip.port_id is None:
            for name, value in zip(("fixed_ip_address", "router_id"), given, strict=True):
                if value is not None:
                    self._add((*path, name), "needs a port_id")
            return given
        port = self._refer("ports", fip.port_id, (*path, "port_id"))
        if port is None:
            return given
        if port.is_router_port:
            self._add((*path, "port_id"), f"port {port.id} is a router's; a floating IP leads to a VM's port")
            return given
        fixed = self._fixed(fip, port, path)
        if fixed is None:
            return given
        return fixed.ip_address, self._tenant(fip, fixed, path)

    def _fixed(self, fip: FloatingIP, port: Port, path: Path) -> FixedIP | None:
        candidates = [fixed for fixed in port.fixed_ips if fixed.ip_address.version == 4]
        listed = ", ".join(str(fixed.ip_address) for fixed in candidates)
        if not candidates:
            self._add((*path, "port_id"), f"port {port.id} has no IPv4 address")
            return None
        if fip.fixed_ip_address is not None:
            for fixed in candidates:
                if fixed.ip_address == fip.fixed_ip_address:
                    return fixed
            self._add((*path, "fixed_ip_address"), f"{fip.fixed_ip_address} is not an address of port "
                                                   f"{port.id}; it has {listed}")
            return None
        if len(candidates) > 1:
            self._add((*path, "fixed_ip_address"), f"is required: port {port.id} has several IPv4 addresses, "
                                                   f"{listed}")
            return None
        return candidates[0]

    def _tenant(self, fip: FloatingIP, fixed: FixedIP, path: Path) -> str | None:
        tenants = self._tenants_of_subnet.get(fixed.subnet_id, set())
        unsure = "ports" in self._draft.incomplete or fixed.subnet_id not in self._subnets
        if fip.router_id is not None:
            if fip.router_id not in tenants and fip.router_id in self._routers and not unsure:
                self._add((*path, "router_id"), f"router {fip.router_id} has no interface on subnet "
                                                f"{fixed.subnet_id}, where {fixed.ip_address} is")
            return fip.router_id
        if len(tenants) > 1:
            self._add((*path, "router_id"), f"is required: several routers have an interface on subnet "
                                            f"{fixed.subnet_id}: {', '.join(sorted(tenants))}")
        elif not tenants and not unsure:
            self._add((*path, "router_id"), f"cannot be determined: no router has an interface on subnet "
                                            f"{fixed.subnet_id}, where {fixed.ip_address} is")
        return next(iter(tenants)) if len(tenants) == 1 else None


def _overlaps(subnets: list[Subnet]) -> list[tuple[Subnet, Subnet]]:
    """Return each subnet that overlaps another one, with that one. Prefixes overlap by containment."""
    found = []
    for version in (4, 6):
        around: Subnet | None = None
        for subnet in sorted((subnet for subnet in subnets if subnet.ip_version == version),
                             key=lambda subnet: (subnet.cidr.network_address, subnet.cidr.prefixlen)):
            if around is not None and subnet.cidr.subnet_of(around.cidr):
                found.append((subnet, around))
            else:
                around = subnet
    return found
