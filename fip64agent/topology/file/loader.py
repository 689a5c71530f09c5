# SPDX-License-Identifier: Apache-2.0
"""A topology document at once, without a source: for tools and tests."""

from __future__ import annotations

import os
from ipaddress import IPv4Network

from fip64agent.exceptions import TopologyError
from fip64agent.topology.file.entries import Contents
from fip64agent.topology.file.problems import Found, Problem, Refused, problems
from fip64agent.topology.file.read import read
from fip64agent.topology.file.reader import lines_of, read_whole
from fip64agent.topology.model import Topology
from fip64agent.topology.resources import Resources

DEFAULT_POOL = IPv4Network("100.64.0.0/16")


def load(path: str, max_size: int = 32) -> Topology:
    """Return the topology that the YAML file `path` describes.

    max_size: in MiB. Raises: TopologyError with all of the file's problems, if there is one.
    """
    return parse(read(path, max_size), os.fspath(path))


def parse(text: str | bytes, name: str) -> Topology:
    """Return the topology that a YAML text describes; `name` stands for it in error messages.

    Raises: TopologyError with all of the text's problems, if there is one.
    """
    topology, found = parse_faulty(text, name)
    if found:
        raise TopologyError(found)
    return topology


def parse_faulty(text: str | bytes, name: str,
                 default_pool: IPv4Network = DEFAULT_POOL) -> tuple[Topology, tuple[Problem, ...]]:
    """Return what is right in a YAML text, and what is not.

    default_pool: of routers without a nat64_pool. Raises: TopologyError when the text cannot be read.
    """
    data = b""
    try:
        data = _utf8(text)
        contents, forms = read_whole(data)
    except Refused as refusal:
        raise TopologyError(problems(name, refusal.found, lines_of(data, refusal.found)), True) from None
    topology = Resources(default_pool).update(forms)
    found = all_found(contents, topology)
    return topology, problems(name, found, lines_of(data, found, contents.ids))


def all_found(contents: Contents, topology: Topology) -> list[Found]:
    """Return all that is wrong in a document, with paths in the document.

    A resource that is faulty only because another one is, is not told.
    """
    found = list(contents.found)
    faults = {key: fault for key, fault in topology.faults.items() if fault.findings}
    if faults:
        found += [Found((section, index, *finding.path), finding.reason)
                  for section, ids in contents.ids.items() for index, item_id in enumerate(ids)
                  if (fault := faults.get((section, item_id))) is not None for finding in fault.findings]
    return found


def _utf8(text: str | bytes) -> bytes:
    """Return a text as bytes. Raises: Refused."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise Refused([Found((), "is not text: lone surrogate", line)]) from None
