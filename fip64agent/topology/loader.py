# SPDX-License-Identifier: Apache-2.0
"""From a topology document to a Topology, or to a TopologyError with all of its faults."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fip64agent.exceptions import TopologyError
from fip64agent.topology import check, schema
from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.document import Document, Unreadable, locate
from fip64agent.topology.model import Topology
from fip64agent.topology.problems import Collector, GiveUp
from fip64agent.topology.read import read


def load(path: str, max_size: int = 32) -> Topology:
    """Return the topology that the YAML file `path` describes.

    `max_size`: in MiB. Raises: TopologyError with all of the file's problems.
    """
    return parse(read(path, max_size), os.fspath(path))


def parse(text: str | bytes, name: str) -> Topology:
    """Return the topology that a YAML text describes; `name` stands for it in error messages.

    The floating IPs of the result have their fixed_ip_address and router_id filled in.
    Raises: TopologyError with all of the text's problems.
    """
    return parse_indexed(text, name)[0]


def parse_indexed(text: str | bytes, name: str,
                  index: Callable[[bytes, Document, check.Draft], Any] | None = None) -> tuple[Topology, Any]:
    """Return what parse() does, and what `index` makes of a good text and of what was read from it."""
    collector = Collector()
    topology = extra = None
    data = b""
    try:
        data = _utf8(text)
        document, draft = read_items(data, collector)
        topology = check.Checker(draft, collector).topology()
        if index is not None and not collector.count:
            extra = index(data, document, draft)
    except Unreadable as error:
        collector.add(error.path, error.reason, error.line)
    except GiveUp:
        pass
    if collector.count or topology is None:
        paths = {path for path, _, line in collector.found if line is None}
        raise TopologyError(collector.problems(name, locate(data, paths) if paths else {}))
    return topology, extra


def read_items(data: bytes, collector: Collector) -> tuple[Document, check.Draft]:
    """Read a text without a look at how its resources fit together. Raises: Unreadable, GiveUp."""
    document = Document(data, tuple(SECTIONS), collector)
    draft = check.Draft(SECTIONS, collector)
    for item in document.items():
        built = schema.build(item.section, (item.section, item.index), item.value, collector)
        draft.put(item.section, item.index, built, item.value)
    return document, draft


def _utf8(text: str | bytes) -> bytes:
    """Return the text as UTF-8 that a YAML parser may have. Raises: Unreadable."""
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise Unreadable("is not text: lone surrogate", text.count("\n", 0, error.start) + 1) from None
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte 0x{text[error.start]:02x} at offset {error.start}",
                         text.count(b"\n", 0, error.start) + 1) from None
    return text
