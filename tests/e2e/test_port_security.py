# SPDX-License-Identifier: Apache-2.0
"""A VM among others: what it needs works, what it must not send goes nowhere and is counted."""

import json
import re
import signal
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from scapy.layers.dhcp6 import DHCP6_Reply
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from lab import attempts, ipv6
from lab import netns as namespaces
from lab.daemon import wait_for
from lab.observation import MARK, SETTLE, packet_socket

PREFIX, PAIR = "2001:db8:1::/64", "2001:db8:1:0:aaaa::/80"
GATEWAY, PRIVATE, ROGUE = "2001:db8:1::1", "2001:db8:1:0:aaaa::77", "2001:db8:bad::"
FOREIGN = "02:00:00:00:00:66"
ALL_NODES = "33:33:00:00:00:01"
METRICS = {"host": "::1", "port": 9464}


@pytest.fixture(scope="module")
def site(make_module_lab):
    """An attacker and a victim, which have addresses by SLAAC, and a VM whose address is set by hand."""
    lab = make_module_lab(standard=False, config={"metrics": METRICS})
    ipv6.add_router(lab, "router")
    ipv6.add_network(lab, "one", PREFIX, router="router", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    lab.agent.start()
    ipv6.add_vm(lab, "attacker", "one", configured=False, allowed_address_pairs=[{"ip_address": PAIR}])
    ipv6.add_vm(lab, "victim", "one", configured=False)
    ipv6.add_vm(lab, "other", "one", "2001:db8:1::77")
    for name in ("attacker", "victim"):
        wait_for(lambda name=name: has(lab[name], lab[name].address6), 20, "addresses by SLAAC")
    assert lab["attacker"].reaches(lab["victim"].address6, 10)
    return lab


def addresses(node):
    found = json.loads(node.run("ip", "-6", "-j", "addr", "show", "dev", "eth0").stdout)
    return {entry["local"]: entry for interface in found for entry in interface.get("addr_info", ()) if entry}


def has(node, address):
    entry = addresses(node).get(address)
    return entry is not None and not entry.get("tentative")


def link_local(node):
    return ipv6.eui64("fe80::/64", node.mac)


def refused(lab, name="attacker"):
    """Return how many packets of a VM were refused, by reason, as the agent's metrics have it."""
    fetch = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"
    text = lab.run_in_host(sys.executable, "-c", fetch, f"http://[::1]:{METRICS['port']}/metrics").stdout
    return {sample.labels["reason"]: int(sample.value)
            for family in text_string_to_metric_families(text) for sample in family.samples
            if sample.name == "fip64_port_refused_packets_total"
            and sample.labels["port"] == lab[name].port_id}


def send(lab, packets):
    """Send packets from the attacker; return the names of those that came out at the victim."""
    made = [attempts.Attempt(name, bytes(packet).ljust(60, b"\0") + b"fip64 attempt %06d." % number)
            for number, (name, packet) in enumerate(packets)]
    with namespaces.call_in(lab["victim"].netns, packet_socket, "eth0") as sock:
        attempts.send(lab["attacker"], made)
        time.sleep(SETTLE)
        seen = set()
        while True:
            try:
                found = MARK.search(sock.recv(4096))
            except BlockingIOError:
                return seen
            if found:
                seen.add(made[int(found[1])].name)


def known(lab):
    """Return what the victim's kernel believes: default routes, neighbors, addresses."""
    victim = lab["victim"]
    routes = victim.run("ip", "-6", "route", "show", "default").stdout
    neighbors = json.loads(victim.run("ip", "-6", "-j", "neigh", "show", "dev", "eth0").stdout)
    return (sorted(re.findall(r"via (\S+)", routes)),
            {entry["dst"]: entry["lladdr"] for entry in neighbors if "lladdr" in entry},
            sorted(addresses(victim)))


# What an attacker sends


class Frames:
    def __init__(self, lab):
        attacker, victim = lab["attacker"], lab["victim"]
        self.mac, self.own, self.own_ll = attacker.mac, attacker.address6, link_local(attacker)
        self.victim_mac, self.victim, self.victim_ll = victim.mac, victim.address6, link_local(victim)
        router = lab.topology.find("ports", "router-on-one")["mac_address"]
        self.router_mac, self.router_ll = router, ipv6.eui64("fe80::/64", router)

    def frame(self, src=None, dst="ff02::1", hlim=255, mac=None, tags=()):
        made = Ether(src=mac or self.mac, dst=ALL_NODES if dst.startswith("ff") else self.victim_mac)
        for tag in tags:
            made /= tag
        return made / IPv6(src=src or self.own_ll, dst=dst, hlim=hlim)

    @property
    def ra(self):
        return (ICMPv6ND_RA(routerlifetime=1800, prf=1) / ICMPv6NDOptSrcLLAddr(lladdr=self.mac)
                / ICMPv6NDOptPrefixInfo(prefix=ROGUE, prefixlen=64))

    def na(self, target, **options):
        message = ICMPv6ND_NA(tgt=target, R=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=self.mac)
        return self.frame(**options) / message

    def fragments(self, headers, payload, first, **options):
        """Yield two fragments of `headers / payload`, a packet without IPv6; `first`: octets of the first."""
        whole = bytes(IPv6(src=self.own_ll, dst=options.get("dst", "ff02::1")) / headers / payload)
        number, octets = whole[6], whole[40:]
        for offset, part, more in ((0, octets[:first], 1), (first, octets[first:], 0)):
            made = self.frame(**options)
            made[IPv6].nh = 44
            yield made / IPv6ExtHdrFragment(nh=number, offset=offset // 8, m=more, id=77) / Raw(part)


def options():
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])


