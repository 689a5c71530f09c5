# SPDX-License-Identifier: Apache-2.0
"""Configuration: one module per group; `list_opts()` feeds oslo-config-generator."""

from ipaddress import IPv4Network

from oslo_config import cfg

from fip64agent.conf import admin, default, fip64, metrics, ovs, reconcile, tayga, topology, vpp
from fip64agent.exceptions import ConfigError
from fip64agent.plan.inputs import Settings

_GROUPS = (default, topology, ovs, fip64, tayga, vpp, reconcile, admin, metrics)


def register_opts(conf) -> None:
    """Register all options on `conf` (an oslo_config.cfg.ConfigOpts)."""
    for module in _GROUPS:
        if module.GROUP is None:
            conf.register_opts(module.OPTS)
        else:
            # A fresh group each time: an OptGroup keeps the values of the ConfigOpts it is registered on.
            group = cfg.OptGroup(module.GROUP.name, title=module.GROUP.title)
            conf.register_group(group)
            conf.register_opts(module.OPTS, group=group)


def list_opts():
    """Entry point ``oslo.config.opts``."""
    return [("DEFAULT" if module.GROUP is None else module.GROUP, module.OPTS) for module in _GROUPS]


def settings_from(conf) -> Settings:
    """Return what plan() needs of the configuration. Raises: ConfigError naming the option."""
    try:
        pool = IPv4Network(conf.fip64.nat64_pool)
        if pool.prefixlen > 30:
            raise ValueError(f"{pool} is too small: at most /30")
    except ValueError as error:
        raise ConfigError(f"[fip64] nat64_pool = {conf.fip64.nat64_pool}: {error}") from error
    vlans = (conf.fip64.vlan_min, conf.fip64.vlan_max)
    if vlans[0] > vlans[1]:
        raise ConfigError(f"[fip64] vlan_min {vlans[0]} is above vlan_max {vlans[1]}")
    return Settings(translator=conf.fip64.translator, redirect=conf.ovs.redirect,
                    answer_arp=conf.ovs.answer_arp, nat64_pool=pool,
                    netns_prefix=conf.tayga.netns_prefix, vlan_range=vlans)
