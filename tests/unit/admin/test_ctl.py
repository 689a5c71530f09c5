# SPDX-License-Identifier: Apache-2.0
"""fip64ctl as a process, against a real admin API: output, formats, exit statuses, clear errors."""

import dataclasses
import json
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from oslo_config import cfg

from fip64agent import conf as options
from fip64agent import hub
from fip64agent.admin import client, trace
from fip64agent.cmd import ctl as ctl_module
from fip64agent.cmd.ctl import Ctl
from fip64agent.exceptions import TopologyError
from fip64agent.switch import features
from tests.unit.admin.conftest import ctl

COMPLETION = Path(__file__).parents[3] / "etc/bash_completion.d/fip64ctl"
COMMANDS = [("status",), ("uplink", "list"), ("fip", "list"), ("fip", "show", "2001:db8:f::10"),
            ("client", "list"), ("plan", "show"), ("diff",), ("flow", "list"), ("trace", "2001:db8:f::10")]


def break_topology(agent):
    fault = "/etc/fip64agent/topology.yaml:12: ports[3].mac_address: not a MAC"
    agent.topology_error = TopologyError([fault])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_speaks_json_and_yaml_and_a_table(running, command):
    as_json = running.ctl(*command, "-f", "json")
    as_yaml = running.ctl(*command, "-f", "yaml")
    as_table = running.ctl(*command)
    assert as_json.stderr == as_yaml.stderr == as_table.stderr == ""
    document = json.loads(as_json.stdout)
    loaded = yaml.safe_load(as_yaml.stdout)
    assert type(loaded) is type(document)
    if command[0] not in ("status",):  # its times go on
        assert loaded == document
    assert as_table.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_without_an_agent(command):
    done = ctl(*command[:2 if len(command) > 1 and command[0] != "trace" else 1], "--help")
    assert done.returncode == 0 and "usage: fip64ctl" in done.stdout and len(done.stdout.splitlines()) > 8


# -- status ---------------------------------------------------------------------------------


def test_status_when_all_is_well(running):
    done = running.ctl("status")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "fip64-agent on node-1: all is well, 2 floating IPs are active"


def test_status_says_what_is_wrong_first_and_in_sentences(running):
    break_topology(running.agent)
    running.agent.rooms["switch"].refuses["switch of fip fip-vm-red"] = "table full"
    running.agent.rooms["switch"].installed.pop("switch of fip fip-vm-red")
    running.agent.loop.invalidate("switch")
    running.agent.loop.step()
    done = running.ctl("status")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == "fip64-agent on node-1: 2 things are wrong"
    assert lines[2] == "Wrong:"
    assert lines[3].startswith("  - the topology in /etc/fip64agent/topology.yaml is refused; the last")
    assert lines[3].endswith("stays in force:")
    assert lines[4] == "      /etc/fip64agent/topology.yaml:12: ports[3].mac_address: not a MAC"
    assert lines[5] == ("  - floating IP in error: 2001:db8:f::10: switch cannot install switch of fip "
                        "fip-vm-red: table full")


def test_status_of_a_room_that_cannot_work_now_before_the_loop_finds_out(running):
    running.agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    done = running.ctl("status")
    assert done.returncode == 1
    assert "  - switch cannot work now: ovs-vswitchd does not answer" in done.stdout
    assert done.stdout.count("ovs-vswitchd does not answer") == 1, "reported once"
    assert "      uplink waits for it: " in done.stdout and "      2 tenants wait for it: " in done.stdout
    assert "      2 floating IPs wait for it: 2001:db8:f::11, 2001:db8:f::10\n" in done.stdout


def test_pending_is_shown_but_nothing_is_wrong(running):
    for port in ("vm-red", "vm-blue"):
        del running.agent.site.interfaces[f"tap-{port}"]
    running.agent.settle()
    done = running.ctl("status")
    assert done.returncode == 0
    assert "nothing is wrong, 1 thing is pending" in done.stdout
    assert ("  - 2 floating IPs pending: 2001:db8:f::11, 2001:db8:f::10: its port is not bound on this host"
            in done.stdout)


def test_status_of_metrics_that_are_not_served_is_a_warning(running):
    class Metrics:
        url, problem = None, "metrics are not served: port taken"

    running.agent.metrics = Metrics()
    done = running.ctl("status")
    assert done.returncode == 0 and "Look at:\n  - metrics are not served: port taken" in done.stdout


# -- lists ----------------------------------------------------------------------------------


