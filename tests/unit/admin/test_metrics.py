# SPDX-License-Identifier: Apache-2.0
"""The exposition parses, its numbers are the agent's, and a taken port stops nobody."""

import re
import socket
import threading
import urllib.error
import urllib.request
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fip64agent import hub
from fip64agent.admin import metrics, report
from fip64agent.admin.metrics import MetricsServer
from fip64agent.exceptions import TopologyError
from fip64agent.links.gateways import Reachability
from fip64agent.plan.desired import Desired
from fip64agent.switch.examples import SERVED_PORT
from fip64agent.translator.base import About, Count, Traffic

REFERENCE = Path(__file__).parents[3] / "doc/source/reference/metrics.rst"


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


@pytest.fixture
def server(agent):
    server = MetricsServer(agent, "127.0.0.1", free_port())
    server.start()
    yield server
    server.stop()


def fetch(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    return hub.offload(get)


def samples(server) -> dict[tuple, float]:
    """{(name, label values, by label...): value} as a scraper reads them."""
    families = text_string_to_metric_families(fetch(server.url))
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families for sample in family.samples}


def test_packets_that_came_in(server, agent):
    agent.rooms["switch"].packet_ins = {(21, "handled"): 7, (0, "unparsable"): 1}
    found = samples(server)
    assert found["fip64_packet_ins_total", "21", "handled"] == 7
    assert found["fip64_packet_ins_total", "0", "unparsable"] == 1


def test_refused_packets_by_port_and_reason(server, agent):
    def refused():
        return {key[1:]: value for key, value in samples(server).items()
                if key[0] == "fip64_port_refused_packets_total"}

    agent.rooms["switch"].refused = {(21, "ra-guard"): 7, (99, "source-mac"): 1}
    assert refused() == {}, "no port of the plan has these numbers"
    agent.loop.submit(Desired.of_objects([SERVED_PORT]))
    assert refused() == {("vm-a", "ra-guard"): 7}
    agent.rooms["switch"].down = "it does not run"
    assert refused() == {}


def test_numbers_of_an_agent_where_all_is_right(server, agent):
    agent.rooms["translator"].bind("red", "2001:db8::1", "100.64.0.2")
    agent.rooms["translator"].bind("red", "2001:db8::2", "100.64.0.3")
    found = samples(server)
    assert found["fip64_objects", "fip", "active"] == 2
    assert found["fip64_objects", "fip", "error"] == 0
    assert found["fip64_objects", "uplink", "active"] == 1
    assert found["fip64_passes_total",] == agent.loop.passes == 1
    assert found["fip64_applied_total",] == agent.loop.applied > 0
    assert found["fip64_settled",] == 1
    assert found["fip64_installed_items", "switch"] == 8
    assert found["fip64_room_blocked", "switch"] == found["fip64_failures", "links"] == 0
    assert found["fip64_translator_healthy",] == 1
    assert found["fip64_translator_clients", "red"] == 2
    assert found["fip64_translator_events_total", "drops", "red"] == 7
    assert found["fip64_topology_loaded_timestamp_seconds",] == pytest.approx(agent.topology_loaded_at)
    assert found["process_resident_memory_bytes",] > 1e6


def test_gateways_that_are_known_to_answer_or_not(server, agent):
    gateway = "2001:db8:ffff::1"
    for alive, value in ((True, 1), (False, 0), (None, None)):
        agent.gateways.known[gateway] = Reachability(alive, None if alive is None else 0.0)
        assert samples(server).get(("fip64_gateway_up", gateway, "uplink")) == value


def test_numbers_of_an_agent_in_trouble(server, agent):
    agent.rooms["switch"].refuses["switch of fip fip-vm-red"] = "table full"
    agent.rooms["switch"].installed.pop("switch of fip fip-vm-red")
    agent.loop.invalidate("switch")
    agent.rooms["links"].down = "netlink is gone"
    agent.loop.invalidate("links")
    agent.loop.step()
    agent.topology_error = TopologyError(["one", "two"])
    agent.rooms["translator"].trouble = "tayga is stopped"
    found = samples(server)
    assert found["fip64_objects", "fip", "error"] == 1 and found["fip64_objects", "fip", "pending"] == 1
    assert found["fip64_failures", "switch"] == 1
    assert found["fip64_room_blocked", "links"] == 1
    assert found["fip64_topology_errors",] == 2
    assert found["fip64_translator_healthy",] == 0


