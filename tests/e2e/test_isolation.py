# SPDX-License-Identifier: Apache-2.0
"""Tenants are apart, whatever a VM sends and the bridge does with it: lab.attempts, lab.observation."""

import itertools
import os

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from lab import attempts, observation
from lab.host import FIP_A, FIP_B
from tests.e2e import steps

FIP_C = "2001:db8:f::c"
FIPS = {"vm-a": FIP_A, "vm-b": FIP_B, "vm-c": FIP_C}
EVERY = int(os.environ.get("FIP64_ATTEMPTS_EVERY", 101))
"""Of the table, in each of the situations; a prime, and each situation starts elsewhere. On a machine in
software emulation, where each frame takes long, fewer are tried."""
NONE = 1 << 30
"""Of the table: only the attempt that has to arrive."""

PORTS = ("access", "access, the other's VLAN", "untagged", "trunk")
BRIDGES = ("NORMAL", "FLOOD", "mod_vlan_vid:4095,NORMAL")
SITUATIONS = list(itertools.product(PORTS, BRIDGES))


@pytest.fixture(scope="module")
def site(make_module_lab):
    """Tenants a and b with the same fixed address, c with another one, and the gateway at fe80::1."""
    lab = make_module_lab(agent=True)
    lab.upstream.ip("addr add fe80::1/64 dev uplink nodad")
    with lab.topology.batch():
        lab.topology.update("subnets", "uplink-subnet", gateway_ip="fe80::1")
        lab.add_tenant("c", cidr="10.3.0.0/24")
        lab.add_vm("vm-c", "c", address="10.3.0.5")
        lab.topology.add_fip(FIP_C, "vm-c")
    for vm in FIPS:
        lab[vm].serve()
    lab.wait_reachable(*FIPS.values())
    steps.wait_settled(lab)
    return lab


def plug_in(lab, scenario, ports):
    """Set how all VMs are plugged in; returns the VLAN of the attacker's access port."""
    own, victim = scenario.attacker.vm, scenario.others[0]
    tags = {tenant.vm.interface: tenant.vm.tag for tenant in (scenario.attacker, *scenario.others)}
    if ports == "access, the other's VLAN":
        tags[own.interface] = victim.downlink_vlan or victim.vm.tag
    elif ports != "access":
        tags = dict.fromkeys(tags, None)
    for interface, tag in tags.items():
        lab.ovs.vsctl("set", "Port", interface, f"tag={tag or '[]'}",
                      f"vlan_mode={'trunk' if ports == 'trunk' else '[]'}")
    return tags[own.interface]


@pytest.fixture
def foreign(site):
    """Another system's flows for what VMs send, below ours and above the default; they go again."""
    def add(action):
        for vm in FIPS:
            site.ovs.ofctl("add-flow", site.bridge,
                           f"priority=100,cookie=0x77,in_port={site.ofport(vm)},actions={action}")
    yield add
    site.ovs.ofctl("del-flows", site.bridge, "cookie=0x77/-1")


def try_all(lab, scenario, made):
    known = observation.neighbors(lab)
    assert known, "there is something that could be poisoned"
    with observation.Observer(lab, scenario) as observer:
        attempts.send(scenario.attacker.vm, made)
    assert observation.faults(scenario, made, observer.frames) == []
    after = observation.neighbors(lab)
    assert {key: after[key] for key in after if known.get(key, after[key]) != after[key]} == {}
    assert scenario.attacker.vm.mac not in after.values()


@pytest.mark.parametrize(("ports", "bridge"), SITUATIONS, ids=map("; ".join, SITUATIONS))
def test_nothing_that_a_vm_sends_gets_where_it_does_not_belong(site, foreign, ports, bridge):
    scenario = attempts.scenario(site, "vm-a", FIPS)
    tag = plug_in(site, scenario, ports)
    foreign(bridge)
    first = SITUATIONS.index((ports, bridge)) * EVERY // len(SITUATIONS)
    try_all(site, scenario, attempts.frames(scenario, tag, EVERY, first))
    site.wait_reachable(*FIPS.values())