def rogue_routers(f):
    yield "plain", f.frame() / f.ra
    yield "hop-by-hop", f.frame() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / f.ra
    yield "3 x options", f.frame() / options() / options() / options() / f.ra
    yield "atomic fragment", f.frame() / IPv6ExtHdrFragment(id=7) / f.ra
    yield "hop limit 254", f.frame(hlim=254) / f.ra
    yield "as the gateway", f.frame(f.router_ll) / f.ra
    yield "priority tag", f.frame(tags=[Dot1Q(vlan=0)]) / f.ra
    yield "redirect", (f.frame(f.router_ll, dst=f.victim) / ICMPv6ND_Redirect(tgt=f.own_ll, dst=GATEWAY)
                       / ICMPv6NDOptDstLLAddr(lladdr=f.mac))


def rogue_routers_in_fragments(f):
    for name, first in (("RA in the first", 8), ("RA in the second", 8)):
        headers = options() if name.endswith("second") else options() / options()
        # "RA in the first": the first fragment has options, and the second half of them the rest.
        yield from ((f"{name}, {number}", packet) for number, packet in enumerate(
            f.fragments(headers, f.ra, first if name.endswith("second") else 64)))
    yield from ((f"NA, {number}", packet) for number, packet in enumerate(
        f.fragments(options(), f.na(GATEWAY)[ICMPv6ND_NA], 32)))


def spoofed_targets(f):
    for whose, target in (("gateway", GATEWAY), ("gateway's link-local", f.router_ll), ("itself", f.victim),
                          ("its link-local", f.victim_ll), ("other", "2001:db8:1::77")):
        yield whose, f.na(target)
        yield f"{whose}, unicast", f.na(target, dst=f.victim)
        yield f"{whose}, DAD", f.frame("::", "ff02::1:ff00:1") / ICMPv6ND_NS(tgt=target)


def malformed(f):
    yield "hop limit", f.na(f.own, hlim=254)
    yield "foreign MAC", f.frame() / ICMPv6ND_NA(tgt=f.own, O=1) / ICMPv6NDOptDstLLAddr(lladdr=FOREIGN)
    yield "twice", f.na(GATEWAY) / ICMPv6NDOptDstLLAddr(lladdr=f.mac)
    yield "solicitation", f.frame() / ICMPv6ND_NS(tgt=f.victim) / ICMPv6NDOptSrcLLAddr(lladdr=f.router_mac)


