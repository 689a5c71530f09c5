# SPDX-License-Identifier: Apache-2.0
"""SIGHUP with configuration files that cannot be used: reported with the reason, and all stays as it was."""

import pytest

from fip64agent.cmd.common import load_config
from fip64agent.conf import reading
from fip64agent.exceptions import ConfigError
from fip64agent.translator import fixed_settings

GOOD = "[fip64]\nvlan_min = 5\n[metrics]\nper_fip = false\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "agent.conf"
    path.write_text(GOOD)
    return path


@pytest.fixture
def conf(path):
    return load_config(["--config-file", str(path)], "")


def in_force(conf):
    return conf.fip64.vlan_min, conf.fip64.vlan_max, conf.fip64.client_idle_timeout, conf.metrics.per_fip


@pytest.mark.parametrize(("text", "reason"), [
    (b"garbage\n", "garbage"),
    (b"[fip64]\n\xff = 1\n", "not UTF-8 text"),
    (b"[fip64]\nvlan_min = 9\nclient_idle_timeout = soon\n", "[fip64] client_idle_timeout"),
    (b"[fip64]\nvlan_min = 100\nvlan_max = 9\n", "vlan_min 100 is above vlan_max 9"),
    (b"[fip64]\nnat64_pool_slice = 1/3\n", "power of two"),
    (b"[metrics]\nper_fip = perhaps\n", "[metrics] per_fip"),
    (None, "find")])
def test_a_file_that_cannot_be_used_changes_nothing(conf, path, text, reason):
    before = in_force(conf)
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)

    with pytest.raises(ConfigError) as caught:
        reading.reload(conf, fixed_settings(conf, "tayga"))

    assert reason in str(caught.value)
    assert in_force(conf) == before == (5, 4094, 7440, False)
    path.write_text("[fip64]\nvlan_min = 7\n")  # and once it is mended, it is taken over
    assert reading.reload(conf, fixed_settings(conf, "tayga")).vlan_range == (7, 4094)
    assert in_force(conf) == (7, 4094, 7440, True)


def test_files_of_a_directory_count(tmp_path, path):
    (tmp_path / "more.d").mkdir()
    more = tmp_path / "more.d" / "10.conf"
    more.write_text("[fip64]\nvlan_max = 50\n")
    conf = load_config(["--config-file", str(path), "--config-dir", str(more.parent)], "")
    assert in_force(conf)[:2] == (5, 50)
    more.write_text("[fip64]\nvlan_max = 3\n")
    with pytest.raises(ConfigError, match="vlan_min 5 is above vlan_max 3"):
        reading.reload(conf, fixed_settings(conf, "vpp"))
    more.write_text("[fip64]\nvlan_max = 60\n")
    assert reading.reload(conf, fixed_settings(conf, "vpp")).vlan_range == (5, 60)
