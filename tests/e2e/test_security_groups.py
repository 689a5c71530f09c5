# SPDX-License-Identifier: Apache-2.0
"""Security groups between VMs with both IPs, with the kernels' own TCP, UDP and ICMP."""

import sys
import time
from ipaddress import ip_network

import pytest

from lab import ipv6
from lab.daemon import wait_for
from lab.node import Node
from lab.traffic import HTTP_PORT, LINES_PORT, UDP_PORT

EFFECTIVE = 10
ANY = [{"direction": "egress", "ethertype": "IPv4"}, {"direction": "egress", "ethertype": "IPv6"}]
"""What Neutron gives a new group: all may leave."""



def rule(direction: str, ethertype: str, protocol: str | None = None, first=None, last=None,
         **remote) -> dict:
    ports = {"port_range_min": first, "port_range_max": last if last is not None else first}
    found = {"direction": direction, "ethertype": ethertype, "protocol": protocol, **ports, **remote}
    return {key: value for key, value in found.items() if value is not None}


def both(direction: str, protocol: str | None = None, first=None, last=None, **remote) -> list[dict]:
    """Return the rule for IPv4 and for IPv6."""
    return [rule(direction, ethertype, protocol, first, last, **remote) for ethertype in ("IPv4", "IPv6")]


PING = [rule("ingress", "IPv4", "icmp", 8, 0), rule("ingress", "IPv6", "ipv6-icmp", 128, 0)]
HTTP = both("ingress", "tcp", HTTP_PORT)


def set_rules(lab, group: str, *rules: dict, **attributes) -> None:
    """Give a group these rules; it is made if it is new."""
    named = [{"id": lab.topology.id("rules", f"{group} {number} {each}"), **each}
             for number, each in enumerate(rules)]
    try:
        lab.topology.update("security_groups", group, rules=named, **attributes)
    except KeyError:
        lab.topology.add("security_groups", group, rules=named, **attributes)


def group_id(lab, name: str) -> str:
    return lab.topology.id("security_groups", name)


def add_network(lab, name: str, number: int, router: str | None = None) -> None:
    ipv6.add_network(lab, name, f"2001:db8:{number}::/64", router=router)
    lab.topology.add_subnet(f"subnet4-{name}", f"net-{name}", f"10.{number}.0.0/24")


def add_vm(lab, name: str, network: str, host: int, *groups: str, tag: int | None = None, **port) -> Node:
    """Add a VM with the IPv4 and IPv6 address with this number, which serves everything."""
    prefix = ip_network(lab.topology.find("subnets", f"subnet-{network}")["cidr"])
    address6 = str(prefix[host])
    address4 = str(ip_network(lab.topology.find("subnets", f"subnet4-{network}")["cidr"])[host])
    with lab.topology.batch() as topology:
        node = ipv6.add_vm(lab, name, network, address6, bind=False, tag=tag,
                           security_groups=[group_id(lab, group) for group in groups], **port)
        topology.set_port_addresses(name, {f"subnet-{network}": address6, f"subnet4-{network}": address4})
    node.address4 = address4
    node.ip(f"addr add {address4}/24 dev eth0", f"route add default via {prefix[1]} dev eth0")
    lab.bind(name)
    node.serve("::")
    return node


def reaches_http(node: Node, address: str, timeout: float = 1) -> bool:
    try:
        return node.http_get(address, timeout=timeout)["status"] == 200
    except RuntimeError:
        return False


def addresses(node: Node) -> tuple[str, str]:
    return node.address4, node.address6


@pytest.fixture(scope="module")
def site(make_module_lab):
    """VMs of two networks behind a router. Of net-one: client, server, open (without groups)."""
    lab = make_module_lab(standard=False)
    ipv6.add_router(lab, "router")
    add_network(lab, "one", 1, router="router")
    add_network(lab, "two", 2, router="router")
    set_rules(lab, "nothing")
    set_rules(lab, "out", *ANY)
    set_rules(lab, "web", *ANY, *HTTP)
    lab.agent.start()
    add_vm(lab, "client", "one", 10, "out")
    add_vm(lab, "server", "one", 11, "web")
    add_vm(lab, "mute", "one", 12, "nothing")
    add_vm(lab, "open", "one", 13)
    add_vm(lab, "far", "two", 20, "web")
    wait_for(lambda: reaches_http(lab["client"], lab["server"].address6), 30, "the server")
    return lab


