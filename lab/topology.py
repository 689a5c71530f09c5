# SPDX-License-Identifier: Apache-2.0
"""Writes the topology file the daemon reads; kept as plain data, so that a test may write nonsense too."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from fip64agent.topology.model import KINDS, ROUTER_GATEWAY, ROUTER_INTERFACE

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class TopologyFile:
    """A topology under construction: each change is written at once, by rename.

    Resources are given by name, or by floating address; ids are UUIDs made from `seed` and the name, so the
    same lab always has the same ids. `data` is the document itself: change it by hand and call write().
    """

    def __init__(self, path: Path | str, seed: str = "lab") -> None:
        self.path = Path(path)
        self.data: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        self._seed = uuid.uuid5(uuid.NAMESPACE_URL, f"fip64:{seed}")
        self._held = 0
        self._macs = 0

    def id(self, kind: str, name: str) -> str:
        """Return the id that `name` (for a floating IP: its address) of `kind` has or would get."""
        return str(uuid.uuid5(self._seed, f"{kind} {name}"))

    def mac(self) -> str:
        """Return a MAC address nobody in this lab has."""
        self._macs += 1
        tail = f"{((self._seed.int & 0xff) << 16) + self._macs & 0xffffff:06x}"
        return "fa:16:3e:" + ":".join(tail[i:i + 2] for i in (0, 2, 4))

    # Writing

    def text(self) -> str:
        """Return the data as YAML."""
        return yaml.dump(self.data, Dumper=_Dumper, sort_keys=False, default_flow_style=False)

    def write(self, text: str | None = None) -> None:
        """Replace the file atomically, with `text` instead of the data when given."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text(self.text() if text is None else text)
        temporary.rename(self.path)

    @contextlib.contextmanager
    def batch(self) -> Iterator[TopologyFile]:
        """Make several changes and write the file once."""
        self._held += 1
        try:
            yield self
        finally:
            self._held -= 1
        self._changed()

    def _changed(self) -> None:
        if not self._held:
            self.write()

    # Any kind

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return the resource with this name, id or floating address. Raises: KeyError."""
        for item in self.data[kind]:
            if name in (item.get("name"), item["id"], item.get("floating_ip_address")):
                return item
        raise KeyError(f"no {name!r} in {kind}")

    def add(self, kind: str, name: str, **attributes: Any) -> dict[str, Any]:
        """Add a resource; return it."""
        item = {"id": self.id(kind, name), "name": name, **attributes}
        self.data[kind].append(item)
        self._changed()
        return item

    def update(self, kind: str, name: str, **attributes: Any) -> dict[str, Any]:
        """Set attributes; None removes one."""
        item = self.find(kind, name)
        for key, value in attributes.items():
            item.pop(key, None)
            if value is not None:
                item[key] = value
        self._changed()
        return item

    def remove(self, kind: str, name: str) -> dict[str, Any]:
        """Remove a resource; return it. Raises: KeyError."""
        item = self.find(kind, name)
        self.data[kind].remove(item)
        self._changed()
        return item

    # Resources

    def add_network(self, name: str, external: bool = False, **attributes: Any) -> dict[str, Any]:
        """Add a network; return it."""
        return self.add("networks", name, **{"router:external": external}, **attributes)

    def add_subnet(self, name: str, network: str, cidr: str, gateway_ip: str | None = None,
                   **attributes: Any) -> dict[str, Any]:
        """Add a subnet of the network with that name; return it."""
        gateway = {"gateway_ip": gateway_ip} if gateway_ip else {}
        return self.add("subnets", name, network_id=self.find("networks", network)["id"],
                        ip_version=ip_network(cidr).version, cidr=cidr, **gateway, **attributes)

    def add_router(self, name: str, nat64_pool: str | None = None, **attributes: Any) -> dict[str, Any]:
        """Add a router; return it."""
        pool = {"nat64_pool": nat64_pool} if nat64_pool else {}
        return self.add("routers", name, **pool, **attributes)

    def _fixed_ips(self, addresses: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"subnet_id": self.find("subnets", subnet)["id"], "ip_address": address}
                for subnet, address in addresses.items()]

    def add_port(self, name: str, network: str, addresses: Mapping[str, str] | None = None,
                 **attributes: Any) -> dict[str, Any]:
        """`addresses`: subnet name -> address."""
        attributes.setdefault("mac_address", self.mac())
        return self.add("ports", name, network_id=self.find("networks", network)["id"],
                        fixed_ips=self._fixed_ips(addresses or {}), **attributes)

    def add_router_port(self, name: str, router: str, network: str,
                        addresses: Mapping[str, str] | None = None, gateway: bool = False,
                        **attributes: Any) -> dict[str, Any]:
        """Add a port of the router with that name on a network; return it."""
        return self.add_port(name, network, addresses,
                             device_owner=ROUTER_GATEWAY if gateway else ROUTER_INTERFACE,
                             device_id=self.find("routers", router)["id"], **attributes)

    def set_port_addresses(self, port: str, addresses: Mapping[str, str]) -> None:
        """`addresses`: subnet name -> address; replaces those the port had."""
        self.update("ports", port, fixed_ips=self._fixed_ips(addresses))

    # Floating IPs

    def external_network_of(self, address: str) -> str:
        """Return the id of the network with a subnet that `address` is in. Raises: KeyError."""
        for subnet in self.data["subnets"]:
            if ip_address(address) in ip_network(subnet["cidr"]):
                return subnet["network_id"]
        raise KeyError(f"no subnet has {address}")

    def add_fip(self, address: str, port: str | None = None, **attributes: Any) -> dict[str, Any]:
        """Add a floating IP, associated with `port` when given; its network is the one with that prefix."""
        attributes.setdefault("floating_network_id", self.external_network_of(address))
        if port is not None:
            attributes["port_id"] = self.find("ports", port)["id"]
        item = {"id": self.id("floatingips", address), "floating_ip_address": address, **attributes}
        self.data["floatingips"].append(item)
        self._changed()
        return item

    def move_fip(self, address: str, port: str | None) -> None:
        """Associate a floating IP with another port, or with none."""
        target = self.find("ports", port)["id"] if port is not None else None
        self.update("floatingips", address, port_id=target, fixed_ip_address=None, router_id=None)

    def remove_fip(self, address: str) -> None:
        """Remove a floating IP."""
        self.remove("floatingips", address)
