# SPDX-License-Identifier: Apache-2.0
"""Packets that come in, the whole way: a feature and a service from outside, a real OVS, real packets."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
from scapy.layers.l2 import Ether

from fip64agent import hub
from fip64agent.plan.desired import NOTHING, Desired, Gateway
from fip64agent.reconcile import diff
from fip64agent.services import base as services
from fip64agent.switch import features, packets, periodic, stages
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.examples import HOST
from fip64agent.switch.flows.flow import IPV6, Flow, Resubmit, SetField, to_controller
from fip64agent.switch.pipeline import CLASSIFIER, NEIGHBOR, REG_REASON
from fip64agent.switch.stages import REG_NETWORK, REG_PORT
from lab import answering, solicit
from lab.netns import call_in
from lab.node import REPOSITORY
from lab.shell import inside, run
from tests.functional.switch.conftest import BRIDGE, until

VMS = {"one": 21, "two": 22}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Another package has brought a feature and a service."""
    answering.install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def clear_caches():
        for function in (features.features, features._by_kind, features._names, features.tables,
                         services.services):
            function.cache_clear()

    clear_caches()
    yield
    clear_caches()
    sys.modules.pop("outside_package", None)


def gateway(name):
    return Gateway(f"vm-{name}", IPv4Address("10.0.0.1"), f"fa:16:3e:00:00:{VMS[name]:02x}", VMS[name],
                   solicit.MAC, answers=False, isolates=False)


PLAN = Desired.of_objects(map(gateway, VMS))


class Site:
    """Two VMs' ports on the bridge, and a room with the plan."""

    def __init__(self, wired, netns, **options):
        self.netns = netns
        for name, number in VMS.items():
            run("ip", "link", "add", "dev", f"tap-{name}", "type", "veth", "peer", "name", name,
                netns=wired.ovs.netns)
            run("ip", "link", "set", name, "netns", netns, netns=wired.ovs.netns)
            run("ip", "link", "set", f"tap-{name}", "up", netns=wired.ovs.netns)
            for setting in ("disable_ipv6=1",):
                run("sysctl", "-qw", f"net.ipv6.conf.{name}.{setting}", netns=netns)
            run("ip", "link", "set", name, "up", netns=netns)
            wired.ovs.vsctl("add-port", BRIDGE, f"tap-{name}", "--", "set", "interface", f"tap-{name}",
                            f"ofport_request={number}")
        self.room = wired.room(**options)
        self.ovs = wired.ovs
        self.plan = NOTHING

    def use(self, plan):
        """Make a plan the one in force, and install it."""
        objects = [HOST, *plan.gateways.values()] if plan.gateways else []
        wanted = [item for obj in objects for item in self.room.expand(obj)]
        work = diff.whole(wanted, self.room.actual())
        self.room.plan_changed(self.plan, plan)
        self.plan = plan
        assert self.room.apply(work.apply) == {}
        assert self.room.prune(work.prune) == {}
        assert not diff.whole(wanted, self.room.actual())

    def popen(self, *argv):
        return subprocess.Popen(inside(self.netns, [sys.executable, "-m", "lab.solicit", *map(str, argv)]),
                                cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)

    def ask(self, name, seconds=1.0, window=1, per_second=100.0):
        return self.finish(self.popen("ask", name, seconds, window, per_second))

    @staticmethod
    def finish(process):
        with process:
            return json.loads(hub.offload(process.communicate)[0])

    def send(self, name, *frames):
        sock = call_in(self.netns, solicit._open, name)
        with sock:
            for frame in frames:
                sock.send(frame)

    def counts(self, name):
        return {reason: count for (ofport, reason), count in self.room.packet_in_counters().items()
                if ofport == VMS[name]}


@pytest.fixture
def site(installed, wired, netns):
    return Site(wired, netns("vms"), packet_in_rate=1000, packet_in_burst=100)