def test_fip_list(running):
    done = running.ctl("fip", "list", "-f", "value", "-c", "floating_ip_address", "-c", "state")
    assert done.stdout.splitlines() == ["2001:db8:f::11 active", "2001:db8:f::10 active"]
    assert [row["id"] for row in json.loads(running.ctl("fip", "list", "-f", "json").stdout)] == [
        "fip-vm-blue", "fip-vm-red"]
    assert json.loads(running.ctl("fip", "list", "--state", "error", "-f", "json").stdout) == []


def test_client_list(running):
    running.agent.rooms["translator"].bind("red", "2001:db8:1::1", "100.64.0.1", 0.0)
    running.agent.rooms["translator"].bind("blue", "2001:db8:1::1", "100.64.0.1")
    running.agent.rooms["translator"].bind("blue", "2001:db8:2::1", "100.64.0.2", static=True)

    def shown(*options):
        done = running.ctl("client", "list", *options, "-f", "value", "-c", "router_id", "-c", "client",
                           "-c", "static")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert shown() == ["blue 2001:db8:1::1 False", "blue 2001:db8:2::1 True", "red 2001:db8:1::1 False"]
    assert shown("--router", "blue", "--client", "2001:db8:2::/48") == ["blue 2001:db8:2::1 True"]
    assert shown("--client", "2001:db8:1::1") == ["blue 2001:db8:1::1 False", "red 2001:db8:1::1 False"]
    assert shown("--client", "2001:db8:9::/64") == []


def test_long_adds_columns_to_tables_and_json_has_them_anyway(running):
    short, long = running.ctl("fip", "list").stdout, running.ctl("fip", "list", "--long").stdout
    assert "uplink_id" not in short and "uplink_id" in long
    assert "uplink_id" in json.loads(running.ctl("fip", "list", "-f", "json").stdout)[0]


def test_addresses_are_a_list_in_json_and_text_in_a_table(running):
    assert json.loads(running.ctl("uplink", "list", "-f", "json").stdout)[0]["addresses"] == [
        "2001:db8:ffff::2/64"]
    assert "  2001:db8:ffff::2/64  " in running.ctl("uplink", "list").stdout
    assert json.loads(running.ctl("uplink", "list", "-f", "json").stdout)[0]["gateways"] == {
        "2001:db8:ffff::1": "alive"}
    assert "2001:db8:ffff::1=alive" in running.ctl("uplink", "list", "-c", "gateways").stdout


def test_an_unknown_floating_ip(running):
    done = running.ctl("fip", "show", "2001:db8::99")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("fip64ctl: no floating IP has the id or the address 2001:db8::99")


def test_no_floating_ip_is_not_all_of_them(running):
    done = running.ctl("fip", "show", "")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fip64ctl: no floating IP has the id or the address ''")


def test_a_name_does_not_steer_the_terminal(running):
    name = "Z\x1b[2J\x07\u202e"
    site = running.agent.site
    site.routers["red"] = dataclasses.replace(site.routers["red"], name=name)
    site.ports["uplink"] = dataclasses.replace(site.ports["uplink"], name=name)
    site.interfaces["eth-up"] = dataclasses.replace(site.interfaces["eth-up"], ofport=-1)
    running.agent.settle()
    for command in (("fip", "list"), ("uplink", "list"), ("status",), ("fip", "show", "fip-vm-red")):
        shown = running.ctl(*command).stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(shown), command
    assert "Z\\x1b[2J\\x07\\u202e" in running.ctl("uplink", "list", "-c", "port").stdout
    assert "Z\\x1b[2J\\x07\\u202e (uplink)" in running.ctl("status").stdout
    assert [row["port"] for row in json.loads(running.ctl("uplink", "list", "-f", "json").stdout)] == [name]