def forged_addresses(f):
    for whose, source in (("victim", f.victim), ("its link-local", f.victim_ll), ("gateway", GATEWAY),
                          ("gateway's link-local", f.router_ll), ("nobody", "2001:db8:1::99"),
                          ("elsewhere", "2001:db8:9::1"), ("unspecified", "::")):
        yield whose, f.frame(source, dst=f.victim, hlim=64) / ICMPv6EchoRequest()
    yield "solicitation", (f.frame(f.router_ll) / ICMPv6ND_NS(tgt=f.victim)
                           / ICMPv6NDOptSrcLLAddr(lladdr=f.mac))


def forged_macs(f):
    for whose, mac in (("foreign", FOREIGN), ("victim's", f.victim_mac), ("gateway's", f.router_mac)):
        yield whose, f.frame(f.own, dst=f.victim, hlim=64, mac=mac) / ICMPv6EchoRequest()


def dhcpv6_server(f):
    reply = UDP(sport=547, dport=546) / DHCP6_Reply(trid=1)
    yield "reply", f.frame(dst=f.victim_ll, hlim=64) / reply
    yield "reply to all", f.frame(hlim=64) / reply
    yield "behind options", f.frame(dst=f.victim_ll) / options() / reply
    first, _ = f.fragments(options(), reply / Raw(bytes(2000)), 1024, dst=f.victim_ll, hlim=64)
    yield "first fragment", first


def tagged(f):
    yield "VLAN", f.frame(tags=[Dot1Q(vlan=9)]) / f.ra
    yield "two priority tags", f.frame(tags=[Dot1Q(vlan=0), Dot1Q(vlan=0)]) / f.ra


ATTACKS = {"ra-guard": rogue_routers, "nd-target": spoofed_targets, "nd-content": malformed,
           "source-address": forged_addresses, "source-mac": forged_macs, "dhcpv6-guard": dhcpv6_server,
           "vlan-tag": tagged}


@pytest.mark.parametrize("reason", ATTACKS)
def test_an_attack_goes_nowhere_and_is_counted(site, reason):
    packets = list(ATTACKS[reason](Frames(site)))
    before, believed = refused(site), known(site)
    assert site["victim"].reaches(GATEWAY, 5) and believed[0] and believed[1]
    assert send(site, packets) == set()
    wanted = before | {reason: before.get(reason, 0) + len(packets)}
    wait_for(lambda: refused(site) == wanted, 5, f"{len(packets)} more of {reason}")
    routes, neighbors, own = known(site)
    assert (routes, own) == (believed[0], believed[2])
    assert {key: neighbors[key] for key in neighbors if believed[1].get(key, neighbors[key]) != neighbors[key]
            } == {}
    assert site["victim"].ping(GATEWAY, count=5).ok
    assert refused(site, "victim") == {}


def test_neighbor_discovery_in_fragments_reaches_no_kernel(site):
    """Of each only the second fragment comes through, which is of no use alone (RFC 7113, section 3)."""
    packets = list(rogue_routers_in_fragments(Frames(site)))
    before, believed = refused(site).get("header-chain", 0), known(site)
    assert {name.rpartition(" ")[2] for name in send(site, packets)} <= {"1"}
    first = len(packets) // 2
    wait_for(lambda: refused(site).get("header-chain") == before + first, 5, "each first fragment")
    assert known(site)[::2] == believed[::2]


def test_what_a_vm_needs_is_not_refused(site):
    f = Frames(site)
    report = IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2()
    before = refused(site)
    arrived = send(site, [
        ("DAD", f.frame("::", "ff02::1:ff00:1") / ICMPv6ND_NS(tgt=f.own)),
        ("DAD, privacy", f.frame("::", "ff02::1:ff00:1") / ICMPv6ND_NS(tgt="2001:db8:1:0:aaaa::78")),
        ("DAD, link-local", f.frame("::", "ff02::1:ff00:1") / ICMPv6ND_NS(tgt="fe80::1234:5678")),
        ("MLDv2 from ::", f.frame("::", "ff02::16", hlim=1) / report),
        ("MLDv1 from ::", f.frame("::", "ff02::1:ff00:1", hlim=1) / ICMPv6MLReport()),
        ("RS from ::", f.frame("::", "ff02::2") / ICMPv6ND_RS()),
        ("RS of another link-local address", f.frame("fe80::1234:5678", "ff02::2") / ICMPv6ND_RS()),
        ("NA", f.na(f.own)),
        ("echo", f.frame(f.own, dst=f.victim, hlim=64) / ICMPv6EchoRequest()),
        ("privacy", f.frame("2001:db8:1:0:aaaa::78", dst=f.victim, hlim=64) / ICMPv6EchoRequest()),
        ("link-local", f.frame("fe80::1234:5678", dst=f.victim, hlim=64) / ICMPv6EchoRequest())])
    assert {"NA", "echo", "privacy", "link-local"} <= arrived
    assert refused(site) == before


