# SPDX-License-Identifier: Apache-2.0
"""One resource by itself: plain values, checked by pydantic, turned into an object of the model."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.attributes import Resource as Description
from fip64agent.topology.model import Finding, Resource, Unreadable
from fip64agent.topology.values import resource_id
from fip64agent.topology.words import UNKNOWN, shown, unknown_key

_ADAPTERS = {section: TypeAdapter(resource.annotation()) for section, resource in SECTIONS.items()}


def build(kind: str, value: Any, known: tuple[Finding, ...] = ()) -> Resource | Unreadable:
    """Return the resource that a mapping of plain values describes.

    known: what the reader of the source found wrong with it already.
    """
    findings = list(known)
    try:
        item = _ADAPTERS[kind].validate_python(value)
    except ValidationError as error:
        findings += [Finding(fault["loc"], _reason(fault, SECTIONS[kind]))
                     for fault in error.errors(include_url=False) if not _reported(fault["input"])]
        if not findings:
            findings.append(Finding((), "cannot be used"))  # never silently dropped
    else:
        findings += _contradictions(SECTIONS[kind], item)
        if kind == "subnets" and item.get("ip_version") not in (None, item["cidr"].version):
            findings.append(Finding(("ip_version",), f"is {item['ip_version']}, but cidr {item['cidr']} "
                                                     f"is IPv{item['cidr'].version}"))
    return Unreadable(tuple(findings), _mentions(value)) if findings else SECTIONS[kind].build(item)


def _contradictions(resource: Description, item: dict[str, Any]) -> list[Finding]:
    """Return what is wrong with attributes that are given under both of their names."""
    return [Finding((attribute.other_name,), f"differs from {attribute.name}, which is the same attribute")
            for attribute in resource.attributes if attribute.other_name
            and item.get(attribute.name) is not None and item.get(attribute.other_name) is not None
            and item[attribute.name] != item[attribute.other_name]]


def id_of(value: Any) -> str | None:
    """Return the id of a mapping of plain values, whatever else is wrong with it; None: no valid one."""
    try:
        return resource_id(value["id"])
    except (ValueError, TypeError, KeyError):
        return None


def _mentions(value: Any) -> frozenset[str]:
    """Return the ids of the network and the subnets in a mapping that may be invalid."""
    found: set[Any] = set()
    if isinstance(value, dict):
        found.add(value.get("network_id") if isinstance(value.get("network_id"), str) else None)
        inner = value.get("fixed_ips")
        for fixed in inner if isinstance(inner, list) else ():
            if isinstance(fixed, dict) and isinstance(fixed.get("subnet_id"), str):
                found.add(fixed["subnet_id"])
    return frozenset(found - {None})


def _reported(value: Any) -> bool:
    """Whether the reader of the document refused this value, or one in this list, already."""
    return value is UNKNOWN or (isinstance(value, list) and any(item is UNKNOWN for item in value))


def _reason(fault: Any, resource: Description) -> str:
    """Return pydantic's finding in our words."""
    kind, value, loc = fault["type"], fault["input"], fault["loc"]
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "extra_forbidden":
        owner = resource.inner(loc[0]) if len(loc) > 1 else resource
        known = [name for attribute in owner.attributes for name in attribute.names]
        return unknown_key(loc[-1], [*known, *owner.ignored])
    if kind == "dict_type":
        return f"must be a mapping, is {shown(value)}"
    if kind == "list_type":
        return f"must be a list, is {shown(value)}"
    return fault["msg"][:1].lower() + fault["msg"][1:]
