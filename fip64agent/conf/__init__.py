# SPDX-License-Identifier: Apache-2.0
"""Configuration: one module per group, with GROUP and OPTS; `list_opts()` feeds oslo-config-generator."""

import dataclasses
from ipaddress import IPv4Network, IPv6Network

from oslo_config import cfg

from fip64agent.conf.modules import modules_with
from fip64agent.exceptions import ConfigError
from fip64agent.plan.inputs import PortServices, Settings

NAT64_PREFIX_LENGTHS = (32, 40, 48, 56, 64, 96)
"""RFC 6052, section 2.2."""


def register_opts(conf) -> None:
    """Register all options on `conf` (an oslo_config.cfg.ConfigOpts)."""
    for module in modules_with("OPTS"):
        if module.GROUP is None:
            conf.register_opts(module.OPTS)
        else:
            # A fresh group each time: an OptGroup keeps the values of the ConfigOpts it is registered on.
            group = cfg.OptGroup(module.GROUP.name, title=module.GROUP.title)
            conf.register_group(group)
            conf.register_opts(module.OPTS, group=group)


def list_opts():
    """Return (group, options) for each group. Entry point ``oslo.config.opts``."""
    return [("DEFAULT" if module.GROUP is None else module.GROUP, module.OPTS)
            for module in modules_with("OPTS")]


def settings_from(conf, fixed: Settings | None = None) -> Settings:
    """Return what plan() needs of the configuration.

    fixed: the settings that the translator's driver decides (translator.fixed_settings()); None: the driver
    is not known yet. Raises: ConfigError naming the option.
    """
    fixed = fixed if fixed is not None else Settings()
    try:
        pool = IPv4Network(conf.fip64.nat64_pool)
        if pool.prefixlen > 30:
            raise ValueError(f"{pool} is too small: at most /30")
    except ValueError as error:
        raise ConfigError(f"[fip64] nat64_pool = {conf.fip64.nat64_pool}: {error}") from error
    vlans = (conf.fip64.vlan_min, conf.fip64.vlan_max)
    if vlans[0] > vlans[1]:
        raise ConfigError(f"[fip64] vlan_min {vlans[0]} is above vlan_max {vlans[1]}")
    return dataclasses.replace(
        fixed, redirect=conf.ovs.redirect, answer_arp=conf.ovs.answer_arp, nat64_pool=pool,
        vlan_range=vlans,
        pool_slice=_pool_slice(conf.fip64.nat64_pool_slice, fixed.capabilities.pools_are_prefixes),
        client_idle_timeout=conf.fip64.client_idle_timeout,
        clients_per_prefix=conf.fip64.clients_per_prefix, lowest_ipv6_mtu=conf.fip64.lowest_ipv6_mtu,
        zero_traffic_class=conf.fip64.traffic_class == "zero",
        drop_udp_zero_checksum=conf.fip64.udp_zero_checksum == "drop",
        ports=_port_services(conf.ports))


def _port_services(group) -> PortServices:
    values = {field.name: group[field.name] for field in dataclasses.fields(PortServices)}
    if 0 < group.router_lifetime < group.max_advertisement_interval:
        raise ConfigError(f"[ports] router_lifetime = {group.router_lifetime}: it must be 0, or not below "
                          f"max_advertisement_interval ({group.max_advertisement_interval})")
    if group.prefix_preferred_lifetime > group.prefix_valid_lifetime:
        raise ConfigError(f"[ports] prefix_preferred_lifetime = {group.prefix_preferred_lifetime}: it must "
                          f"not be above prefix_valid_lifetime ({group.prefix_valid_lifetime})")
    try:
        prefix = IPv6Network(group.nat64_prefix) if group.nat64_prefix else None
        if prefix is not None and prefix.prefixlen not in NAT64_PREFIX_LENGTHS:
            raise ValueError(f"its length must be one of {', '.join(map(str, NAT64_PREFIX_LENGTHS))}")
    except ValueError as error:
        raise ConfigError(f"[ports] nat64_prefix = {group.nat64_prefix}: {error}") from error
    return PortServices(**values | {"nat64_prefix": prefix})


def _pool_slice(text: str, is_prefix: bool) -> tuple[int, int]:
    number, count = map(int, text.split("/"))
    where = f"[fip64] nat64_pool_slice = {text}"
    if not 1 <= number <= count:
        raise ConfigError(f"{where}: it is written <number>/<count>, the number from 1 to the count")
    if is_prefix and count & (count - 1):
        raise ConfigError(f"{where}: a pool of this host's translator is a prefix, so the count must be a "
                          "power of two")
    return number, count
