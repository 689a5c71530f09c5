# SPDX-License-Identifier: Apache-2.0
"""10,000 floating IPs: right, and how long it takes (printed, not judged: see bench/)."""

import dataclasses
import time
import tracemalloc

from fip64agent import hub
from fip64agent.reconcile import diff
from fip64agent.switch.connection import bundle, codec
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.examples import GATEWAY, HOST, MAPPING
from tests.fakes.flows import flows_of
from tests.functional.switch.conftest import BRIDGE

COUNT, TENANTS = 10_000, 100


def mac(number, low=1):
    return f"02:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:00:{low:02x}"


def objects():
    yield HOST
    for number in range(COUNT):
        tenant = number % TENANTS
        yield dataclasses.replace(
            MAPPING, nd_ofport=14, fip_id=f"5f000000-0000-4000-8000-{number:012x}",
            floating_ip=MAPPING.floating_ip + number,
            fixed_ip=MAPPING.fixed_ip + number // TENANTS, router_id=f"tenant-{tenant}",
            downlink_ofport=1000 + tenant, downlink_mac=mac(tenant, 7), vm_ofport=2000 + number,
            vm_mac=mac(number), port_id=f"vm-{number}")
        yield dataclasses.replace(GATEWAY, port_id=f"vm-{number}", vm_ofport=2000 + number,
                                  mac=mac(tenant, 2))


class Stopwatch:
    def __init__(self, capsys):
        self._capsys = capsys
        self.seconds = {}

    def __call__(self, what, function):
        begun = time.perf_counter()
        result = function()
        self.seconds[what] = time.perf_counter() - begun
        with self._capsys.disabled():
            print(f"\n  {what}: {self.seconds[what]:.3f} s", end="")
        return result


def test_forty_thousand_flows(bench, short_tmp, capsys):
    watch = Stopwatch(capsys)
    room = bench.room(timeout=30)
    plan = list(objects())
    items = watch("expand and encode", lambda: [item for obj in plan for item in room.expand(obj)])
    flows = [item for item in items if isinstance(item, FlowItem) and item.match]
    assert len(flows) >= 4 * COUNT

    assert watch("cold install until committed", lambda: room.apply([(None, item) for item in flows])) == {}
    room._announcer.close()
    assert bench.count() == len(flows)
    actual = {key: item for key, item in watch("read back", room.actual).items()
              if isinstance(item, FlowItem) and item.match}  # without the bridge's own default flow
    assert actual == {item.key: item for item in flows}
    assert not watch("second diff", lambda: diff.whole(iter(flows), actual))

    times = []
    for number in range(100):
        one = flows[4 * number:4 * number + 4]
        room.prune(one)
        begun = time.perf_counter()
        assert room.apply([(None, item) for item in one]) == {}
        times.append(time.perf_counter() - begun)
    times.sort()
    with capsys.disabled():
        print(f"\n  4 flows among 40,000: p50 {times[50] * 1000:.2f} ms, "
              f"p99 {times[99] * 1000:.2f} ms", end="")

    path = short_tmp / "flows"
    path.write_text("\n".join(line for line in bench.flows() if "cookie=0xf164" in line))
    watch("prune", lambda: room.prune(flows))
    assert bench.count() == 0
    for extra in ([], ["--bundle"]):
        watch(f"ovs-ofctl add-flows {' '.join(extra)}",
              lambda extra=extra: (bench.ovs.ofctl("add-flows", BRIDGE, str(path), *extra), bench.count()))
        assert bench.count() == len(flows)
        assert bundle.change(room._connection, bundle.DELETE, flows) == {}
    hub.sleep(0)


def test_memory_per_flow(capsys):
    tracemalloc.start()
    plan = list(objects())
    before = tracemalloc.get_traced_memory()[0]
    known = {}
    for obj in plan:
        for flow in flows_of(obj):
            item = codec.encode(flow)
            known[item.key] = item
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    with capsys.disabled():
        print(f"\n  {used / len(known):.0f} bytes per flow, {used / 1e6:.1f} MB for {len(known)}", end="")
    assert used / len(known) < 1500