def test_an_agent_that_has_not_begun_can_be_scraped(agent):
    fresh = type(agent)()
    server = MetricsServer(fresh, "127.0.0.1", free_port())
    server.start()
    try:
        assert samples(server)["fip64_objects", "fip", "active"] == 0
    finally:
        server.stop()


def test_only_metrics_are_there(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(server.url.replace("/metrics", "/"))


def test_a_fault_of_ours_is_500_and_ends_nothing(server, agent, caplog):
    loop, agent.loop = agent.loop, None
    with pytest.raises(urllib.error.HTTPError, match="500"):
        fetch(server.url)
    assert "a scrape failed" in caplog.text
    agent.loop = loop
    assert samples(server)["fip64_settled",] == 1


def test_port_0_serves_nothing(agent):
    server = MetricsServer(agent, "127.0.0.1", 0)
    server.start()
    assert server.url is None and server.problem is None
    server.stop()


def test_a_taken_port_is_named_and_shown_and_stops_nobody(server, agent):
    agent.metrics = MetricsServer(agent, "127.0.0.1", server._port)
    agent.metrics.start()
    assert agent.metrics.url is None
    taken = f"[metrics] host and port 127.0.0.1:{server._port}: Address already in use"
    (problem,) = report.status(agent)["problems"]
    assert problem["severity"] == "warning" and taken in problem["text"]
    agent.metrics.stop()


def test_ipv6(agent):
    server = MetricsServer(agent, "::1", free_port("::1"))
    server.start()
    try:
        assert server.url.startswith("http://[::1]:")
        assert samples(server)["fip64_settled",] == 1
    finally:
        server.stop()


FIP = IPv6Address("2001:db8:f::10")


@pytest.fixture
def counting(agent):
    """The agent, with a translator that counts as VPP does."""
    both = {"6to4": Count(3, 300), "4to6": Count(2, 200)}
    agent.rooms["translator"].program = About("managed", "26.06", 77, 3700.04, 2, 0.0004)
    agent.rooms["translator"].counted = Traffic({("red", FIP): both}, {"red": both},
                                                {("ip6-fip64", "hop-limit"): 5})
    return agent


def test_what_the_translator_counts(server, counting):
    found = samples(server)
    assert found["fip64_fip_packets_total", "6to4", str(FIP), "red"] == 3
    assert found["fip64_fip_bytes_total", "4to6", str(FIP), "red"] == 200
    assert found["fip64_tenant_packets_total", "4to6", "red"] == 2
    assert found["fip64_tenant_bytes_total", "6to4", "red"] == 300
    assert found["fip64_translator_errors_total", "ip6-fip64", "hop-limit"] == 5
    assert found["fip64_translator_up",] == 1 and found["fip64_translator_restarts_total",] == 2
    assert found["fip64_translator_probe_seconds",] == 0.0004


def test_counters_of_floating_ips_can_be_switched_off(server, counting):
    counting.conf.set_override("per_fip", False, "metrics")
    found = samples(server)
    assert ("fip64_tenant_packets_total", "6to4", "red") in found
    assert not [key for key in found if key[0].startswith("fip64_fip_")]


def test_thousands_of_numbers_are_written_down_in_another_thread(server, monkeypatch):
    threads = []

    def encode(collected) -> bytes:
        threads.append(threading.current_thread())
        return generate_latest(collected)

    monkeypatch.setattr(metrics, "choose_encoder", lambda accept: (encode, "text/plain"))
    assert samples(server)["fip64_settled",] == 1
    assert threads[0] is not threading.main_thread()


def test_a_translator_that_is_down_is_told_and_its_counters_are_not_there(server, counting):
    counting.rooms["translator"].down = "VPP (pid 77) hung"
    found = samples(server)
    assert found["fip64_translator_up",] == 0 and found["fip64_translator_restarts_total",] == 2
    assert not [key for key in found if key[0].startswith(("fip64_fip_", "fip64_tenant_"))]


def test_the_reference_lists_exactly_these_metrics(server, counting, agent):
    agent.rooms["switch"].packet_ins = {(21, "handled"): 7}
    agent.rooms["switch"].refused = {(21, "ra-guard"): 7}
    agent.loop.submit(Desired.of_objects([*agent.loop.desired.objects(), SERVED_PORT]))
    agent.rooms["translator"].bind("red", "2001:db8::1", "100.64.0.2")
    families = text_string_to_metric_families(fetch(server.url))
    served = {sample.name for family in families for sample in family.samples}
    documented = set(re.findall(r"``(fip64_\w+)", REFERENCE.read_text()))
    assert {name for name in served if name.startswith("fip64_")} == documented
