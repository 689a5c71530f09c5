# SPDX-License-Identifier: Apache-2.0
"""Packets that come in, the whole way: a feature and a service from outside, a real OVS, real packets."""

import contextlib
import dataclasses
import json
import subprocess
import sys

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
from scapy.layers.l2 import Ether

from fip64agent import hub
from fip64agent.plan import kinds
from fip64agent.plan.desired import NOTHING, Desired
from fip64agent.reconcile import diff
from fip64agent.reconcile.loop import Loop
from fip64agent.services import base as services
from fip64agent.switch import features, packets, periodic, stages
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.examples import HOST
from fip64agent.switch.flows.flow import IPV6, Flow, Learn, Output, Resubmit, SetField, to_controller
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
        for function in (kinds.features, kinds.kinds, features.features, features._by_kind, features._names,
                         features.tables, services.services):
            function.cache_clear()

    clear_caches()
    yield
    clear_caches()
    sys.modules.pop("outside_package", None)


def answered(name):
    return answering.Answered(f"vm-{name}", VMS[name], f"fa:16:3e:00:00:{VMS[name]:02x}")


def plan(*objects):
    return Desired.of_objects(objects)


BOTH = [answered(name) for name in VMS]


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
        objects = [HOST, *found.values()] if (found := plan.of(answering.NAME)) else []
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
    site.use(plan(*BOTH))
    sock = call_in(site.netns, solicit._open, "one")
    with sock:
        sock.send(solicit.solicitation(5))
        sock.setblocking(True)
        sock.settimeout(5)
        packet = Ether(hub.offload(lambda: next(frame for frame in iter(lambda: sock.recv(2048), b"")
                                                if frame[6:12].hex(":") == answered("one").mac)))
    assert (packet.dst, packet[ICMPv6ND_NA].tgt) == (solicit.MAC, "2001:db8:a::5")
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == answered("one").mac
    assert site.counts("one")[packets.HANDLED] >= 1
    answers = site.ask("two")
    assert len(answers["took"]) > 50 and not answers["lost"]
    rows = [row for row in site.room.dump([vm.key for vm in BOTH])
            if row["feature"] == "outside"]
    assert {row["owner"] for row in rows} == {"outside:vm-one", "outside:vm-two"}


def test_a_handler_gets_the_object_that_its_port_has_now(site):
    site.use(plan(*BOTH))
    assert site.ask("one")["took"]
    changed = dataclasses.replace(answered("one"), mac="fa:16:3e:00:00:77")
    site.use(plan(changed, answered("two")))
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
    site.use(plan(*BOTH))
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
        for wanted, event in ((plan(answered("one")), "appeared"), (NOTHING, "gone")):
            site.use(wanted)
            for sock in socks:
                sock.settimeout(5)
                got = hub.offload(lambda sock=sock: next(frame for frame in iter(lambda: sock.recv(2048), b"")
                                                         if frame[6:12].hex(":") == solicit.MAC))
                assert got[-1] == len(event)


def test_meters_come_and_go_with_their_flows(site):
    site.use(plan(*BOTH))
    found = {item for item in site.room.actual().values() if isinstance(item, MeterItem)}
    assert {(item.rate, item.burst) for item in found} == {(1000, 100)} and len(found) == 2
    site.use(plan(answered("two")))
    assert len([item for item in site.room.actual().values() if isinstance(item, MeterItem)]) == 1
    site.use(NOTHING)
    assert not any(isinstance(item, MeterItem) for item in site.room.actual().values())


def flood(site, name):
    """Send more than the meter lets through for 2 seconds; return how many packets came to the agent."""
    before = sum(site.counts(name).values())
    assert site.finish(site.popen("flood", name, 2, 20_000))["sent"] > 4_000
    hub.sleep(0.5)
    return sum(site.counts(name).values()) - before


def test_a_meter_stays_while_flows_of_another_object_use_it(site, monkeypatch):
    """Each object has a flow of its own for what one VM sends, as floating IPs would."""
    def flows(vm):
        yield Flow(CLASSIFIER, 9, (("in_port", 21), ("eth_src", vm.mac)),
                   (to_controller(answering.NUMBER, 21),), answering.NAME, vm.key)

    monkeypatch.setattr(features, "flow_functions", lambda kind: [(answering.NAME, flows)])
    one, other = (answering.Answered(f"fip-{number}", 21, f"02:00:00:00:00:0{number}") for number in (1, 2))
    loop = Loop([site.room])
    for objects, flow_count, meter_count in (([one, other], 2, 1), ([other], 1, 1), ([], 0, 0)):
        loop.submit(plan(*objects))
        loop.step()
        found = site.room.actual().values()
        assert len([item for item in found if isinstance(item, FlowItem) and item.priority]) == flow_count
        assert len([item for item in found if isinstance(item, MeterItem)]) == meter_count


def test_a_meter_that_somebody_removed_limits_again_when_it_is_back(site):
    """Open vSwitch looks up the meter of a flow when the flow is added, and not again."""
    site.use(plan(*BOTH))
    site.ovs.ofctl("del-meters", BRIDGE)
    # It gets the place of one of ours in the datapath, which the flow still refers to.
    site.ovs.ofctl("add-meter", BRIDGE, "meter=5,pktps,burst,band=type=drop,rate=1000000,burst_size=1000000")
    site.use(plan(*BOTH))
    assert flood(site, "one") < 3_000  # the meter lets 1,000 a second through
    assert flood(site, "two") < 3_000
    assert site.ask("one")["took"] and site.ask("two")["took"]