def test_a_service_from_outside_answers(site):
    site.use(PLAN)
    sock = call_in(site.netns, solicit._open, "one")
    with sock:
        sock.send(solicit.solicitation(5))
        sock.setblocking(True)
        sock.settimeout(5)
        packet = Ether(hub.offload(lambda: next(frame for frame in iter(lambda: sock.recv(2048), b"")
                                                if frame[6:12].hex(":") == gateway("one").mac)))
    assert (packet.dst, packet[ICMPv6ND_NA].tgt) == (solicit.MAC, "2001:db8:a::5")
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == gateway("one").mac
    assert site.counts("one")[packets.HANDLED] >= 1
    answers = site.ask("two")
    assert len(answers["took"]) > 50 and not answers["lost"]
    rows = [row for row in site.room.dump([vm.key for vm in PLAN.gateways.values()])
            if row["feature"] == "outside"]
    assert {row["owner"] for row in rows} == {"gateway:vm-one:10.0.0.1", "gateway:vm-two:10.0.0.1"}


def test_a_handler_gets_the_object_that_its_port_has_now(site):
    site.use(PLAN)
    assert site.ask("one")["took"]
    one = gateway("one")
    changed = dataclasses.replace(one, mac="fa:16:3e:00:00:77")
    site.use(Desired.of_objects((dict(PLAN.gateways) | {one.key: changed}).values()))
    assert site.room._packet_ins._objects[answering.NUMBER, 21] == changed
    site.room.plan_changed(site.plan, NOTHING)  # gone from the plan, its flow not yet
    assert not site.ask("one")["took"]
    assert site.counts("one")[packets.UNKNOWN_PORT] > 0


def test_the_reason_in_a_register_comes_with_the_packet(site):
    """And the packet as the VM sent it: the service gets it for its answer."""
    arrivals = []
    number = features.features()[answering.NAME].number

    def note(packet, vm, arrival):
        arrivals.append(arrival)
        return ()

    site.room._packet_ins._services[number] = dataclasses.replace(answering.SERVICE, handle=note,
                                                                  takes_arrival=True)
    site.use(PLAN)
    sends = Flow(CLASSIFIER, NEIGHBOR + 1, (("in_port", 21), IPV6), (
        SetField(REG_NETWORK, 0x8001), SetField(REG_PORT, 21), SetField(REG_REASON, 0x0305),
        SetField("reg5", 1), SetField("reg15", 7), Resubmit(stages.AGENT)), answering.NAME, ("host",))
    errors = Flow(stages.AGENT, 1, (), (to_controller(number, 21),), answering.NAME, ("host",))
    assert site.room.apply([(None, codec.encode(flow)) for flow in (sends, errors)]) == {}
    frame = solicit.solicitation(5)
    site.send("one", frame)
    until(lambda: arrivals)
    assert arrivals[0] == services.Arrival(21, 0x0305, frame)
    site.send("two", frame)
    until(lambda: len(arrivals) == 2)
    assert arrivals[1] == services.Arrival(22, 0, frame)


def test_a_service_sends_without_being_asked_to_several_ports(wired, netns, installed, monkeypatch):
    """When its object appears, and when it goes; to both VMs, by one message."""
    def tell(vm, occasion):
        data = solicit.solicitation(5)[:-1] + bytes([len(occasion.event.value)])
        return services.Turn((services.Outgoing(data, tuple(VMS.values())),))

    found = {answering.NAME: dataclasses.replace(answering.SERVICE, unsolicited=tell)}
    monkeypatch.setattr(periodic, "services", lambda: found)
    site = Site(wired, netns("vms"))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(call_in(site.netns, solicit._open, name)) for name in VMS]
        for plan, event in ((Desired.of_objects([gateway("one")]), "appeared"), (NOTHING, "gone")):
            site.use(plan)
            for sock in socks:
                sock.settimeout(5)
                got = hub.offload(lambda sock=sock: next(frame for frame in iter(lambda: sock.recv(2048), b"")
                                                         if frame[6:12].hex(":") == solicit.MAC))
                assert got[-1] == len(event)


def test_meters_come_and_go_with_their_flows(site):
    site.use(PLAN)
    found = {item for item in site.room.actual().values() if isinstance(item, MeterItem)}
    assert {(item.rate, item.burst) for item in found} == {(1000, 100)} and len(found) == 2
    site.use(Desired.of_objects([gateway("two")]))
    assert len([item for item in site.room.actual().values() if isinstance(item, MeterItem)]) == 1
    site.use(NOTHING)
    assert not any(isinstance(item, MeterItem) for item in site.room.actual().values())


