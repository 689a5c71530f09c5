# SPDX-License-Identifier: Apache-2.0
"""The room on a real OVS: idempotence, others' objects, restarts, what happens behind our back."""

import dataclasses
import os
import signal

import pytest

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import Desired
from fip64agent.reconcile import diff
from fip64agent.reconcile.loop import Loop
from fip64agent.switch import appctl
from fip64agent.switch.connection import bundle, codec
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.examples import ALL_PORTS, GATEWAY, HOST, MAPPING, TENANT, UPLINK
from fip64agent.switch.room import PortItem, SwitchRoom
from lab.shell import run
from tests.functional.switch.conftest import BRIDGE, PORTS, until

FLOW_OBJECTS = (HOST, MAPPING, GATEWAY)
"""Objects without ports: a dummy datapath has no system devices."""


def wanted(room, *objects):
    return [item for obj in objects for item in room.expand(obj)]


def reconcile(room, *objects):
    """One pass, as the loop makes it; return what there was to do and what failed."""
    work = diff.whole(wanted(room, *objects), room.actual())
    failed = room.apply(work.apply) | room.prune(work.prune)
    return work, failed


def listening_tcp_ports() -> set[str]:
    """Local ports that a socket of this process listens on."""
    inodes = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            inodes.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    result = set()
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        with open(table) as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    result.add(fields[1])
    return result


def test_a_second_pass_has_nothing_to_do(bench):
    room = bench.room()
    work, failed = reconcile(room, *FLOW_OBJECTS)
    assert work.apply and not failed
    before = bench.flows()
    work, failed = reconcile(room, *FLOW_OBJECTS)
    assert not work and not failed
    assert bench.flows() == before
    assert listening_tcp_ports() == set()


def test_a_new_agent_adopts_what_is_there(bench):
    first = bench.room()
    reconcile(first, *FLOW_OBJECTS)
    first.close()
    before = bench.flows()
    second = bench.room()
    work, _ = reconcile(second, *FLOW_OBJECTS)
    assert not work  # the bridge's own NORMAL flow stands in for ours, as it did before
    assert bench.flows() == before
    assert not any(second._announcer._rounds)


def test_what_is_not_wanted_is_pruned_and_nothing_else(bench):
    bench.ovs.ofctl("add-flow", BRIDGE, "cookie=0xabc,priority=7,in_port=3,actions=drop")
    room = bench.room()
    others = bench.flows()
    reconcile(room, *FLOW_OBJECTS)
    work, failed = reconcile(room)
    assert work.prune and not failed
    assert bench.flows() == others
    assert room.prune(work.prune) == {}  # gone already


def test_the_default_flow_is_made_when_nobody_has_one(bench):
    bench.ovs.ofctl("del-flows", BRIDGE)
    room = bench.room()
    reconcile(room, HOST)
    assert any("actions=NORMAL" in flow and "cookie=0xf16401" in flow for flow in bench.flows())
    assert not reconcile(room, HOST)[0]


def test_somebody_elses_default_flow_stands(bench):
    bench.ovs.ofctl("del-flows", BRIDGE)
    bench.ovs.ofctl("add-flow", BRIDGE, "cookie=0xabc,priority=0,actions=drop")
    room = bench.room()
    _, failed = reconcile(room, *FLOW_OBJECTS)
    assert not failed
    assert not reconcile(room, *FLOW_OBJECTS)[0]
    assert any("cookie=0xabc" in flow and "actions=drop" in flow for flow in bench.flows())
    bench.ovs.ofctl("del-flows", BRIDGE, "cookie=0xabc/-1")
    reconcile(room, *FLOW_OBJECTS)
    assert any("actions=NORMAL" in flow for flow in bench.flows())


