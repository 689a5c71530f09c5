# SPDX-License-Identifier: Apache-2.0
"""A misspelled option or group is reported with its file and the name that was meant. Known ones are not."""

from pathlib import Path

import pytest

from fip64agent.cmd.common import load_config

SAMPLE = Path(__file__).parents[3] / "etc/fip64agent.conf.sample"


@pytest.fixture
def warnings(tmp_path, monkeypatch):
    """Return a function: what a configuration file with that text is warned of."""
    reported = []
    monkeypatch.setattr("fip64agent.cmd.common.LOG.warning",
                        lambda form, *parts: reported.append(form % parts))
    path = tmp_path / "agent.conf"

    def of(text: str, *options: str) -> list[str]:
        path.write_text(text)
        load_config(["--config-file", str(path), *options], "")
        return [warning.removeprefix(f"{path}: ") for warning in reported]

    return of


@pytest.mark.parametrize(("text", "warning"), [
    ("[vpp]\nworker = 2\n", "there is no option [vpp] worker, it is ignored; did you mean workers?"),
    ("[ovs]\nBridge = br0\n", "there is no option [ovs] Bridge, it is ignored; did you mean bridge?"),
    ("[vp]\nworkers = 2\n", "there is no group [vp], what is in it is ignored; did you mean [vpp]?"),
    ("[default]\ndebug = 1\n",
     "there is no group [default], what is in it is ignored; did you mean [DEFAULT]?"),
    ("[DEFAULT]\nvlan_min = 7\n",
     "there is no option [DEFAULT] vlan_min, it is ignored; vlan_min belongs into [fip64]"),
    ("[DEFAULT]\nprobe_interval = 7\n",
     "there is no option [DEFAULT] probe_interval, it is ignored; probe_interval belongs into [reconcile] or "
     "[vpp]"),
    ("[fip64]\nquite_different = 7\n", "there is no option [fip64] quite_different, it is ignored"),
    ("[DEFAULT]\nlog_fil = x\n",
     "there is no option [DEFAULT] log_fil, it is ignored; did you mean log_file?"),
])
def test_it_is_told_once_with_the_nearest_name(warnings, text, warning):
    assert warnings(text) == [warning]


def test_every_option_of_the_sample_is_known(warnings):
    lines = SAMPLE.read_text().splitlines()
    given = [line.removeprefix("#") for line in lines if line.startswith(("#", "[")) and line[1:2] != " "]
    assert len(given) > 60
    assert warnings("\n".join(line for line in given if "<" not in line)) == []


def test_other_spellings_that_oslo_takes_are_known(warnings):
    assert warnings("[DEFAULT]\nlog-config =\n[VPP]\nworkers = 0\n", "--nouse-syslog") == []


def test_files_of_a_directory_are_looked_at_too(warnings, tmp_path):
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d" / "10.conf").write_text("[ovs]\nbrigde = br-ext\n")
    assert warnings("", "--config-dir", str(tmp_path / "more.d")) == [
        f"{tmp_path}/more.d/10.conf: there is no option [ovs] brigde, it is ignored; did you mean bridge?"]
