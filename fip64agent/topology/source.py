# SPDX-License-Identifier: Apache-2.0
"""Which topology source the configuration asks for."""

from __future__ import annotations

from fip64agent.exceptions import ConfigError
from fip64agent.topology.base import OnError, OnTopology, Source
from fip64agent.topology.file import FileSource


def source_from(conf, on_topology: OnTopology, on_error: OnError) -> Source:
    """Return the source that ``[topology] source`` of the configuration names. Raises: ConfigError."""
    group = conf.topology
    if group.source == "file":
        return FileSource(group.path, group.max_size, on_topology, on_error)
    raise ConfigError(f"[topology] source: {group.source!r} is not known")
