# SPDX-License-Identifier: Apache-2.0
"""What fip64ctl prints at 80 and at 200 columns and without a terminal, of few and of many objects."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from fip64agent import hub
from fip64agent.topology.model import KINDS
from tests.fakes import topologies
from tests.fakes.scripted_agent import ScriptedAgent
from tests.unit.admin.conftest import Running, serving

LONG = ("Open vSwitch refused OFPT_FLOW_MOD of 1d9c2d10-9f1f-4f44-8a16-000000000001: "
        "OFPBAC_BAD_SET_ARGUMENT, and of the next three too, as the datapath of the bridge cannot do what "
        "is asked for there; the module of this kernel is older than what is needed, " + "x" * 120)
COMMANDS = [("fip", "list"), ("fip", "list", "--long"), ("uplink", "list"), ("uplink", "list", "--long"),
            ("status",), ("plan", "show"), ("diff",), ("client", "list"), ("flow", "list"),
            ("fip", "show", "2001:db8:f::1:0"), ("trace", "2001:db8:f::1:0")]


@pytest.fixture(params=[3, 1000])
def count(request) -> int:
    return request.param


@pytest.fixture
def running(short_tmp, count):
    """An agent whose only uplink is dead, with a long reason; one floating IP has a fault of its own."""
    agent = ScriptedAgent(str(short_tmp / "admin.sock"))
    topology, interfaces = topologies.big_topology(3, count)
    agent.site = topologies.Site(**{kind: dict(getattr(topology, kind)) for kind in KINDS},
                                 interfaces=dict(interfaces))
    agent.settle()
    refuse(agent, "links", "links of uplink uplink")
    refuse(agent, "switch", f"switch of fip {min(agent.site.floatingips)}")
    agent.rooms["translator"].bind(min(agent.loop.desired.tenants), "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe",
                                   "100.64.255.254", 0.0)
    agent.rooms["switch"].flows = [{
        "table": "classifier", "feature": "deliver", "priority": 40000, "owner": "", "packets": 1, "bytes": 2,
        "match": "in_port=1," * 20, "actions": "set_field:fa:16:3e:00:00:01->eth_src," * 8, "cookie": "0x1"}]
    with serving(agent) as server:
        yield Running(agent, server)


def refuse(agent, room: str, key: str) -> None:
    agent.rooms[room].refuses[key] = LONG
    agent.rooms[room].installed.pop(key, None)
    agent.loop.invalidate(room)
    agent.loop.step()


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_line_is_longer_than_the_terminal_and_no_box_is_drawn(running, command, columns):
    done = running.ctl(*command, COLUMNS=str(columns))
    assert done.stderr == "" and done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if line.startswith(("+--", "|"))]


@pytest.mark.parametrize("columns", ["80", "200", ""])
def test_a_list_has_each_id_whole_and_each_reason_once(running, columns, count):
    out = running.ctl("fip", "list", COLUMNS=columns).stdout
    words = out.split()
    for fip in running.agent.site.floatingips.values():
        assert words.count(str(fip.floating_ip_address)) == 1
        assert {fip.id, fip.port_id} <= set(words)
    assert squeezed(out).count(squeezed(LONG)) == 2, "the uplink's, and the one of one floating IP"
    rest = f"{count - 1} floating IPs" if count > 2 else "floating IP"
    assert f") error, {rest}, uplink uplink is at fault:\n" in out
    assert ") error, 1 floating IP:\n" in out
    assert out.count(f"\n{count} floating IPs: {count} error\n") == 1


@pytest.mark.parametrize("columns", ["80", "200", ""])
def test_status_tells_the_uplink_first_and_counts_what_suffers(running, columns, count):
    out = running.ctl("status", COLUMNS=columns).stdout
    assert out.splitlines()[0] == "fip64-agent on node-1: 2 things are wrong"
    assert squeezed(out).count(squeezed(LONG)) == 2
    order = ["  - uplink in error:", f"      {count - 1} floating IPs suffer from it: ",
             "  - floating IP in error:"]
    assert sorted(order, key=out.index) == order


def test_formats_for_programs_are_as_documented(running, count):
    short = ["id", "floating_ip_address", "fixed_ip_address", "router", "port", "state", "reason"]
    for columns in ("80", "200"):
        rows = json.loads(running.ctl("fip", "list", "-f", "json", COLUMNS=columns).stdout)
        assert len(rows) == count and {"uplink_id", "cause", *short} <= set(rows[0])
        table = list(csv.reader(io.StringIO(running.ctl("fip", "list", "-f", "csv", COLUMNS=columns).stdout)))
        assert table[0] == short
        assert table[1:] == [[row[name] for name in short] for row in rows], "reasons whole, states bare"
        lines = running.ctl("fip", "list", "-f", "value", COLUMNS=columns).stdout.splitlines()
        assert lines == [" ".join(row[name] for name in short) for row in rows]
    assert {row["cause"] for row in rows} == {None, "uplink uplink"}


def test_columns_that_are_asked_for_and_their_order(running):
    out = running.ctl("fip", "list", "-c", "state", "-c", "reason", "--max-width", "70").stdout
    lines = out.splitlines()
    assert lines[:3] == ["state", "-----", "error"] and lines[3].startswith("    reason  ")
    assert max(map(len, lines)) <= 70
    asked = running.ctl("fip", "list", "--sort-column", "floating_ip_address", "--sort-descending").stdout
    found = [word for word in asked.split() if word.startswith("2001:db8:f::1:")]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("count", [3], indirect=True)
def test_on_a_terminal(running):
    """A real one: its width is taken from it, not from the environment."""
    def look(columns: int) -> list[str]:
        master, slave = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        argv = [sys.executable, "-m", "fip64agent.cmd.ctl", "--socket", running.socket, "fip", "list"]
        subprocess.run(["stty", "cols", str(columns)], stdin=slave, check=True)
        with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment) as child:
            os.close(slave)
            text = b""
            try:
                while part := os.read(master, 65536):
                    text += part
            except OSError:  # that is how its end is reported
                pass
            child.wait(30)
        os.close(master)
        return text.decode().splitlines()

    narrow, wide = hub.offload(look, 80), hub.offload(look, 200)
    assert 60 < max(map(len, narrow)) <= 80 < max(map(len, wide)) <= 200


def test_an_empty_list_says_so(running):
    assert running.ctl("fip", "list", "--state", "down").stdout == "no floating IPs\n"
    assert running.ctl("fip", "list", "--state", "down", "-f", "value").stdout == ""