def test_an_address_of_an_allowed_prefix_works(site):
    """So do privacy addresses (RFC 8981), where the topology allows the prefix."""
    attacker = site["attacker"]
    attacker.ip(f"addr add {PRIVATE}/64 dev eth0")
    wait_for(lambda: has(attacker, PRIVATE), 10, "no duplicate")
    answer = attacker.run("ping", "-6", "-c3", "-i0.2", "-W5", "-I", PRIVATE, site["victim"].address6).stdout
    assert "3 received" in answer
    assert site["victim"].ping(PRIVATE, count=5).ok
    assert attacker.ping(site["victim"].address6, count=3, size=4000).ok, "fragments of pings pass"
    attacker.ip(f"addr del {PRIVATE}/64 dev eth0")


def test_a_link_local_address_of_the_vms_own_making_works(site):
    """RFC 7217, and Windows: it is not made of the MAC."""
    other, victim = site["other"], site["victim"]
    # Without that its kernel makes a global address of that kind, too, which is not allowed.
    namespaces.sysctl(other.netns, ipv6__conf__eth0__autoconf=0)
    before = refused(site, "other")
    other.ip("link set eth0 down", "link set eth0 addrgenmode random", "link set eth0 up",
             "addr add 2001:db8:1::77/64 dev eth0")

    def random():
        return [address for address in addresses(other)
                if address.startswith("fe80:") and address != link_local(other) and has(other, address)]
    address, = wait_for(random, 10, "a random link-local address")
    answer = victim.run("ping", "-6", "-c3", "-i0.2", "-W5", f"{address}%eth0", check=False).stdout
    assert "3 received" in answer
    neighbor = json.loads(victim.run("ip", "-6", "-j", "neigh", "show", address, "dev", "eth0").stdout)
    assert neighbor[0]["lladdr"] == other.mac
    assert refused(site, "other") == before


def test_a_temporary_address_that_is_not_allowed_is_refused(site):
    other, before = site["other"], refused(site, "other")
    other.ip("addr add 2001:db8:1::7777/64 dev eth0 nodad")
    answer = other.run("ping", "-6", "-c2", "-i0.2", "-W1", "-I", "2001:db8:1::7777",
                       site["victim"].address6, check=False).stdout
    other.ip("addr del 2001:db8:1::7777/64 dev eth0")
    assert " 0 received" in answer
    wait_for(lambda: refused(site, "other").get("source-address", 0) > before.get("source-address", 0), 5,
             "it is counted")


def test_it_holds_while_the_agent_does_not_run_and_all_is_counted(site):
    f = Frames(site)
    before, believed = refused(site), known(site)
    site.agent.stop()
    assert send(site, [("RA", f.frame() / f.ra), ("NA", f.na(GATEWAY))]) == set()
    assert known(site)[::2] == believed[::2]
    site.agent.start()
    wait_for(lambda: refused(site) == before | {"ra-guard": before["ra-guard"] + 1,
                                                "nd-target": before["nd-target"] + 1}, 10, "both are counted")