def test_the_default_flow_stays_until_the_last_that_needs_it_goes(bench):
    """A host with an uplink needs it, and one with served ports alone."""
    bench.ovs.ofctl("del-flows", BRIDGE)
    beside, alone = dataclasses.replace(ALL_PORTS, alone=False), dataclasses.replace(ALL_PORTS, alone=True)
    loop = Loop([bench.room()])
    for objects in ((HOST,), (HOST, beside), (alone,), (HOST, beside), (HOST,), (alone,), ()):
        loop.submit(Desired.of_objects(objects))
        loop.step()
        assert not loop.failures
        found = [flow for flow in bench.flows() if "actions=NORMAL" in flow and "cookie=0xf16401" in flow]
        assert len(found) == bool(objects), objects


@pytest.mark.parametrize("bulk", [False, True])
def test_a_foreign_flow_with_the_same_key_is_not_overwritten(bench, bulk):
    foreign = "cookie=0xabc,priority=40000,in_port=12,ip,nw_dst=10.0.0.5,actions=output:3"
    bench.ovs.ofctl("add-flow", BRIDGE, foreign)
    room = bench.room()
    objects = [MAPPING]
    if bulk:
        objects += [dataclasses.replace(MAPPING, fip_id=f"m{number}", fixed_ip=MAPPING.fixed_ip + number,
                                        floating_ip=MAPPING.floating_ip + number)
                    for number in range(1, 60)]
    items = wanted(room, *objects)
    failed = room.apply([(None, item) for item in items])
    (reason,) = failed.values()
    assert "another system" in reason
    assert any("cookie=0xabc" in flow and "nw_dst=10.0.0.5 " in flow for flow in bench.flows())
    assert bench.count() == len(items) - 1
    assert room.prune(items) == {}
    assert any("cookie=0xabc" in flow for flow in bench.flows())


def test_a_changed_object_changes_its_flows_in_place(bench):
    room = bench.room()
    reconcile(room, *FLOW_OBJECTS)
    count = bench.count()
    moved = dataclasses.replace(MAPPING, gateway_mac="fa:16:3e:00:00:66")
    work, failed = reconcile(room, HOST, moved, GATEWAY)
    assert len(work.apply) == 1 and not failed
    assert bench.count() == count


def test_a_refused_flow_does_not_spoil_the_others(bench):
    room = bench.room()
    items = wanted(room, MAPPING, GATEWAY)
    missing_prerequisite = codec.encode_match((("in_port", 5), ("ipv4_dst", MAPPING.fixed_ip)))
    bad = FlowItem(0, 40000, missing_prerequisite, b"", items[0].cookie)
    failed = room.apply([(None, item) for item in (items[0], bad, *items[1:])])
    assert list(failed) == [bad.key]
    assert "OFPBMC_BAD_PREREQ" in failed[bad.key]
    assert bench.count() == len(items)


def test_a_commit_that_fails_is_sent_again_without_the_culprit(bench):
    """A table that is full is noticed only at the commit, which undoes the whole bundle."""
    bench.ovs.vsctl("--", "--id=@t", "create", "Flow_Table", "flow_limit=4", "overflow_policy=refuse",
                    "--", "set", "bridge", BRIDGE, "flow_tables:0=@t")  # the bridge's own NORMAL is one
    room = bench.room()
    items = wanted(room, MAPPING, GATEWAY)
    assert len(items) == 4
    failed = room.apply([(None, item) for item in items])
    assert len(failed) == 1
    assert "TABLE_FULL" in next(iter(failed.values()))
    assert bench.count() == len(items) - 1


def test_a_flow_deleted_by_hand_is_noticed(bench):
    room = bench.room(probe_interval=0.3)
    reconcile(room, *FLOW_OBJECTS)
    hub.sleep(0.7)
    changes = bench.changes
    assert changes == 1  # the connection; our own changes are not reported
    bench.ovs.ofctl("del-flows", BRIDGE, "in_port=21,arp")
    until(lambda: bench.changes > changes)
    work, _ = reconcile(room, *FLOW_OBJECTS)
    arp = dataclasses.replace(GATEWAY, isolates=False)
    assert [item.key for _, item in work.apply if item.match] == [item.key for item in wanted(room, arp)]
    changes = bench.changes
    hub.sleep(0.7)
    assert bench.changes == changes


