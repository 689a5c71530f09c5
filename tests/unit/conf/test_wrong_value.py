# SPDX-License-Identifier: Apache-2.0
"""A wrong value in a configuration file: the message names file, group and option."""

import pytest

from fip64agent.cmd.common import load_config
from fip64agent.exceptions import ConfigError


@pytest.mark.parametrize(("group", "option", "value"), [
    ("vpp", "probe_interval", "often"), ("reconcile", "probe_interval", "often"),
    ("fip64", "translator", "vppx"), ("vpp", "main_heap_size", "1X")])
def test_names_file_group_and_option(tmp_path, group, option, value):
    path = tmp_path / "agent.conf"
    path.write_text(f"[{group}]\n{option} = {value}\n")

    with pytest.raises(ConfigError) as caught:
        load_config(["--config-file", str(path)], "")

    message = str(caught.value)
    assert f"configuration: [{group}] {option}: " in message
    assert f"from {path} is not valid" in message
    assert value in message
    assert "LocationInfo" not in message