def test_a_flow_is_not_installed_without_its_meter(site):
    """When the meter is refused, as here, where it came into being after the room was read."""
    items = list(site.room.expand(answered("one")))
    before = site.room.actual()
    meter = next(item for item in items if isinstance(item, MeterItem))
    site.ovs.ofctl("add-meter", BRIDGE, f"meter={meter.number},pktps,band=type=drop,rate=7")
    failed = site.room.apply([(before.get(item.key), item) for item in items])
    assert "METER_EXISTS" in failed.pop(meter.key)
    assert list(failed.values()) == ["a meter that it needs does not exist"]
    site.use(plan(*BOTH))


def test_flows_that_cannot_be_made_cost_their_object_only(site, monkeypatch):
    """In a pass of the loop: the other objects' flows, and the object's flows of other features, go on."""
    def of_another(vm):
        return [Flow(CLASSIFIER, 7, (("in_port", vm.ofport),), (), "arp", vm.key)]

    def flows(vm):
        yield from answering.flows(vm)
        if vm.mac in faults:
            yield faults[vm.mac]()

    def flow(*match, action=None):
        return Flow(CLASSIFIER, 9, match, (action,) if action else (), answering.NAME, ("outside", "vm-one"))

    functions = {answering.NAME: ((answering.NAME, flows), ("arp", of_another))}
    monkeypatch.setattr(features, "flow_functions", lambda kind: functions.get(kind, ()))
    faults = {
        "a value that does not fit": lambda: flow(("reg5", 1 << 32)),
        "no field": lambda: flow(("reg99", 1)), "no action": lambda: flow(action="drop"),
        "a cookie of ours": lambda: flow(action=Learn(9, 1, (), cookie=0xF164 << 48)),
        "a port that is none": lambda: flow(action=Output(1 << 40)), "an exception": lambda: {}["missing"]}
    loop = Loop([site.room])
    whole, partial = answered("two"), None
    for mac in faults:
        partial = dataclasses.replace(answered("one"), mac=mac)
        loop.submit(plan(partial, whole))
        loop.step()
        (failure,) = loop.failures
        assert failure.item.owner == partial.key and failure.reason and loop.settled
        assert str(failure.item) == "the outside flows of outside:vm-one"
        rows = [(row["feature"], row["owner"]) for row in site.room.dump([partial.key, whole.key])]
        assert sorted(rows) == [("arp", "outside:vm-one"), ("arp", "outside:vm-two"),
                                ("outside", "outside:vm-two")], mac
    assert failure.reason == "KeyError: 'missing'"
    loop.submit(plan(answered("one"), whole))
    loop.step()
    assert not loop.failures and len(site.room.dump()) == 4
    loop.submit(plan(partial, whole))
    loop.step()
    loop.submit(plan(whole))
    loop.step()
    assert not loop.failures and len(site.room.dump()) == 2


def test_ports_that_cannot_be_told_cost_their_object_only(site, monkeypatch):
    """The function is that of the object's kind, which may be another package's."""
    def ports(vm):
        return {}["missing"] if vm.port_id == "vm-one" else ()

    found = dict(kinds.kinds())
    found[answering.NAME] = dataclasses.replace(found[answering.NAME], ports=ports)
    monkeypatch.setattr("fip64agent.switch.ports.kinds", lambda: found)
    loop = Loop([site.room])
    loop.submit(plan(*BOTH))
    loop.step()
    (failure,) = loop.failures
    assert (str(failure.item), failure.reason) == ("the ports of outside:vm-one", "KeyError: 'missing'")
    assert len(site.room.dump()) == 2


def test_a_handler_that_fails_harms_nobody(site, caplog):
    site.use(plan(*BOTH))
    site.send("one", *[solicit.solicitation(answering.FAULTY)] * 5)
    until(lambda: site.counts("one").get(packets.FAILED) == 5)
    told = [record for record in caplog.records if "a fault of the service" in str(record.exc_info)]
    assert len(told) == 1 and "flow feature outside failed" in told[0].getMessage()
    for name in VMS:
        answers = site.ask(name)
        assert len(answers["took"]) > 50 and not answers["lost"]


def test_a_handler_that_takes_long_is_suspended_for_its_port(site, caplog):
    site.use(plan(*BOTH))
    site.send("one", *[solicit.solicitation(answering.SLOW)] * 20)
    until(lambda: site.counts("one").get(packets.SUSPENDED, 0) >= 15)
    assert site.counts("one")[packets.SLOW] >= 1
    assert sum("took too long" in record.getMessage() for record in caplog.records) == 1
    answers = site.ask("two")
    assert len(answers["took"]) > 10 and not answers["lost"]
    until(lambda: site.ask("one")["took"])


def test_the_counters_of_a_port_go_with_it(site):
    site.use(plan(*BOTH))
    for name in VMS:
        site.send(name, solicit.solicitation(5))
    until(lambda: all(site.counts(name).get(packets.HANDLED) for name in VMS))
    site.ovs.vsctl("del-port", BRIDGE, "tap-one")
    until(lambda: not site.counts("one"))
    assert site.counts("two")[packets.HANDLED]


def test_bytes_that_are_no_packet_are_counted(site):
    site.use(plan(*BOTH))
    head = bytes.fromhex("fa163e000001" "020000000099" "86dd")
    broken = bytearray(solicit.solicitation(5))
    broken[-1] ^= 1
    site.send("one", head + b"\xff" * 60, head + bytes(46), bytes(broken))
    until(lambda: site.counts("one").get(packets.UNPARSABLE) == 3)
    assert site.ask("one")["took"]


def test_a_flood_of_one_port_does_not_delay_another(site):
    site.use(plan(*BOTH))
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
    site.use(plan(*BOTH))
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
    site.use(plan(*BOTH))
    before = site.room._connection.channel
    site.ovs.restart_vswitchd()
    until(lambda: site.room.ready() is None and site.room._connection.channel is not before)
    site.use(plan(*BOTH))
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
