# SPDX-License-Identifier: Apache-2.0
"""The sample configuration is what oslo-config-generator makes of the option definitions."""

import io
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from fip64agent import conf as options
from fip64agent.exceptions import ConfigError

ETC = Path(__file__).parents[3] / "etc"


def ours(text: str) -> str:
    """Leave out oslo.log's part, which changes with its version."""
    head, _, tail = text.partition("#\n# From oslo.log\n")
    return head + tail[tail.index("\n[") :]


def test_sample_is_not_stale():
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--config-file", str(ETC / "oslo-config-generator.conf")])
    made = io.StringIO()
    generator.generate(conf, output_file=made)
    stored = (ETC / "fip64agent.conf.sample").read_text()
    assert ours(stored) == ours(made.getvalue()), "stale: run oslo-config-generator again"


def test_every_option_explains_itself():
    for _group, opts in options.list_opts():
        for option in opts:
            assert option.help and option.help[0].isupper() and len(option.help) > 20, option.name


def load(**overrides):
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([])
    for name, value in overrides.items():
        group, _, option = name.partition("__")
        conf.set_override(option, value, group=group)
    return conf


def test_defaults_make_settings():
    settings = options.settings_from(load())
    assert str(settings.nat64_pool) == "100.64.0.0/16"
    assert settings.vlan_range == (1, 4094)


@pytest.mark.parametrize(("overrides", "words"), [
    ({"fip64__nat64_pool": "100.64.0.1/16"}, ("[fip64] nat64_pool", "host bits")),
    ({"fip64__nat64_pool": "2001:db8::/64"}, ("[fip64] nat64_pool", "2001:db8::/64")),
    ({"fip64__nat64_pool": "100.64.0.0/31"}, ("[fip64] nat64_pool", "too small")),
    ({"fip64__vlan_min": 30, "fip64__vlan_max": 20}, ("vlan_min 30", "vlan_max 20")),
])
def test_settings_that_cannot_work_are_refused_by_name(overrides, words):
    with pytest.raises(ConfigError) as caught:
        options.settings_from(load(**overrides))
    for word in words:
        assert word in str(caught.value)