def forged(scenario, victim, tags=()):
    """As the report has it: in the victim's name, to the client, by the victim's way into the translator."""
    made = []
    for mac in (victim.downlink_mac, attempts.BROADCAST):
        head = Ether(src=scenario.attacker.vm.mac, dst=mac)
        for tag in tags:
            head /= tag
        for _ in range(3):
            number = len(made) + 1
            made.append(attempts.Attempt(f"as {victim.vm.address4} to {mac}", bytes(
                head / IP(src=victim.vm.address4, dst=victim.pool_address) / UDP(sport=7, dport=7)
                / Raw(b"fip64 attempt %06d." % number))))
    return attempts.frames(scenario, every=NONE) + made


@pytest.mark.parametrize("victim", [0, 1], ids=["the same fixed address", "another fixed address"])
@pytest.mark.parametrize("ports", ["untagged", "access, the other's VLAN"])
def test_a_vm_cannot_send_as_another_tenants_floating_ip(site, ports, victim):
    """Seen: 6 of 6 arrived; with VPP when the access tag is the other's number on the downlink, with tayga
    when ports are untagged, or with VLAN 0."""
    scenario = attempts.scenario(site, "vm-a", FIPS)
    victim = scenario.others[victim]
    if victim.downlink_vlan and ports != "untagged":
        site.ovs.vsctl("set", "Port", scenario.attacker.vm.interface, f"tag={victim.downlink_vlan}")
    else:
        plug_in(site, scenario, ports)
    for tags in ([], [Dot1Q(vlan=0)], [Dot1Q(vlan=victim.downlink_vlan or 9)]):
        # With the same fixed address as its own it is its own, when it is untagged: from its own floating IP.
        made = forged(scenario, victim, tags)
        if victim.vm.address4 == scenario.attacker.vm.address4 and not any(tag.vlan for tag in tags):
            with observation.Observer(site, scenario) as observer:
                attempts.send(scenario.attacker.vm, made)
            arrived = [str(IPv6(each.frame[14:]).src) for each in observer.frames if each.place == "client"]
            assert set(arrived) <= {FIP_A}
        else:
            try_all(site, scenario, made)


def test_a_vm_cannot_poison_the_gateways_neighbor_entry(site):
    """Seen: three advertisements to all nodes, and all tenants' floating IPs were dead."""
    scenario = attempts.scenario(site, "vm-a", FIPS)
    plug_in(site, scenario, "untagged")
    mac = scenario.attacker.vm.mac
    made = attempts.frames(scenario, every=NONE)
    for target in scenario.upstream_addresses:
        for source in ("fe80::bad", target):
            made.append(attempts.Attempt(f"NA for {target} from {source}", bytes(
                Ether(src=mac, dst=attempts.ALL_NODES_MAC) / IPv6(src=source, dst="ff02::1", hlim=255)
                / ICMPv6ND_NA(tgt=target, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)).ljust(60, b"\0")
                + b"fip64 attempt %06d." % len(made)))
    try_all(site, scenario, made)
    assert all(site.client.ping(fip, count=10).received == 10 for fip in FIPS.values())


def test_a_source_mac_that_is_not_the_ports_does_not_pass(site):
    scenario = attempts.scenario(site, "vm-a", FIPS)
    plug_in(site, scenario, "access")
    own = scenario.attacker
    frame = bytes(Ether(src="02:00:00:00:00:66", dst=own.gateway_mac)
                  / IP(src=own.vm.address4, dst=own.pool_address) / UDP(sport=7, dport=7)
                  / Raw(b"fip64 attempt %06d." % 1))
    try_all(site, scenario, [*attempts.frames(scenario, every=NONE), attempts.Attempt("another MAC", frame)])


def test_ports_of_an_older_agent_are_mended_without_a_packet_lost(site):
    """They had no VLAN at all; so has a port that somebody has changed."""
    columns = ["tag", "vlan_mode", "cvlans"]
    right = {name: site.ovs.vsctl("get", "Port", name, *columns).stdout
             for name in observation.own_ports(site)}
    assert set(right.values()) == {"4095\ndot1q-tunnel\n[4095]\n"}
    ping = site.client.start_ping(FIP_A, interval=0.01)
    for name in right:
        site.ovs.vsctl(*(word for column in columns for word in ("--", "clear", "Port", name, column)))
    site.wait_for(lambda: right == {name: site.ovs.vsctl("get", "Port", name, *columns).stdout
                                    for name in right}, 15, "the ports are as they were")
    result = ping.stop()
    assert result.ok, result
