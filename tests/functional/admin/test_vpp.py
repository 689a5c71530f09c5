# SPDX-License-Identifier: Apache-2.0
"""What the operator sees of a real VPP with real packets: its tables, live packets, clients, counters."""

import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.reconcile.explain import OK, PacketStopped, TracedPath
from fip64agent.translator.vpp.items import Mapping, Route, Tenant64
from tests.fakes.kernel import until
from tests.functional.translator.site import CLIENT, FIP_A, FIP_B, VM, Site
from tests.functional.translator.vpp_site import vpp_site

STEPS = ["route", "translate", "client", "vm-route", "pool-route", "route-back", "next-hop"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="f64a-") as directory, vpp_site(Path(directory)) as made:
        failed, _ = made.install(blue=[FIP_A], green=[FIP_B])
        assert failed == {}
        until(lambda: hub.offload(made.client.reaches, FIP_A), 10, "the site works")
        yield made


def traced_packet(site: Site, fip: str = FIP_A, name: str = "blue", client: str = CLIENT) -> TracedPath:
    tenant = site.tenant(name, 7 if name == "blue" else 8, [fip])
    return TracedPath(IPv6Address(client), site.uplink, tenant, site.mapping(tenant, fip),
                      IPv4Address("100.64.9.9"))


def cli(site: Site, command: str) -> str:
    return site.room.supervisor.client.call("cli_inband", cmd=command).reply


def explained(site: Site, packet: TracedPath) -> dict[str, tuple]:
    """{step: outcome, or the reason why the packet stops}; the checks after that are asked, too."""
    checks, result = site.room.explain(packet), {}
    for check in (*checks.there, *checks.back):
        try:
            result[check.name] = check.look()
        except PacketStopped as stop:
            result[check.name] = ("stop", stop.looked_at, str(stop))
    return result


def test_all_is_right(site):
    packet = traced_packet(site)
    found = explained(site, packet)
    assert list(found) == STEPS
    assert {outcome[0] for outcome in found.values()} == {OK}, found
    assert found["client"][2] == str(packet.pool_address) != "100.64.9.9"
    assert found["vm-route"][2] == "via 169.254.0.1, VLAN 7"
    assert found["route-back"][2] == "via " + CLIENT or found["route-back"][2] == "on the link"


def test_a_far_client_goes_by_the_gateway(site):
    found = explained(site, traced_packet(site, client="2001:db8:77::1"))
    gateway = str(site.uplink.routes[0][1])
    assert found["route-back"][2] == f"via {gateway}"
    assert "none of this client is known" in found["client"][2]
    assert found["next-hop"][1] == f"neighbor {gateway} on fip64:uplink:{site.uplink.port_id}"


def remove(site: Site, *kinds: type) -> None:
    """Take away what the driver installed for the tenant "blue" and its mapping."""
    packet = traced_packet(site)
    items = [item for obj in (packet.tenant, packet.mapping) for item in site.room.expand(obj)
             if isinstance(item, kinds)]
    assert items and site.room.prune(items) == {}


@pytest.mark.parametrize(("damage", "step", "reason"), [
    (lambda site: remove(site, Mapping), "route", "leads to [0] "),
    (lambda site: remove(site, Mapping), "translate", "is not there"),
    (lambda site: remove(site, Route), "vm-route", "the route to 0.0.0.0/0 is dropped"),
    (lambda site: remove(site, Tenant64), "pool-route", "and not to fip64"),
    (lambda site: cli(site, f"ip route add {CLIENT}/128 table {site.uplink.table} via drop"), "route-back",
     f"the route to {CLIENT}/128 is dropped"),
])
def test_what_is_broken_is_found(site, damage, step, reason):
    damage(site)
    try:
        assert reason in explained(site, traced_packet(site))[step][2]
    finally:
        cli(site, f"ip route del {CLIENT}/128 table {site.uplink.table} via drop")
        assert site.install(blue=[FIP_A], green=[FIP_B])[0] == {}
    assert {outcome[0] for outcome in explained(site, traced_packet(site)).values()} == {OK}


def test_live_packets_there_and_back_with_both_headers(site):
    pings = [site.client.start_ping(fip, 0.02) for fip in (FIP_A, FIP_B)]
    try:
        seen = site.room.watch(traced_packet(site), 10)
    finally:
        for ping in pings:
            hub.offload(ping.stop)
    texts = ["\n".join(each.lines) for each in seen]
    pool_address = site.room.clients("blue")[0].pool_address
    there = [text for text in texts if "ip6-fip64" in text]
    back = [text for text in texts if "ip4-fip64" in text]
    assert there and back and FIP_B not in "".join(texts)
    for address in (CLIENT, FIP_A, VM, str(pool_address)):
        assert address in there[0] and address in back[0]
    assert there[0].startswith("af-packet-input > ")
    assert "No packets in trace buffer" in cli(site, "show trace")


def test_nothing_is_seen_when_nothing_comes(site):
    assert site.room.watch(traced_packet(site, FIP_B, "green"), 1) == []


def test_only_one_watches_at_a_time(site):
    thread = hub.spawn(site.room.watch, traced_packet(site), 2)
    hub.sleep(0.2)
    with pytest.raises(NotReady, match="somebody else watches"):
        site.room.watch(traced_packet(site), 1)
    thread.wait()


def test_watching_leaves_nothing_in_vpp(site):
    before = cli(site, "show classify tables"), cli(site, "show classify filter")
    for _ in range(3):
        site.room.watch(traced_packet(site), 0.3)
    assert (cli(site, "show classify tables"), cli(site, "show classify filter")) == before


def test_clients_and_counters(site):
    (binding,) = [each for each in site.room.clients("blue") if each.client == IPv6Address(CLIENT)]
    assert binding.static is False and binding.last_seen
    before = site.room.traffic()
    hub.offload(site.client.ping, FIP_A, 5)
    until(lambda: site.room.traffic().fips["blue", IPv6Address(FIP_A)]["4to6"].packets
          >= before.fips["blue", IPv6Address(FIP_A)]["4to6"].packets + 5, 5, "five packets are counted")
    now = site.room.traffic()
    assert now.tenants["blue"]["6to4"].packets >= now.fips["blue", IPv6Address(FIP_A)]["6to4"].packets > 0
    counted = site.room.counters()["blue"]
    assert counted["clients"] == len(site.room.clients("blue")) and counted["bindings-made"] >= 1


def test_refusals_are_counted_by_reason(site):
    before = site.room.traffic().errors
    # An answer to somebody who never was there.
    hub.offload(site.vms["blue"].reaches, "100.64.200.200")
    until(lambda: site.room.traffic().errors != before, 5, "the packet is counted")
    errors = site.room.traffic().errors
    assert errors["ip4-fip64", "pool-address-without-client"] >= 1
    assert all(reason != "ok" for _node, reason in errors)


def test_about(site):
    about = site.room.about()
    assert about.launch == "managed" and about.version and about.restarts == 0
    assert about.pid == site.room.supervisor.process.pid and about.uptime > 0
    until(lambda: site.room.about().probe, 5, "it was probed")
    assert site.room.about().probe < 1