def test_a_handler_that_fails_harms_nobody(site, caplog):
    site.use(PLAN)
    site.send("one", *[solicit.solicitation(answering.FAULTY)] * 5)
    until(lambda: site.counts("one").get(packets.FAILED) == 5)
    told = [record for record in caplog.records if "a fault of the service" in str(record.exc_info)]
    assert len(told) == 1 and "flow feature outside failed" in told[0].getMessage()
    for name in VMS:
        answers = site.ask(name)
        assert len(answers["took"]) > 50 and not answers["lost"]


def test_a_handler_that_takes_long_is_suspended_for_its_port(site, caplog):
    site.use(PLAN)
    site.send("one", *[solicit.solicitation(answering.SLOW)] * 20)
    until(lambda: site.counts("one").get(packets.SUSPENDED, 0) >= 15)
    assert site.counts("one")[packets.SLOW] >= 1
    assert sum("took too long" in record.getMessage() for record in caplog.records) == 1
    answers = site.ask("two")
    assert len(answers["took"]) > 10 and not answers["lost"]
    until(lambda: site.ask("one")["took"])


def test_bytes_that_are_no_packet_are_counted(site):
    site.use(PLAN)
    head = bytes.fromhex("fa163e000001" "020000000099" "86dd")
    broken = bytearray(solicit.solicitation(5))
    broken[-1] ^= 1
    site.send("one", head + b"\xff" * 60, head + bytes(46), bytes(broken))
    until(lambda: site.counts("one").get(packets.UNPARSABLE) == 3)
    assert site.ask("one")["took"]


def test_a_flood_of_one_port_does_not_delay_another(site):
    site.use(PLAN)
    flood = site.popen("flood", "one", 4, 20_000)
    hub.sleep(0.5)
    answers = site.ask("two", 2)
    sent = site.finish(flood)["sent"]
    # How many and how quickly is measured by bench/packetin.py: here the machine may be busy.
    assert sent > 2_000
    assert len(answers["took"]) > 10 and not answers["lost"]
    handled = sum(site.counts("one").values())
    assert handled < sent / 2  # the meter lets 1,000 a second through


def test_packets_of_other_systems_do_not_come_to_us(site):
    site.use(PLAN)
    site.ovs.ofctl("add-flow", BRIDGE, "cookie=0xabc,priority=60000,in_port=21,ipv6,actions=controller")
    assert not site.ask("one")["took"]
    assert site.counts("one") == {}


def test_how_the_switch_takes_fragments_is_not_our_business(bench):
    bench.ovs.ofctl("set-frags", BRIDGE, "nx-match")
    room = bench.room()
    until(lambda: bench.changes)
    assert room.warnings() == []
    assert bench.ovs.ofctl("get-frags", BRIDGE).stdout.strip() == "nx-match"


def test_the_switch_may_restart(site):
    site.use(PLAN)
    before = site.room._connection.channel
    site.ovs.restart_vswitchd()
    until(lambda: site.room.ready() is None and site.room._connection.channel is not before)
    site.use(PLAN)
    assert site.ask("one")["took"]


def test_two_services_for_one_feature_are_refused(installed, tmp_path):
    with open(next(tmp_path.glob("*.dist-info")) / "entry_points.txt", "a") as lines:
        lines.write("again = outside_package:SERVICE\n")
    with pytest.raises(ValueError, match="flow feature outside has a service already"):
        services.services()


@pytest.mark.parametrize(("line", "reason"), [
    ("FLOWS = dataclasses.replace(FLOWS, number=2)", "number 2 is that of redirect"),
    ("FLOWS = dataclasses.replace(FLOWS, name='arp')", "name arp is that of arp"),
    ("FLOWS = dataclasses.replace(FLOWS, number=256)", "not from 1 to 255"),
    ("FLOWS = dataclasses.replace(FLOWS, tables=(pipeline.Table(0, 'x', '', '', '', ''),))",
     "table 0 is that of the pipeline")])
def test_features_that_claim_what_others_have_are_refused(installed, tmp_path, line, reason):
    with open(tmp_path / "outside_package.py", "a") as lines:
        lines.write(f"import dataclasses\nfrom fip64agent.switch import pipeline\n{line}\n")
    with pytest.raises(ValueError, match=reason):
        features.features()
