# SPDX-License-Identifier: Apache-2.0
"""Bad topologies, configurations, surroundings: a clear message, the right exit status; traffic goes on."""

import os
import signal

import pytest
import yaml

from lab.host import FIP_A, FIP_B
from lab.shell import run
from tests.e2e import steps


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    lab.wait_reachable(FIP_A, FIP_B)
    return lab


@pytest.fixture(autouse=True)
def ends_with_the_good_topology(lab):
    yield
    if lab.agent.running and errors(lab):
        lab.topology.write()
        lab.wait_for(lambda: not errors(lab), 5, "the topology is good again")


def errors(lab):
    return lab.agent.get("/status")["topology"]["errors"]


BROKEN = {
    "broken YAML": ("networks: [\n  {id: a\nsubnets: }", "not valid YAML"),
    "section no list": ("networks: 3\n", "must be a list"),
    "empty file": ("", "empty"),
    "no mapping": ("- 1\n- 2\n", "mapping"),
    "binary": ("\x00\x01\x02", "control characters"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_topology_is_named_and_the_last_good_one_stays(lab, name):
    text, word = BROKEN[name]
    good = lab.topology.text()
    running = lab.client.start_ping(FIP_A)
    lab.topology.write(text)
    found = lab.wait_for(lambda: errors(lab), 5, "the topology is refused")
    assert any(word in str(problem) for problem in found), found
    assert all(str(lab.topology.path) in str(problem) for problem in found), found
    status = lab.ctl("status", check=False)
    assert status.returncode == 1 and word in status.stdout
    lab.topology.write(good)
    lab.wait_for(lambda: not errors(lab), 5, "the topology is good again")
    answer = running.stop()
    assert answer.ok, answer
    steps.wait_settled(lab)


FAULTY = {
    "unknown section": ({"netwroks": []}, "netwroks"),
    "unknown attribute": ({"networks": [{"id": "a", "colour": "red"}]}, "colour"),
    "wrong type": ({"networks": [{"id": "a", "mtu": "wide"}]}, "mtu"),
    "duplicate id": ({"networks": [{"id": "a"}, {"id": "a"}]}, "already"),
    "dangling reference": (
        {"subnets": [{"id": "s", "network_id": "nowhere", "cidr": "10.0.0.0/24"}]}, "nowhere"),
    "IPv4 where IPv6 belongs": (
        {"floatingips": [{"id": "f", "floating_network_id": "n", "floating_ip_address": "192.0.2.1"}]},
        "floating_ip_address"),
}


def with_more(lab, more: dict) -> str:
    """Return the lab's topology with more resources in it, whatever they are."""
    data = lab.topology.data
    return yaml.safe_dump(data | {kind: data.get(kind, []) + items for kind, items in more.items()},
                          sort_keys=False)


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_resource_is_named_and_all_others_work(lab, name):
    more, word = FAULTY[name]
    running = lab.client.start_ping(FIP_A)
    lab.topology.write(with_more(lab, more))
    found = lab.wait_for(lambda: errors(lab), 5, "the fault is reported")
    assert any(word in str(problem) for problem in found), found
    assert all(str(lab.topology.path) in str(problem) for problem in found), found
    status = lab.ctl("status", check=False)
    assert status.returncode == 1 and word in status.stdout
    lab.topology.write()
    lab.wait_for(lambda: not errors(lab), 5, "the topology is good again")
    answer = running.stop()
    assert answer.ok, answer
    steps.wait_settled(lab)


def test_all_errors_at_once(lab):
    lab.topology.write(with_more(lab, {
        "networks": [{"id": "a", "mtu": "wide"}, {"id": "a", "colour": "red"}],
        "subnets": [{"id": "s", "network_id": "zzz", "cidr": "10.0.0.0/99"}]}))
    found = lab.wait_for(lambda: errors(lab), 5, "the faults are reported")
    assert len(found) >= 3, found
    lab.topology.write()
    lab.wait_for(lambda: not errors(lab), 5, "good again")


def test_a_50_mb_file_is_refused_by_its_size(lab):
    with open(lab.topology.path.with_suffix(".big"), "w") as big:
        big.write("# padding\n" * (5 << 20))
    os.rename(lab.topology.path.with_suffix(".big"), lab.topology.path)
    found = lab.wait_for(lambda: errors(lab), 10, "the topology is refused")
    assert "max_size" in str(found[0])
    lab.topology.write()
    lab.wait_for(lambda: not errors(lab), 5, "good again")


def test_a_file_replaced_half_way_and_a_file_deleted(lab):
    text = lab.topology.text()
    with open(lab.topology.path, "w") as halfway:
        halfway.write(text[:len(text) // 2])
        halfway.flush()
        os.fsync(halfway.fileno())
        assert lab.client.ping(FIP_A, count=30).ok
        halfway.write(text[len(text) // 2:])
    lab.wait_for(lambda: not errors(lab), 5, "the complete file is good")
    lab.topology.path.unlink()
    assert "does not exist" in str(lab.wait_for(lambda: errors(lab), 5, "the missing file is reported"))
    assert lab.client.ping(FIP_A, count=5).ok
    lab.topology.write()
    lab.wait_for(lambda: not errors(lab), 5, "good again")


def test_pool_that_overlaps_the_tenants_subnet(lab):
    lab.topology.update("routers", "router-a", nat64_pool="10.0.0.0/16")
    found = lab.wait_for(lambda: errors(lab), 5, "the topology is refused")
    assert "nat64_pool" in str(found) and "10.0.0.0/24" in str(found)
    lab.topology.update("routers", "router-a", nat64_pool=None)
    lab.wait_for(lambda: not errors(lab), 5, "good again")


@pytest.mark.parametrize("line", ["garbage", "[metrics]\nper_fip = perhaps"])
def test_sighup_with_a_configuration_that_cannot_be_used(lab, line):
    """It is reported in one line, and the old one stays in force."""
    good, reported = lab.agent.config_file.read_text(), lab.agent.log().count("is not reloaded")
    traces = lab.agent.log().count("Traceback")
    lab.agent.config_file.write_text(f"{good}\n{line}\n")
    lab.agent.signal(signal.SIGHUP)
    try:
        lab.wait_for(lambda: lab.agent.log().count("is not reloaded, the old one stays") > reported, 5,
                     "reported")
        assert str(lab.agent.config_file) in lab.agent.log().split("is not reloaded")[-1].splitlines()[0]
        assert lab.agent.log().count("Traceback") == traces
        assert lab.ctl("status").returncode == 0
    finally:
        lab.agent.config_file.write_text(good)


def test_a_misspelled_option_is_told_at_a_reload(lab):
    good = lab.agent.config_file.read_text()
    lab.agent.config_file.write_text(f"{good}\n[metrics]\nper_fips = false\n")
    lab.agent.signal(signal.SIGHUP)
    try:
        sentence = (f"{lab.agent.config_file}: there is no option [metrics] per_fips, it is ignored; "
                    "did you mean per_fip?")
        lab.wait_for(lambda: sentence in lab.agent.log(), 5, "it is reported")
    finally:
        lab.agent.config_file.write_text(good)


def test_sighup_reloads_options_and_topology(lab):
    before = lab.agent.config["ovs"].copy()
    lab.agent.config["ovs"]["redirect"] = "external-networks"
    lab.agent.write_config()
    lab.agent.signal(signal.SIGHUP)
    lab.wait_for(lambda: any("2001:db8:f::/64" in flow for flow in steps.owned_flows(lab)), 5,
                 "only external networks are redirected")
    lab.agent.config["ovs"] = before
    lab.agent.write_config()
    lab.agent.signal(signal.SIGHUP)
    steps.within(5, lambda: lab.client.reaches(FIP_A), "reachable")
    steps.wait_settled(lab)


def start(lab, *argv, capabilities=True, program="fip64-agent"):
    command = [*lab.agent.command(program)[:-2], *argv]
    if not capabilities:
        place = command.index("--") + 1
        command[place:place] = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    return run(*command, check=False, timeout=30)


def test_configuration_file_missing(lab):
    ended = start(lab, "--config-file", str(lab.directory / "nowhere.conf"))
    assert ended.returncode == 2 and "nowhere.conf" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("text", "words"), [
    ("[ovs\nbridge=x\n", ("bad.conf",)),
    ("[ovs]\nredirect = some\n", ("redirect", "some")),
    ("[metrics]\nport = http\n", ("port", "http")),
    ("[fip64]\nnat64_pool = 100.64.0.0/16x\n", ("nat64_pool", "100.64.0.0/16x")),
    ("\xff\xfe\x00", ("bad.conf",)),
])
def test_configuration_that_cannot_be_used(lab, text, words):
    bad = lab.directory / "bad.conf"
    bad.write_bytes(text.encode("latin-1"))
    ended = start(lab, "--config-file", str(bad))
    assert ended.returncode == 2, ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr
    assert "Traceback" not in ended.stderr


def variant(lab, **changes):
    """A configuration like the lab's with some options changed: {group__option: value}."""
    config = {group: dict(options) for group, options in lab.agent.config.items()}
    config["admin"]["socket"] = str(lab.directory / "other.sock")
    for name, value in changes.items():
        group, _, option = name.partition("__")
        config.setdefault(group, {})[option] = value
    path = lab.directory / "variant.conf"
    path.write_text("\n".join(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in options.items())
                              for group, options in config.items()))
    return str(path)


def test_options_of_vpp_that_cannot_be_used_together_are_told_before_anything_else(lab):
    both = {"vpp__workers": 2, "vpp__corelist_workers": "1-2", "vpp__extra_plugin": "dpdk",
            "admin__socket": lab.agent.socket}
    ended = start(lab, "--config-file", variant(lab, fip64__translator="vpp", vpp__launch="managed", **both))
    assert ended.returncode == 2, ended.stderr
    assert "[vpp] workers and corelist_workers: only one of them" in ended.stderr
    assert "[vpp] extra_plugin: 'dpdk'" in ended.stderr and "Traceback" not in ended.stderr
    for other in ({"fip64__translator": "tayga"}, {"fip64__translator": "vpp", "vpp__launch": "external"}):
        ended = start(lab, "--config-file", variant(lab, **both, **other))
        assert ended.returncode == 5, ended.stderr  # they do not matter


@pytest.mark.parametrize("lacks, words", [
    ({"ovs__bridge": "br-nowhere"}, ("br-nowhere", "add-br")),
    ({"ovs__ovsdb_connection": "unix:/nowhere/db.sock"}, ("cannot reach ovsdb-server on /nowhere/db.sock",))])
def test_a_clean_up_without_open_vswitch_touches_nothing(lab, lacks, words):
    """The agent waits for it (test_start.py)."""
    flows = lab.flows()
    ended = start(lab, "--config-file", variant(lab, **lacks), program="fip64-cleanup")
    assert ended.returncode == 4, ended.stderr
    assert all(word in ended.stderr for word in words) and "Traceback" not in ended.stderr
    assert lab.flows() == flows and lab.client.reaches(FIP_A)


def test_socket_taken(lab):
    ended = start(lab, "--config-file", variant(lab, admin__socket=lab.agent.socket))
    assert ended.returncode == 5, ended.stderr
    assert lab.agent.socket in ended.stderr and "Traceback" not in ended.stderr
    assert lab.agent.get("/status")


def test_not_root(lab):
    """Rights are capabilities: a root that has none is given the same answer as anybody else."""
    ended = start(lab, "--config-file", str(lab.agent.config_file), capabilities=False)
    assert ended.returncode == 3, ended.stderr
    assert "root" in ended.stderr and "CAP_NET_ADMIN" in ended.stderr and "Traceback" not in ended.stderr


def test_ctl_without_an_agent_says_what_to_do(lab):
    ended = run(lab.agent.command("fip64ctl")[-3], "--socket", str(lab.directory / "no.sock"), "status",
                check=False)
    assert ended.returncode == 3 and "no.sock" in ended.stderr and "Traceback" not in ended.stderr