def test_without_port_security_and_guards_the_attacks_work(make_lab):
    """The victim's kernel is deceived then: so the tests above look at the right things."""
    lab = make_lab(standard=False, config={
        "metrics": METRICS, "ports": {"port_security": "false", "ra_guard": "none", "dhcpv6_guard": "none"}})
    ipv6.add_router(lab, "router")
    ipv6.add_network(lab, "one", PREFIX, router="router", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    lab.agent.start()
    for name in ("attacker", "victim"):
        ipv6.add_vm(lab, name, "one", configured=False)
        wait_for(lambda name=name: has(lab[name], lab[name].address6), 20, "addresses by SLAAC")
    assert lab["victim"].reaches(GATEWAY, 10)
    f = Frames(lab)
    assert send(lab, [("RA", f.frame() / f.ra), ("NA", f.na(GATEWAY)), ("echo", f.frame(
        "2001:db8:9::1", dst=f.victim, hlim=64) / ICMPv6EchoRequest())]) == {"RA", "NA", "echo"}

    def deceived() -> bool:
        routes, neighbors, own = known(lab)
        if neighbors.get(GATEWAY) != f.mac:  # the router has answered a solicitation meanwhile
            send(lab, [("NA", f.na(GATEWAY))])
        return (f.own_ll in routes and any(address.startswith(ROGUE[:-2]) for address in own)
                and neighbors.get(GATEWAY) == f.mac)

    wait_for(deceived, 20, "a victim that is deceived")
    # Switched on while it runs, they hold from then on.
    lab.agent.config["ports"].clear()
    lab.agent.write_config()
    lab.agent.signal(signal.SIGHUP)
    wait_for(lambda: re.search(rf"table=190,.*dl_src={f.mac}", lab.flows()), 10, "flows")
    assert send(lab, [("RA", f.frame() / f.ra), ("NA", f.na(GATEWAY))]) == set()


@pytest.fixture(scope="module")
def plain(make_module_lab):
    """An attacker and a victim without a router, whose addresses are set by hand."""
    lab = make_module_lab(standard=False, config={"metrics": METRICS})
    ipv6.add_router(lab, "router")
    ipv6.add_network(lab, "one", PREFIX, router="router")
    lab.agent.start()
    for name in ("attacker", "victim"):
        ipv6.add_vm(lab, name, "one")
        wait_for(lambda name=name: has(lab[name], lab[name].address6), 20, "no duplicate of its address")
    assert lab["attacker"].reaches(lab["victim"].address6, 10)
    return lab


def set_vlans(lab, tag, mode):
    for name in ("attacker", "victim"):
        lab.ovs.vsctl("set", "Port", lab[name].interface, f"tag={tag}", f"vlan_mode={mode}")


def test_no_tag_leads_around_it_in_an_access_vlan(plain):
    """NORMAL would strip a first tag with VLAN ID 0 and deliver what is behind it to the VLAN."""
    set_vlans(plain, 7, "[]")
    f = Frames(plain)
    echo = f.frame(f.own, dst=f.victim, hlim=64) / ICMPv6EchoRequest()
    wait_for(lambda: send(plain, [("echo", echo)]) == {"echo"}, 10, "both are in the VLAN")
    before = refused(plain)
    attempted = [*tagged(f), ("own VLAN", f.frame(tags=[Dot1Q(vlan=7)]) / f.ra),
                 ("S-VLAN", f.frame(tags=[Dot1Q(vlan=0), Dot1Q(vlan=7)]) / f.ra), ("plain", f.frame() / f.ra)]
    assert send(plain, attempted) == set()
    wait_for(lambda: refused(plain) == before | {"vlan-tag": before.get("vlan-tag", 0) + 4,
                                                 "ra-guard": before.get("ra-guard", 0) + 1}, 5, "counted")


def test_the_vlans_of_a_trunk_work_as_before(plain):
    set_vlans(plain, "[]", "trunk")
    f = Frames(plain)
    frames = [(f"VLAN {vlan}", f.frame(tags=[Dot1Q(vlan=vlan)]) / f.ra) for vlan in (9, 10)]
    wait_for(lambda: send(plain, frames) == {"VLAN 9", "VLAN 10"}, 10, "they arrive")
    before = refused(plain)
    assert send(plain, [("RA", f.frame() / f.ra)]) == set(), "what has no tag is still looked at"
    wait_for(lambda: refused(plain) == before | {"ra-guard": before.get("ra-guard", 0) + 1}, 5, "counted")