def test_a_name_that_the_locale_cannot_show(running):
    routers = running.agent.site.routers
    routers["red"] = dataclasses.replace(routers["red"], name="Zürich ☃")
    running.agent.settle()
    assert "Zürich ☃" in running.ctl("fip", "list").stdout
    done = running.ctl("fip", "list", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0 and "Z\\xfcrich \\u2603" in done.stdout


# -- diff -----------------------------------------------------------------------------------


def test_diff_when_all_is_right(running):
    done = running.ctl("diff")
    assert (done.returncode, done.stdout) == (0, "nothing to change\n")
    done = running.ctl("diff", "-f", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_diff_with_changes(running):
    running.agent.rooms["switch"].installed.pop("switch of fip fip-vm-red")
    done = running.ctl("diff")
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "switch     create switch of fip fip-vm-red  [fip fip-vm-red]", "",
        "1 change: 1 to create, 0 to update, 0 to remove"]
    done = running.ctl("diff", "-f", "json")
    assert done.returncode == 2 and json.loads(done.stdout)[0]["action"] == "create"


def test_diff_when_a_component_cannot_be_asked(running):
    running.agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    done = running.ctl("diff")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fip64ctl: switch: ovs-vswitchd does not answer\n"


# -- an agent that cannot be reached --------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_agent(short_tmp, command):
    done = ctl("--socket", str(short_tmp / "no.sock"), *command)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"the agent is not running: there is no admin socket {short_tmp}/no.sock" in done.stderr
    assert "systemctl start fip64-agent" in done.stderr


def test_an_agent_that_ended_badly(short_tmp):
    path = str(short_tmp / "old.sock")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    done = ctl("--socket", path, "status")
    assert done.returncode == 3
    assert f"nobody answers on the admin socket {path}" in done.stderr and "journalctl" in done.stderr


def test_what_is_no_socket_is_said_to_be_none(short_tmp):
    (short_tmp / "file").write_text("")
    for path in (short_tmp, short_tmp / "file"):
        done = ctl("--socket", str(path), "fip", "list")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == (f"fip64ctl: {path} is no socket: it cannot be the agent's admin socket "
                               "(--socket, --config-file)\n")


def test_the_error_is_broken_between_words_where_the_terminal_is_narrow(short_tmp):
    lines = ctl("--socket", str(short_tmp / "no.sock"), "status", COLUMNS="80").stderr.splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 80
    assert " ".join(map(str.strip, lines)).startswith("fip64ctl: the agent is not running: there is no ")


def test_no_permission_says_run_as_root():
    error = client.Client("/run/x.sock")._explain(PermissionError(13, "Permission denied"))
    assert error == "no permission for the admin socket /run/x.sock: run fip64ctl as root"


def test_an_agent_that_hangs(short_tmp):
    path = str(short_tmp / "slow.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        with pytest.raises(client.Unreachable, match=r"does not answer on .*slow.sock within 0\.2 s"):
            client.Client(path, timeout=0.2).get("status")
        assert client.is_listening(path)


def test_something_else_on_the_socket(short_tmp):
    path = str(short_tmp / "other.sock")
    code = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); "
            "print(flush=True); c = s.accept()[0]; c.recv(999); "
            "c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello')")
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        done = ctl("--socket", path, "status")
        other.wait(10)
    assert done.returncode == 1 and "not as fip64-agent does" in done.stderr


# -- which socket ---------------------------------------------------------------------------


def test_the_socket_of_a_configuration_file(running, short_tmp):
    config = short_tmp / "agent.conf"
    config.write_text(f"[DEFAULT]\nrun_path = {short_tmp}\n[admin]\n# socket is $run_path/admin.sock\n")
    done = hub.offload(ctl, "--config-file", str(config), "status")
    assert done.returncode == 0 and "all is well" in done.stdout


@pytest.mark.parametrize("text", [
    "", "[DEFAULT]\n", "[DEFAULT]\nrun_path = /run/other\n", "[admin]\nsocket = /run/x.sock\n",
    "[DEFAULT]\nrun_path=/a\n[admin]\nsocket = $run_path/b.sock\n",
    "[DEFAULT]\nrun_path=/a\n[admin]\nsocket = ${run_path}/b.sock\n[tayga]\nbinary=x\nbinary=y\n"])
def test_the_client_finds_the_socket_as_the_agent_does(tmp_path, text):
    file = tmp_path / "agent.conf"
    file.write_text(text)
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([], default_config_files=[str(file)])
    assert client.socket_from(str(file)) == conf.admin.socket


def test_a_configuration_that_cannot_be_read(short_tmp):
    done = ctl("--config-file", str(short_tmp / "none.conf"), "status")
    assert done.returncode == 1 and done.stderr == (
        f"fip64ctl: --config-file {short_tmp}/none.conf: No such file or directory\n")
    (short_tmp / "bad.conf").write_text("what is this\n")
    done = ctl("--config-file", str(short_tmp / "bad.conf"), "status")
    assert done.returncode == 1 and "bad.conf" in done.stderr and "Traceback" not in done.stderr


