# SPDX-License-Identifier: Apache-2.0
"""[fip64] translator = auto, and what else of [fip64] depends on the translator."""

from pathlib import Path

import pytest
from oslo_config import cfg

from fip64agent import conf as options
from fip64agent.exceptions import ConfigError
from fip64agent.translator import choose, fixed_settings
from tests.fakes.translators import CAPABILITIES


def load(**overrides):
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([], default_config_files=[])
    for name, value in overrides.items():
        group, _, option = name.partition("__")
        conf.set_override(option, value, group=group)
    return conf


def settings(driver: str, **overrides):
    conf = load(**overrides)
    return options.settings_from(conf, fixed_settings(conf, driver))


def fake_vpp(root: Path, plugin: bool) -> str:
    """Make what looks like an installed VPP; return its binary's path."""
    binary = root / "bin" / "vpp"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    plugins = root / "lib" / "vpp_plugins"
    plugins.mkdir(parents=True)
    if plugin:
        (plugins / "fip64_plugin.so").touch()
    return str(binary)


def test_auto_takes_vpp_where_it_is_with_the_plugin(tmp_path):
    binary = fake_vpp(tmp_path, plugin=True)
    chosen = choose(load(vpp__binary=binary))
    assert chosen.name == "vpp" and binary in chosen.reason and "fip64_plugin.so" in chosen.reason


def test_auto_takes_tayga_where_the_plugin_is_missing(tmp_path):
    chosen = choose(load(vpp__binary=fake_vpp(tmp_path, plugin=False)))
    assert chosen.name == "tayga" and "fip64_plugin.so is not in" in chosen.reason


def test_auto_takes_tayga_where_there_is_no_vpp(tmp_path):
    chosen = choose(load(vpp__binary=str(tmp_path / "vpp")))
    assert chosen.name == "tayga" and "is not found" in chosen.reason


def test_auto_takes_vpp_where_somebody_else_runs_it(tmp_path):
    chosen = choose(load(vpp__binary=str(tmp_path / "vpp"), vpp__launch="external"))
    assert (chosen.name, chosen.reason) == ("vpp", "[vpp] launch = external")


@pytest.mark.parametrize("name", ["vpp", "tayga"])
def test_what_is_named_is_taken(name, tmp_path):
    assert choose(load(fip64__translator=name, vpp__binary=str(tmp_path / "vpp"))).name == name


def test_the_plan_gets_the_translator_that_was_chosen():
    assert settings("vpp").capabilities == CAPABILITIES["vpp"] != CAPABILITIES["tayga"]
    assert settings("tayga", tayga__netns_prefix="x-").netns_prefix == "x-"
    assert settings("tayga", fip64__nat64_pool_slice="3/4").pool_slice == (3, 4)
    assert settings("vpp", fip64__nat64_pool_slice="2/3").pool_slice == (2, 3)


@pytest.mark.parametrize(("value", "driver", "words"), [
    ("0/2", "vpp", "from 1 to the count"), ("3/2", "vpp", "from 1 to the count"), ("1/0", "vpp", "from 1 to"),
    ("2/3", "tayga", "the count must be a power of two")])
def test_slices_that_cannot_be_are_refused_by_name(value, driver, words):
    with pytest.raises(ConfigError) as caught:
        settings(driver, fip64__nat64_pool_slice=value)
    assert f"[fip64] nat64_pool_slice = {value}" in str(caught.value) and words in str(caught.value)


def test_what_rfc_7915_leaves_to_the_operator_reaches_the_plan():
    found = settings("vpp")
    assert (found.lowest_ipv6_mtu, found.zero_traffic_class, found.drop_udp_zero_checksum) == (
        1280, False, False)
    found = settings("vpp", fip64__lowest_ipv6_mtu=1500, fip64__traffic_class="zero",
                     fip64__udp_zero_checksum="drop")
    assert (found.lowest_ipv6_mtu, found.zero_traffic_class, found.drop_udp_zero_checksum) == (
        1500, True, True)