def test_ovs_vswitchd_restarts(bench):
    room = bench.room()
    reconcile(room, *FLOW_OBJECTS)
    before, changes = bench.flows(), bench.changes
    bench.ovs.stop_vswitchd(9)
    until(lambda: room.ready() is not None)
    assert "ovs-vswitchd" in room.ready() or "lost" in room.ready()
    with pytest.raises(NotReady):
        room.actual()
    with pytest.raises(NotReady):
        room.apply([(None, item) for item in wanted(room, GATEWAY)])
    bench.ovs.start_vswitchd()
    until(lambda: room.ready() is None)
    until(lambda: bench.changes > changes)
    reconcile(room, *FLOW_OBJECTS)
    assert bench.flows() == before


def test_a_dropped_connection_comes_back(bench):
    room = bench.room()
    reconcile(room, *FLOW_OBJECTS)
    before, changes = bench.flows(), bench.changes
    room.disconnect()
    until(lambda: bench.changes > changes)
    until(lambda: room.ready() is None)
    assert not reconcile(room, *FLOW_OBJECTS)[0]
    assert bench.flows() == before


def test_a_hung_ovs_vswitchd_is_noticed(bench):
    room = bench.room(timeout=2)
    pid = int((bench.ovs.directory / "ovs-vswitchd.pid").read_text())
    os.kill(pid, 19)
    try:
        with pytest.raises(NotReady, match="did not answer"):
            room.actual()
        until(lambda: room.ready() is not None)
    finally:
        os.kill(pid, 18)
    until(lambda: room.ready() is None)
    assert bench.count() == 0