# -- the program ----------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [(), ("fip",), ("nonsense",), ("status", "extra"), ("fip", "show"),
                                  ("fip", "list", "-f", "xml"),
                                  ("--socket", "a", "--config-file", "b", "status")])
def test_usage_errors_are_exit_status_2(argv):
    done = ctl(*argv)
    assert done.returncode == 2
    assert "fip64ctl" in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_it_imports_little():
    """It starts anew with each call; the time is printed (pytest -s)."""
    modules = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fip64agent.cmd.ctl", "--socket", "/nowhere", "status"],
        capture_output=True, text=True).stderr
    assert " cliff.app\n" in modules
    for heavy in ("eventlet", "os_ken", "pyroute2", "ovsdbapp", "oslo_config", "prometheus_client", "yaml"):
        assert f" {heavy}\n" not in modules
    times = []
    for _ in range(5):
        begun = time.monotonic()
        ctl("--socket", "/nowhere", "status")
        times.append(time.monotonic() - begun)
    print(f"fip64ctl starts and ends in {statistics.median(times):.2f} s")


def test_an_unknown_feature_is_answered_with_all_there_are(running):
    done = running.ctl("flow", "list", "--feature", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.split() == (f"fip64ctl: no feature is called 'nonsense'; there is "
                                   f"{', '.join(features.features())}").split()
    assert running.ctl("flow", "list", "--table", "nonsense").returncode == 2
    for name in features.features():
        assert running.ctl("flow", "list", "--feature", name).returncode == 0


# -- completion -----------------------------------------------------------------------------


def complete(line: str, program: str = "fip64ctl") -> list[str]:
    """What bash would offer after `line`."""
    script = 'source $1; COMP_LINE=$2 COMP_POINT=${#2}; _fip64ctl "$3"; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", str(COMPLETION), line, program],
                          capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_committed_completion_is_what_fip64ctl_makes():
    assert ctl("complete").stdout == COMPLETION.read_text(), (
        "make it anew: fip64ctl complete > etc/bash_completion.d/fip64ctl")


@pytest.mark.parametrize(("line", "offered"), [
    ("fip64ctl ", ["client", "complete", "diff", "fip", "flow", "help", "plan", "port", "status", "trace",
                   "uplink"]),
    ("fip64ctl f", ["fip", "flow"]),
    ("fip64ctl fip ", ["list", "show"]),
    ("fip64ctl --socket /run/x fip l", ["list"]),
    ("fip64ctl -v fip s", ["show"]),
    ("fip64ctl fip list --st", ["--state"]),
    ("fip64ctl fip list --state ", ["active", "down", "error", "pending"]),
    ("fip64ctl fip list -f j", ["json"]),
    ("fip64ctl flow list --feature re", []),
    ("fip64ctl fip list --long --sta", ["--state"]),
    ("fip64ctl --con", ["--config-file"]),
    ("fip64ctl status ", []),
])
def test_completion_of_words(line, offered):
    assert complete(line) == offered


def test_completion_of_floating_ips_asks_the_agent(running, short_tmp):
    program = short_tmp / "fip64ctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fip64agent.cmd.ctl "$@"\n')
    program.chmod(0o755)
    line = f"fip64ctl --socket {running.socket}"
    assert hub.offload(complete, f"{line} fip show 2001:db8:f::1", str(program)) == ["11", "10"]
    assert hub.offload(complete, f"{line} trace ", str(program)) == ["2001:db8:f::11", "2001:db8:f::10"]
    assert hub.offload(complete, f"{line} trace -f json 2001:db8:f::", str(program)) == ["11", "10"]
    assert hub.offload(complete, f"{line} trace 2001:db8:f::10 ", str(program)) == []


# -- documentation --------------------------------------------------------------------------


def test_the_reference_has_every_command_option_and_step(agent):
    text = (Path(__file__).parents[3] / "doc/source/reference/fip64ctl.rst").read_text()
    app = Ctl()
    for name, command in ctl_module.COMMANDS.items():
        assert f"\n{name}\n{'-' * len(name)}\n" in text, name
        for action in command(app, None).get_parser(f"fip64ctl {name}")._actions:
            for option in action.option_strings:
                assert f"``{option}``" in text, (name, option)
    for action in app.parser._actions:
        assert all(f"``{option}``" in text for option in action.option_strings), action.option_strings
    for check in trace.PacketTrace(agent, "fip-vm-red", None).checks():
        assert f"\n``{check.name}`` " in text, check.name
    assert all(f"``{feature}``" in text for feature in features.features())