@pytest.fixture(autouse=True)
def rules_as_before(request):
    if "site" not in request.fixturenames:
        yield
        return
    site = request.getfixturevalue("site")
    yield
    with site.topology.batch():
        set_rules(site, "nothing")
        set_rules(site, "out", *ANY)
        set_rules(site, "web", *ANY, *HTTP)


def test_only_what_a_rule_lets_through_comes_in(site):
    client, server = site["client"], site["server"]
    for address in addresses(server):
        assert reaches_http(client, address)
        assert not client.reaches(address, 0.5), "ping"
        assert client.udp(address, size=100, timeout=0.5)["equal"] == 0


def test_a_port_without_rules_sends_and_gets_nothing(site):
    mute, server = site["mute"], site["server"]
    for address in addresses(server):
        assert not reaches_http(mute, address)
    for address in addresses(mute):
        assert not site["open"].reaches(address, 0.5)


def test_neighbor_discovery_passes_a_group_without_rules(site):
    mute, other = site["mute"], site["open"]
    other.run("ip", "-6", "neigh", "flush", "dev", "eth0")
    other.reaches(mute.address6, 0.5)
    found = other.run("ip", "-6", "neigh", "show", mute.address6).stdout
    assert mute.mac in found


def test_a_port_without_groups_is_not_filtered(site):
    for address in addresses(site["open"]):
        assert site["client"].ping(address, count=20).ok
    for address in addresses(site["server"]):
        assert reaches_http(site["open"], address)
        assert not site["open"].reaches(address, 0.5)


def test_rules_see_what_is_routed(site):
    client, far = site["client"], site["far"]
    wait_for(lambda: reaches_http(client, far.address6), EFFECTIVE, "far")
    assert not client.reaches(far.address6, 0.5)


def test_a_rule_that_comes_and_goes(site):
    client, server = site["client"], site["server"]
    set_rules(site, "web", *ANY, *HTTP, *PING)
    for address in addresses(server):
        wait_for(lambda address=address: client.reaches(address), EFFECTIVE, "an answer")
        assert client.ping(address, count=50).ok
    pings = [client.start_ping(address) for address in addresses(server)]
    time.sleep(1)
    set_rules(site, "web", *ANY, *HTTP)
    time.sleep(3)
    for ping in pings:
        found = ping.stop()
        assert found.received > 50 and found.lost, "established pings end"
        assert found.lost == list(range(found.lost[0], found.sent)), "for good"


def test_a_rule_that_goes_cuts_an_established_tcp_connection_and_it_comes_back_with_it(site):
    client, server = site["client"], site["server"]
    allowed = [*ANY, *HTTP, *both("ingress", "tcp", LINES_PORT)]
    set_rules(site, "web", *allowed)
    for address in addresses(server):
        wait_for(lambda address=address: client.lines(address, ("x",), count=1), EFFECTIVE, "lines")
    running = [client.start_traffic("lines", address, "--count", 20000, "--timeout", 40)
               for address in addresses(server)]
    time.sleep(0.5)
    set_rules(site, "web", *ANY, *HTTP)
    time.sleep(3)
    assert all(process.poll() is None for process in running), "they wait"
    before = [entry for entry in server.received("lines")]
    set_rules(site, "web", *allowed)
    for process in running:
        found = client.finish(process, 60)
        assert found["equal"] == found["sent"] == 20000
    assert len(server.received("lines")) >= len(before)


def test_a_change_of_rules_loses_no_packet_of_what_stays_allowed(site):
    client, server = site["client"], site["server"]
    set_rules(site, "web", *ANY, *PING)
    for address in addresses(server):
        wait_for(lambda address=address: client.reaches(address), EFFECTIVE, "an answer")
    pings = [client.start_ping(address, interval=0.002) for address in addresses(server)]
    for number in range(10):
        more = both("ingress", "tcp", 1000 + number, 2000 + 7 * number)
        everything = both("ingress", "udp") if number % 2 else both("ingress", "icmp" if number % 4 else None)
        set_rules(site, "web", *ANY, *PING, *more, *everything[:1])
        time.sleep(0.2)
    for ping in pings:
        found = ping.stop()
        assert found.ok and found.sent > 500


def test_ipv4_from_addresses_of_others_does_not_pass(site):
    client, other = site["client"], site["open"]

    def answered(source: str) -> bool:
        return client.run("ping", "-c1", "-W1", "-I", source, other.address4, check=False).returncode == 0

    client.ip("addr add 10.1.0.99/24 dev eth0")
    try:
        assert answered(client.address4)
        assert not answered("10.1.0.99")
        site.topology.update("ports", "client", allowed_address_pairs=[{"ip_address": "10.1.0.96/28"}])
        wait_for(lambda: answered("10.1.0.99"), EFFECTIVE, "the address of a pair")
    finally:
        client.ip("addr del 10.1.0.99/24 dev eth0")
        site.topology.update("ports", "client", allowed_address_pairs=None)