def test_a_question_to_a_hung_ovs_vswitchd_ends(bench, monkeypatch):
    """Each that did not would keep a native thread, and there are but 20."""
    monkeypatch.setattr(appctl, "TIMEOUT", 0.5, raising=False)
    room = bench.room()
    assert "drop" in room.trace("vm", bytes(60))
    pid = int((bench.ovs.directory / "ovs-vswitchd.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        with hub.Timeout(5), pytest.raises(NotReady, match="did not answer"):
            room.trace("vm", bytes(60))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_somebody_wrote_in_place_of_our_numbers_hides_no_interface(bench):
    bench.ovs.vsctl("set", "interface", "vm", "external_ids:fip64-owner=vm",
                    "external_ids:fip64-ifindex=many")
    bench.room()
    until(lambda: bench.interfaces)
    assert {*PORTS} <= {*bench.interfaces[-1]}


VLANS = (
    (("tag=7",), 7, False), ((), None, False), (("tag=7", "vlan_mode=access"), 7, False),
    (("tag=7", "vlan_mode=native-untagged", "trunks=7,8"), None, True), (("vlan_mode=trunk",), None, True),
    (("vlan_mode=native-tagged", "tag=8"), None, True), (("tag=4094",), 4094, False),
    (("trunks=8,9",), None, True), (("tag=7", "trunks=8,9"), 7, False),
    (("tag=7", "vlan_mode=dot1q-tunnel", "cvlans=8"), None, False))
"""(columns of a port, access VLAN, whether it is a trunk)"""


def test_an_interface_has_the_vlans_of_its_port(bench):
    """Those that are there when the agent starts, and whatever they become; the interface may change, too."""
    clear = [word for column in ("tag", "vlan_mode", "trunks", "cvlans")
             for word in ("--", "clear", "port", "vm", column)][1:]
    for number, (columns, tag, trunk) in enumerate(VLANS):
        bench.ovs.vsctl(*clear, *(("--", "set", "port", "vm", *columns) if columns else ()), "--", "set",
                        "interface", "vm", f"external_ids:iface-id=port-{number}")
        if not bench.rooms:
            bench.room()
            until(lambda: bench.interfaces)
        until(lambda: bench.interfaces[-1]["vm"].iface_id == f"port-{number}")  # noqa: B023
        vm, other = bench.interfaces[-1]["vm"], bench.interfaces[-1]["dl"]
        assert (vm.tag, vm.trunk) == (tag, trunk), columns
        assert (other.tag, other.trunk) == (None, False)
    bench.ovs.vsctl(*clear)
    bench.ovs.vsctl("set", "port", "vm", "tag=5")  # a change of the port alone
    until(lambda: bench.interfaces[-1]["vm"].tag == 5)


def test_members_of_a_bond_have_the_vlans_of_their_port(bench):
    bench.ovs.vsctl("add-bond", BRIDGE, "bond0", "one", "two", "tag=7",
                    "--", "set", "interface", "one", "type=dummy",
                    "--", "set", "interface", "two", "type=dummy")
    bench.room()
    until(lambda: bench.interfaces and {"one", "two"} <= set(bench.interfaces[-1]))
    assert {(member.bond, member.tag) for name, member in bench.interfaces[-1].items()
            if name in ("one", "two")} == {("bond0", 7)}


def test_ovsdb_server_restarts(bench):
    room = bench.room()
    until(lambda: bench.interfaces)
    before = bench.interfaces[-1]
    assert before["vm"].ofport == 21
    deliveries = len(bench.interfaces)
    bench.ovs.restart_ovsdb()
    bench.ovs.vsctl("set", "interface", "vm", "external_ids:iface-id=port-1")
    until(lambda: bench.interfaces[-1]["vm"].iface_id == "port-1")
    assert room.ready() is None
    for delivered in bench.interfaces[deliveries:]:
        assert set(delivered) == set(before)


def test_the_bridge_disappears_and_comes_back(bench):
    room = bench.room()
    bench.ovs.vsctl("del-br", BRIDGE)
    until(lambda: "add-br" in (room.ready() or ""))  # the connection may be lost before OVSDB tells why
    assert BRIDGE in room.ready()
    bench.ovs.add_bridge(BRIDGE)
    until(lambda: room.ready() is None)
    until(lambda: set(bench.interfaces[-1]) == {BRIDGE})


def start(bench, **options) -> SwitchRoom:
    """A room whose bridge need not be there."""
    room = SwitchRoom(bench.ovs.db, str(bench.ovs.directory), BRIDGE, timeout=5, on_change=bench._changed,
                      on_interfaces=bench.interfaces.append, **options)
    bench.rooms.append(room)
    room.start()
    return room


def test_a_bridge_that_is_made_later_is_waited_for(bench):
    bench.ovs.vsctl("del-br", BRIDGE)
    room = start(bench)
    assert f"OVS has no bridge {BRIDGE}: create it (ovs-vsctl --may-exist add-br {BRIDGE})" in room.ready()
    assert bench.changes and not bench.interfaces
    with pytest.raises(NotReady):
        room.actual()
    bench.ovs.add_bridge(BRIDGE)
    print(f"ready {until(lambda: room.ready() is None):.2f} s after the bridge was made")
    until(lambda: bench.interfaces)
    assert not reconcile(room, *FLOW_OBJECTS)[1]


def test_an_ovsdb_server_that_is_started_later_is_waited_for(bench):
    bench.ovs.stop_vswitchd()
    bench.ovs.stop_ovsdb()
    room = start(bench)
    assert f"cannot reach ovsdb-server on {bench.ovs.directory}/db.sock" in room.ready()
    hub.sleep(1)
    assert bench.changes == 1 and not bench.interfaces
    bench.ovs.start_ovsdb()
    until(lambda: "no OpenFlow connection" in room.ready())
    bench.ovs.start_vswitchd()
    print(f"ready {until(lambda: room.ready() is None):.2f} s after ovs-vswitchd was started")
    until(lambda: bench.interfaces)
    assert not reconcile(room, *FLOW_OBJECTS)[1]


def test_a_room_that_waits_can_be_closed(short_tmp):
    room = SwitchRoom(f"unix:{short_tmp}/db.sock", str(short_tmp), BRIDGE)
    room.start()
    assert "is openvswitch-switch installed and running?" in room.missing()
    room.close()


# -- OpenFlow versions -----------------------------------------------------------------------------


@pytest.mark.parametrize("protocols", ["OpenFlow10", "OpenFlow15", "OpenFlow10,OpenFlow12"])
@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_bridge_that_does_not_speak_our_version_is_named_with_the_cure(bench, caplog, protocols, when):
    room = bench.room() if when == "later" else None
    bench.ovs.vsctl("set", "bridge", BRIDGE, f"protocols={protocols}")
    changes, records = bench.changes, len(caplog.records)
    room = room or start(bench)
    until(lambda: bench.changes > changes)
    cure = ("add", "bridge", BRIDGE, "protocols", "OpenFlow13")
    assert "Bridge.protocols" in room.ready() and f"ovs-vsctl {' '.join(cure)}" in room.ready()
    assert all(name in room.ready() for name in protocols.split(","))
    hub.sleep(2)
    assert [record for record in caplog.records[records:] if record.levelname == "ERROR"] == []
    changes = bench.changes
    bench.ovs.vsctl(*cure)
    print(f"ready {until(lambda: room.ready() is None):.2f} s after the command")
    until(lambda: bench.changes > changes)
    assert not reconcile(room, *FLOW_OBJECTS)[1]
    assert [record for record in caplog.records[records:] if record.levelname == "ERROR"] == []


def test_a_switch_that_refuses_us_is_asked_less_and_less(bench, caplog, monkeypatch):
    """As when ovs-vswitchd lags behind OVSDB, or OVSDB cannot be asked."""
    bench.ovs.vsctl("set", "bridge", BRIDGE, "protocols=OpenFlow10")
    connection = Connection(f"{bench.ovs.directory}/{BRIDGE}.mgmt", 5, lambda: None)
    attempts, connect = [], hub.connect_unix
    monkeypatch.setattr(hub, "connect_unix", lambda path: attempts.append(path) or connect(path))
    connection.start()
    try:
        hub.sleep(5)
        assert "unsupported version 0x1" in connection.why_down()
        assert 3 <= len(attempts) <= 6
        bench.ovs.vsctl("set", "bridge", BRIDGE, "protocols=OpenFlow10,OpenFlow13")
        connection.retry()
        until(lambda: connection.why_down() is None, seconds=1)
    finally:
        connection.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# -- ports: real devices ---------------------------------------------------------------------------


def make_veths(bench, *names):
    for name in names:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", f"p-{name[4:]}", netns=bench.ovs.netns)


def interface(bench, name):
    return bench.interfaces[-1].get(name) if bench.interfaces else None


def test_ports_are_made_once_and_pruned(wired):
    make_veths(wired, *UPLINK.veths, TENANT.interface)
    room = wired.room()
    work, failed = reconcile(room, HOST, UPLINK, TENANT)
    assert not failed
    ports = {item.name for _, item in work.apply if isinstance(item, PortItem)}
    assert ports == {*UPLINK.veths, TENANT.interface}
    until(lambda: interface(wired, UPLINK.veth) and interface(wired, UPLINK.veth).ofport)
    assert not reconcile(room, HOST, UPLINK, TENANT)[0]
    assert wired.ovs.vsctl("get", "port", UPLINK.veth, "external_ids:fip64-owner").stdout.strip() == (
        f'"uplink:{UPLINK.port_id}"')
    _, failed = reconcile(room)
    assert not failed
    assert wired.ovs.vsctl("list-ports", BRIDGE).stdout.split() == []


def test_a_foreign_port_is_never_touched(wired):
    make_veths(wired, *UPLINK.veths)
    wired.ovs.vsctl("add-port", BRIDGE, UPLINK.veth)
    uuid = wired.ovs.vsctl("get", "port", UPLINK.veth, "_uuid").stdout
    room = wired.room()
    _, failed = reconcile(room, HOST, UPLINK)
    (reason,) = failed.values()
    assert UPLINK.veth in reason and "not ours" in reason
    assert room.prune([PortItem(UPLINK.veth, "uplink:x")])
    assert wired.ovs.vsctl("get", "port", UPLINK.veth, "_uuid").stdout == uuid


def test_a_port_deleted_by_hand_is_noticed(wired):
    make_veths(wired, *UPLINK.veths)
    room = wired.room()
    reconcile(room, HOST, UPLINK)
    hub.sleep(0.5)
    changes = wired.changes
    wired.ovs.vsctl("del-port", UPLINK.veth)
    until(lambda: wired.changes > changes)
    work, failed = reconcile(room, HOST, UPLINK)
    assert work.apply and not failed


def test_a_device_that_comes_late(wired):
    room = wired.room()
    _, failed = reconcile(room, HOST, UPLINK)
    assert "No such device" in failed["port", UPLINK.veth]
    changes = wired.changes
    make_veths(wired, *UPLINK.veths)
    until(lambda: wired.changes > changes)
    _, failed = reconcile(room, HOST, UPLINK)
    assert not failed
    until(lambda: interface(wired, UPLINK.veth).ofport)
    assert not reconcile(room, HOST, UPLINK)[0]


def test_a_device_that_is_made_anew_is_opened_anew(wired):
    make_veths(wired, *UPLINK.veths)
    room = wired.room()
    reconcile(room, HOST, UPLINK)
    until(lambda: interface(wired, UPLINK.veth) and interface(wired, UPLINK.veth).ofport)
    changes = wired.changes
    run("ip", "link", "del", UPLINK.veth, netns=wired.ovs.netns)
    until(lambda: wired.changes > changes)
    until(lambda: interface(wired, UPLINK.veth).error)
    changes = wired.changes
    make_veths(wired, UPLINK.veth)
    until(lambda: wired.changes > changes)
    _, failed = reconcile(room, HOST, UPLINK)
    assert not failed
    until(lambda: interface(wired, UPLINK.veth).ofport)
    assert not reconcile(room, HOST, UPLINK)[0]


def test_ports_survive_an_ovsdb_server_restart(wired):
    make_veths(wired, *UPLINK.veths)
    room = wired.room()
    reconcile(room, HOST, UPLINK)
    until(lambda: interface(wired, UPLINK.veth) and interface(wired, UPLINK.veth).ofport)
    uuid = wired.ovs.vsctl("get", "port", UPLINK.veth, "_uuid").stdout
    wired.ovs.restart_ovsdb()
    hub.sleep(1.5)
    assert not reconcile(room, HOST, UPLINK)[0]
    wired.ovs.restart_vswitchd()
    until(lambda: room.ready() is None)
    hub.sleep(0.5)
    reconcile(room, HOST, UPLINK)
    assert wired.ovs.vsctl("get", "port", UPLINK.veth, "_uuid").stdout == uuid


def test_deletion_of_flows_is_by_our_cookie_only(bench):
    room = bench.room()
    (item,) = wanted(room, dataclasses.replace(GATEWAY, isolates=False))
    bench.ovs.ofctl("add-flow", BRIDGE, "cookie=0xabc,priority=40000,in_port=21,vlan_tci=0/0x0fff,"
                    f"dl_src={GATEWAY.vm_mac},arp,arp_op=1,arp_tpa={GATEWAY.address},actions=drop")
    assert bundle.change(room._connection, bundle.DELETE, [item]) == {}
    assert any("cookie=0xabc" in flow for flow in bench.flows())
