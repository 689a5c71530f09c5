# SPDX-License-Identifier: Apache-2.0
"""Configuration: one module per group; `list_opts()` feeds oslo-config-generator."""

from fip64agent.conf import admin, default, fip64, metrics, ovs, reconcile, tayga, topology

_GROUPS = (default, topology, ovs, fip64, tayga, reconcile, admin, metrics)


def register_opts(conf) -> None:
    """Register all options on `conf` (an oslo_config.cfg.ConfigOpts)."""
    for module in _GROUPS:
        if module.GROUP is None:
            conf.register_opts(module.OPTS)
        else:
            conf.register_group(module.GROUP)
            conf.register_opts(module.OPTS, group=module.GROUP)


def list_opts():
    """Entry point ``oslo.config.opts``."""
    return [("DEFAULT" if module.GROUP is None else module.GROUP, module.OPTS) for module in _GROUPS]