def test_fragments_pass_as_their_first_one_does(site):
    client, server = site["client"], site["server"]
    for address in addresses(server):
        assert client.udp(address, size=8000, timeout=0.5)["equal"] == 0
    set_rules(site, "web", *ANY, *both("ingress", "udp", UDP_PORT))
    for address in addresses(server):
        wait_for(lambda address=address: client.udp(address, size=100, timeout=1)["equal"], EFFECTIVE, "UDP")
        assert client.udp(address, size=8000, count=5)["equal"] == 5


def test_a_remote_group_is_its_members(site):
    client, server = site["client"], site["server"]
    members = group_id(site, "out")
    set_rules(site, "web", *ANY, *both("ingress", "icmp", remote_group_id=members))
    for address in addresses(server):
        wait_for(lambda address=address: client.reaches(address), EFFECTIVE, "an answer")
        assert not site["open"].reaches(address, 0.5)
    site.topology.update("ports", "open", security_groups=[members])
    for address in addresses(server):
        wait_for(lambda address=address: site["open"].reaches(address), EFFECTIVE, "an answer")
    site.topology.update("ports", "open", security_groups=None)
    for address in addresses(server):
        wait_for(lambda address=address: not site["open"].reaches(address, 0.3), EFFECTIVE, "no answer")
        assert client.reaches(address)


def test_a_restart_of_the_agent_loses_no_packet_and_changes_no_flow(site):
    client, server = site["client"], site["server"]
    set_rules(site, "web", *ANY, *PING, *both("ingress", "tcp", LINES_PORT))
    for address in addresses(server):
        wait_for(lambda address=address: client.lines(address, ("x",), count=1), EFFECTIVE, "lines")

    def established() -> set[str]:
        entries = site.ovs.appctl("dpctl/dump-conntrack").stdout.splitlines()
        return {entry for entry in entries if "state=ESTABLISHED" in entry}

    running = [client.start_traffic("lines", address, "--count", 100000, "--timeout", 40)
               for address in addresses(server)]
    pings = [client.start_ping(address) for address in addresses(server)]
    time.sleep(1)
    before, count = established(), len(site.flows().splitlines())
    site.agent.stop()
    site.agent.start()
    time.sleep(3)
    assert all(ping.stop().ok for ping in pings)
    assert len(before) == 2 and before <= established()
    assert all(process.poll() is None for process in running)
    after = site.ovs.ofctl("dump-flows", site.bridge).stdout
    assert len(site.flows().splitlines()) == count
    assert min(float(part.split("s")[0]) for part in after.split("duration=")[1:]) > 3
    for process in running:
        process.kill()


def test_stateless_groups_need_rules_for_answers(site):
    client, server = site["client"], site["server"]
    allowed = [*ANY, *both("ingress", "udp", UDP_PORT), *HTTP]
    set_rules(site, "web", *allowed)
    set_rules(site, "out", *ANY, stateful=False)
    for address in addresses(server):
        wait_for(lambda address=address: not client.udp(address, size=100, timeout=0.5)["equal"], EFFECTIVE,
                 "no answer")
    set_rules(site, "out", *ANY, *both("ingress", "udp", 1024, 65535), stateful=False)
    for address in addresses(server):
        wait_for(lambda address=address: client.udp(address, size=100, timeout=0.5)["equal"], EFFECTIVE,
                 "an answer")
    # The server's own groups are stateful, so they know the connection: its answers need no rule.
    set_rules(site, "web", *both("ingress", "udp", UDP_PORT))
    time.sleep(1)
    assert all(client.udp(address, size=100, timeout=1)["equal"] for address in addresses(server))
    set_rules(site, "web", *both("ingress", "udp", UDP_PORT), stateful=False)
    for address in addresses(server):
        wait_for(lambda address=address: not client.udp(address, size=100, timeout=0.5)["equal"], EFFECTIVE,
                 "no answer")
    set_rules(site, "web", *ANY, stateful=True)
    set_rules(site, "out", *ANY, stateful=True)


