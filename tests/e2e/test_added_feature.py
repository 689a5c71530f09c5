# SPDX-License-Identifier: Apache-2.0
"""A feature of another package, the documentation's example: no file of fip64agent knows of it.

It is planned, installed in Open vSwitch, shown, compared and removed by the daemon as a feature of ours is.
"""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from lab.host import FIP_B
from tests.e2e import steps

EXAMPLE = Path(__file__).parents[2] / "doc/source/contributor/examples/feature"
KIND = "dhcpguard"


def install(directory: Path) -> None:
    """Put the example in a directory of the module search path, with its metadata, as pip would."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    shutil.copytree(EXAMPLE / name, directory / name)
    about = directory / f"{name}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (about / "entry_points.txt").write_text("".join(
        f"[{group}]\n" + "".join(f"{entry} = {value}\n" for entry, value in entries.items())
        for group, entries in project["entry-points"].items()))


@pytest.fixture
def lab(make_lab, tmp_path, monkeypatch):
    install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)  # of the daemon, and of fip64ctl
    lab = make_lab(agent=True)
    steps.wait_settled(lab)
    return lab


def guarded(lab) -> dict[str, str]:
    """OpenFlow port -> packets, of the flows that drop DHCPv4 answers."""
    shown = lab.ovs.ofctl("dump-flows", lab.bridge).stdout
    flow = re.compile(r"cookie=0xf16480\w+,.* n_packets=(\d+),.* priority=42000,udp,in_port=(\d+),tp_src=67 "
                      r"actions=drop")
    return {found[2]: found[1] for line in shown.splitlines() if (found := flow.search(line))}


def ports(lab, *vms) -> set[str]:
    return {str(lab.ofport(vm)) for vm in vms}


def states(lab) -> dict[str, str]:
    return {row["port"]: row["state"] for row in lab.agent.ctl_json(KIND, "list")}


def counts(lab) -> dict[str, int]:
    return lab.agent.get("/status")["objects"][KIND]


@pytest.mark.only("tayga")
def test_a_feature_of_another_package_works_as_ours_do(lab):
    # Planned and installed
    planned = [row for row in lab.agent.ctl_json("plan", "show") if row["kind"] == KIND]
    assert {row["id"] for row in planned} == {lab["vm-a"].port_id, lab["vm-b"].port_id}
    assert {str(row["attributes"]["ofport"]) for row in planned} == ports(lab, "vm-a", "vm-b")
    assert guarded(lab).keys() == ports(lab, "vm-a", "vm-b")
    lab["vm-a"].run("python3", "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                                     "s.bind(('', 67)); s.sendto(b'offer', ('10.0.0.1', 68))")
    lab.wait_for(lambda: guarded(lab)[str(lab.ofport("vm-a"))] == "1", 5, "the packet is dropped")

    # Shown
    assert states(lab) == {"vm-a": "active", "vm-b": "active"}
    assert counts(lab) == {"active": 2, "pending": 0, "error": 0, "down": 0}
    assert "\n2 DHCP guards: 2 active\n" in lab.ctl(KIND, "list").stdout
    rows = [line.split() for line in lab.ctl("status").stdout.splitlines()]
    assert ["DHCP", "guards", "2", "0", "0", "0"] in rows
    flows = lab.agent.ctl_json("flow", "list", "--feature", KIND)
    assert {row["object"] for row in flows} == {f"{KIND} {row['id']}" for row in planned}
    assert f"DHCP guard added: VM port {lab['vm-a'].port_id}\n" in lab.agent.log()

    # Compared: a flow of somebody else is where the guard's should be
    match = f"table=0,priority=42000,udp,in_port={lab.ofport('vm-a')},udp_src=67"
    assert lab.ctl("diff").stdout == "nothing to change\n"
    lab.ovs.ofctl("add-flow", lab.bridge, f"{match},cookie=0x77,actions=NORMAL")
    lab.wait_for(lambda: states(lab)["vm-a"] == "error", 10, "the guard is in error")
    assert states(lab)["vm-b"] == "active"
    compared = lab.agent.ctl("diff", "-f", "json", check=False)
    assert compared.returncode == 2 and f"{KIND} {lab['vm-a'].port_id}" in compared.stdout
    told = lab.ctl("status", check=False)
    assert told.returncode == 1 and "DHCP guard in error" in told.stdout
    lab.ovs.ofctl("del-flows", lab.bridge, "cookie=0x77/-1")
    lab.wait_for(lambda: states(lab)["vm-a"] == "active", 10, "the guard is installed again")
    steps.wait_settled(lab)
    assert guarded(lab).keys() == ports(lab, "vm-a", "vm-b")

    # Gone with its resource
    with lab.topology.batch() as topology:
        topology.remove_fip(FIP_B)
        topology.remove("ports", "vm-b")
    lab.wait_for(lambda: guarded(lab).keys() == ports(lab, "vm-a"), 5, "the guard goes with its port")
    steps.wait_settled(lab)
    assert states(lab) == {"vm-a": "active"} and counts(lab)["active"] == 1
    assert f"DHCP guard removed: VM port {lab['vm-b'].port_id}\n" in lab.agent.log()


@pytest.mark.only("tayga")
def test_what_a_package_left_goes_when_it_is_not_installed_any_more(lab, monkeypatch):
    assert guarded(lab)
    monkeypatch.undo()
    lab.agent.restart()
    lab.wait_for(lambda: not guarded(lab), 10, "its flows go")
    steps.wait_settled(lab)
    assert KIND not in lab.agent.get("/status")["objects"]
    assert lab.ctl(KIND, "list", check=False).returncode == 2
