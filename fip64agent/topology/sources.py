# SPDX-License-Identifier: Apache-2.0
"""Finds the topology source that the configuration asks for, among those that are installed."""

from __future__ import annotations

from stevedore import ExtensionManager

from fip64agent.exceptions import ConfigError
from fip64agent.topology.base import Sink, Source

GROUP = "fip64agent.topology.sources"
"""Entry points, by the name that ``[topology] source`` has."""


def source_from(conf, sink: Sink) -> Source:
    """Return the source that ``[topology] source`` of the configuration names. Raises: ConfigError."""
    wanted = conf.topology.source
    failed: dict[str, Exception] = {}
    found = ExtensionManager(
        GROUP, on_load_failure_callback=lambda _, entry, error: failed.update({entry.name: error}))
    if wanted in failed:
        raise ConfigError(f"[topology] source: {wanted} cannot be loaded: {failed[wanted]}")
    if wanted not in found:
        raise ConfigError(f"[topology] source: there is no source {wanted!r}; there are: "
                          f"{', '.join(sorted(found.names()))}")
    return found[wanted].plugin(conf, sink)