_ERROR = """
import sys
from scapy.all import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6, Raw, conf, send
conf.verb = 0
kind, receiver, own, its_port, own_port, length = sys.argv[1:]
header = bytes(IPv6(src=receiver, dst=own, plen=20, nh=6))
ports = int(its_port).to_bytes(2, "big") + int(own_port).to_bytes(2, "big")
quoted = header + ports.ljust(int(length), b"\\0")
error = ICMPv6PacketTooBig(mtu=1300) if kind == "too-big" else ICMPv6DestUnreach()
send(IPv6(src=own, dst=receiver) / error / Raw(quoted))
"""


def test_errors_about_a_connection_pass_and_about_none_do_not(site):
    """Packet Too Big passes also if it quotes less than a TCP header (RFC 4890, section 4.3.1)."""
    client, server = site["client"], site["server"]
    set_rules(site, "web", *ANY, *both("ingress", "tcp", LINES_PORT))
    wait_for(lambda: client.lines(server.address6, ("x",), count=1), EFFECTIVE, "lines")
    running = client.start_traffic("lines", server.address6, "--count", 100000, "--timeout", 40)
    time.sleep(1)
    sockets = client.run("ss", "-Htn", "dst", f"[{server.address6}]:{LINES_PORT}").stdout.split()
    port = int(sockets[3].rpartition(":")[2])

    def received() -> tuple[int, int]:
        words = server.run("cat", "/proc/net/snmp6").stdout.split()
        return tuple(int(words[words.index(f"Icmp6In{name}") + 1]) for name in ("PktTooBigs", "DestUnreachs"))

    def send(kind: str, its_port: int, own_port: int, length: int) -> None:
        client.run(sys.executable, "-c", _ERROR, kind, server.address6, client.address6,
                   *map(str, (its_port, own_port, length)))

    before = received()
    send("unreachable", LINES_PORT, 9, 20)
    time.sleep(0.5)
    assert received() == before
    send("unreachable", LINES_PORT, port, 20)
    wait_for(lambda: received() == (before[0], before[1] + 1), 5, "the unreachable")
    send("too-big", LINES_PORT, port, 8)
    wait_for(lambda: received() == (before[0] + 1, before[1] + 1), 5, "the packet too big")
    running.kill()


def test_connections_of_a_network_are_limited(make_lab):
    lab = make_lab(standard=False, config={"ports": {"conntrack_limit": 20}})
    add_network(lab, "one", 1)
    set_rules(lab, "all", *ANY, *both("ingress"))
    lab.agent.start()
    client, server = add_vm(lab, "client", "one", 10, "all"), add_vm(lab, "server", "one", 11, "all")
    wait_for(lambda: reaches_http(client, server.address6), 30, "the server")
    for _ in range(30):
        client.udp(server.address6, size=10, timeout=0.05)
        client.udp(server.address4, size=10, timeout=0.05)
    limits = lab.ovs.appctl("dpctl/ct-get-limits").stdout.splitlines()[1:]
    _, limit, count = (int(part.partition("=")[2]) for part in limits[0].split(","))
    assert len(limits) == 1 and limit == 20 and 0 < count <= 20
    lab.topology.update("ports", "client", security_groups=None)
    lab.topology.update("ports", "server", security_groups=None)
    wait_for(lambda: len(lab.ovs.appctl("dpctl/ct-get-limits").stdout.splitlines()) == 1, 10, "no limit")


@pytest.mark.parametrize("tag", [None, 7], ids=["no VLAN", "access VLAN"])
def test_what_comes_from_elsewhere_passes_the_groups_too(make_lab, tag):
    """From a machine that is no port of the topology, and in a VLAN of its own."""
    lab = make_lab(standard=False)
    add_network(lab, "one", 1)
    set_rules(lab, "web", *ANY, *HTTP)
    lab.agent.start()
    server = add_vm(lab, "server", "one", 11, "web", tag=tag)
    near = lab.add_bridge_host("near", "10.1.0.50/24", "2001:db8:1::50/64")
    apart = lab.add_bridge_host("apart", "10.1.0.51/24", "2001:db8:1::51/64")
    lab.ovs.vsctl("set", "Port", apart.interface, "tag=99")
    if tag:
        lab.ovs.vsctl("set", "Port", near.interface, f"tag={tag}")
    served = addresses(server) if tag else (server.address4,)  # IPv6 without a VLAN stays among served ports
    for address in served:
        wait_for(lambda address=address: reaches_http(near, address), 20, "the server")
        assert not near.reaches(address, 0.5), "ping"
    for address in ("10.1.0.50", "2001:db8:1::50")[:len(served)]:
        assert server.reaches(address, 5), "answers to the VM need no rule"
    for address in served:
        assert not reaches_http(apart, address)
    assert not server.reaches("10.1.0.51", 0.5)
