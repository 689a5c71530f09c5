# SPDX-License-Identifier: Apache-2.0
"""One item of a topology document: checked by pydantic, turned into an object of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fip64agent.topology import model
from fip64agent.topology.attributes import FIXED_IP, NAT64_BINDING, ROUTE, SECTIONS, Resource
from fip64agent.topology.document import UNKNOWN, unknown_key
from fip64agent.topology.problems import Collector, Path, shown

_ADAPTERS = {section: TypeAdapter(resource.annotation()) for section, resource in SECTIONS.items()}
_INNER = {"fixed_ips": FIXED_IP, "routes": ROUTE, "host_routes": ROUTE, "nat64_bindings": NAT64_BINDING}


def _routes(items) -> tuple[model.Route, ...]:
    return tuple(model.Route(item["destination"], item["nexthop"]) for item in items or ())


def _network(item: dict[str, Any]) -> model.Network:
    mtu = item.get("mtu")
    return model.Network(item["id"], item.get("name") or "", item.get("router:external") or False,
                         1500 if mtu is None else mtu)


def _subnet(item: dict[str, Any]) -> model.Subnet:
    return model.Subnet(item["id"], item["network_id"], item["cidr"], item.get("name") or "",
                        item.get("gateway_ip"), _routes(item.get("host_routes")))


def _router(item: dict[str, Any]) -> model.Router:
    return model.Router(item["id"], item.get("name") or "", item.get("nat64_pool"),
                        _routes(item.get("routes")),
                        tuple(model.Nat64Binding(binding["ipv6_address"], binding["pool_address"])
                              for binding in item.get("nat64_bindings") or ()))


def _port(item: dict[str, Any]) -> model.Port:
    return model.Port(item["id"], item["network_id"], item["mac_address"], item.get("name") or "",
                      item.get("device_owner") or "", item.get("device_id") or "",
                      tuple(model.FixedIP(fixed["subnet_id"], fixed["ip_address"])
                            for fixed in item.get("fixed_ips") or ()))


def _floatingip(item: dict[str, Any]) -> model.FloatingIP:
    return model.FloatingIP(item["id"], item["floating_network_id"], item["floating_ip_address"],
                            item.get("port_id"), item.get("fixed_ip_address"), item.get("router_id"))


_BUILDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "networks": _network, "subnets": _subnet, "routers": _router, "ports": _port, "floatingips": _floatingip}


def build(section: str, path: Path, value: Any, collector: Collector) -> Any | None:
    """Return the object that an item describes; None when it is faulty, which `collector` then knows.

    Raises: GiveUp.
    """
    before = collector.count
    try:
        item = _ADAPTERS[section].validate_python(value)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            where = path + fault["loc"]
            if not _reported(fault["input"]):
                collector.add(where, _reason(fault, SECTIONS[section]))
        if collector.count == before and not any(known[:2] == path for known in collector.paths):
            collector.add(path, "cannot be used")  # never silently dropped
        return None
    if section == "subnets" and item.get("ip_version") not in (None, item["cidr"].version):
        collector.add((*path, "ip_version"), f"is {item['ip_version']}, but cidr {item['cidr']} "
                                             f"is IPv{item['cidr'].version}")
    return _BUILDERS[section](item)


def _reported(value: Any) -> bool:
    """Whether the reader of the document refused this value, or one in this list, already."""
    return value is UNKNOWN or (isinstance(value, list) and any(item is UNKNOWN for item in value))


def _reason(fault: Any, resource: Resource) -> str:
    """Return pydantic's finding in our words."""
    kind, value, loc = fault["type"], fault["input"], fault["loc"]
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "extra_forbidden":
        owner = _INNER[loc[0]] if len(loc) > 1 else resource
        known = [attribute.name for attribute in owner.attributes]
        return unknown_key(loc[-1], [*known, *owner.ignored])
    if kind == "dict_type":
        return f"must be a mapping, is {shown(value)}"
    if kind == "list_type":
        return f"must be a list, is {shown(value)}"
    return fault["msg"][:1].lower() + fault["msg"][1:]
