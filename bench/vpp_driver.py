# SPDX-License-Identifier: Apache-2.0
"""The daemon's vpp driver measured beside a plain loop over vpp_papi that sends the same messages.

Run in a network namespace of its own: python -m bench.vpp_driver DIRECTORY FIPS ROUNDS. The agent's loop with
one room in it, the driver, gets plans as in the daemon; VPP is started by the driver, with the daemon's
default options, anew for each turn. JSON on stdout, seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpp_papi import VPPApiClient

from bench import scale
from bench.measurement import WrongState
from bench.planning import inputs
from bench.vpp_wire import Wire
from fip64agent.plan.desired import Desired
from fip64agent.plan.inputs import Settings
from fip64agent.plan.planner import plan
from fip64agent.reconcile.loop import Loop
from fip64agent.translator.vpp.api import client
from fip64agent.translator.vpp.driver import DRIVER
from fip64agent.translator.vpp.room import VppRoom
from fip64agent.translator.vpp.startup import StartupOptions
from lab import netns as namespaces
from lab import vpp as lab_vpp

WINDOW = 512
"""Messages under way, as by default in the driver's client."""
RECONCILES = 5
_TIMEOUT = 60


def make_veths(desired: Desired) -> None:
    """Make the veths that the links room would make."""
    assert desired.host is not None
    pairs = [(desired.host.downlink, desired.host.downlink_peer)]
    pairs += [(uplink.veth, uplink.peer) for uplink in desired.uplinks.values()]
    namespaces.ip(None, *(line for one, other in pairs for line in (
        f"link add {one} type veth peer name {other}", f"link set {one} up", f"link set {other} up")))


class Driver:
    """The agent's loop with the driver as its only room, and a VPP. Use as a context manager."""

    def __init__(self, run_path: Path) -> None:
        found = lab_vpp.find()
        assert found is not None and found.plugin is not None
        self._room = VppRoom(StartupOptions(str(run_path)), self._changed, seed=b"bench",
                             binary=str(found.binary), plugin_path=str(found.plugin.parent))
        self.loop = Loop([self._room])
        self.api_socket = self._room.supervisor.api_socket

    def _changed(self) -> None:
        self.loop.invalidate("translator")

    def __enter__(self) -> Driver:
        self._room.start()
        return self

    def __exit__(self, *_exc) -> None:
        if daemons := [item for item in self._room.remains().values() if item.key[0] == "vpp"]:
            self._room.prune(daemons)
        self._room.close()

    def bring_to(self, desired: Desired) -> None:
        """Work until all is installed."""
        self.loop.submit(desired)
        deadline = time.monotonic() + _TIMEOUT
        while not self.loop.settled:
            self.loop.step()
            if self.loop.failures or time.monotonic() > deadline:
                raise WrongState(f"the plan could not be installed: {self.loop.blocked}, "
                                 f"{[str(failure) for failure in self.loop.failures[:3]]}")

    def one_pass(self, what: str) -> float:
        """Return the seconds of one pass, after which all must be installed."""
        begun = time.perf_counter()
        self.loop.step()
        seconds = time.perf_counter() - begun
        if not self.loop.settled or self.loop.failures:
            raise WrongState(f"{what}: not installed after one pass: {self.loop.blocked}, "
                             f"{[str(failure) for failure in self.loop.failures[:3]]}")
        return seconds

    @property
    def changes(self) -> int:
        """How many items were applied or pruned since the start."""
        return self.loop.applied + self.loop.pruned


class RequestRecorder:
    """Notes the requests that the driver's client sends, and the messages that they become."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[bytes] = []
        self._pipeline, self._pack = client.VppClient.pipeline, client.VppClient.pack

    def __enter__(self) -> RequestRecorder:
        recorder, pipeline, pack = self, self._pipeline, self._pack

        def noted_pipeline(self, requests, **options):
            recorder.requests += requests
            return pipeline(self, requests, **options)

        def noted_pack(self, message, *args):
            packed = pack(self, message, *args)
            if message != "control_ping":  # a health probe
                recorder.messages.append(packed)
            return packed

        client.VppClient.pipeline, client.VppClient.pack = noted_pipeline, noted_pack
        return self

    def __exit__(self, *_exc) -> None:
        client.VppClient.pipeline, client.VppClient.pack = self._pipeline, self._pack


def _same(one: list[bytes], other: list[bytes]) -> bool:
    """Whether messages are the same but for the client's index and the context."""
    def without_numbers(messages: list[bytes]) -> list[bytes]:
        return [message[:2] + message[10:] for message in messages]

    return without_numbers(one) == without_numbers(other)


def _check(driver: Driver, wanted: set[tuple]) -> None:
    with Wire(driver.api_socket) as wire:
        found = {tuple(detail.mapping) for detail in wire.dump("fip64_mapping_dump", table_id=0xFFFFFFFF)}
    if found != wanted:
        raise WrongState(f"VPP has {len(found)} mappings, {len(found & wanted)} of the {len(wanted)} wanted")


class Rounds:
    """The seconds that driver, plain loop and vpp_papi's client took, of each round."""

    def __init__(self, directory: Path, desired: Desired) -> None:
        self._directory = directory
        self._desired = desired
        mappings = {mapping.key for mapping in desired.mappings.values()}
        self._empty = Desired.of_objects(obj for obj in desired.objects() if obj.key not in mappings)
        self._wanted = {(mapping.floating_ip, mapping.fixed_ip, mapping.table, mapping.downlink_vlan)
                        for mapping in desired.mappings.values()}
        self.messages: list[bytes] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.driver_seconds: list[float] = []
        self.loop_seconds: list[float] = []
        self.papi_seconds: list[float] = []
        self.reconcile_seconds: list[float] = []

    def _with_vpp(self, work: Callable[[Driver], None]) -> None:
        """`work` with a VPP that has tenants and uplink, and no mapping."""
        with Driver(self._directory / "vpp") as driver:
            driver.bring_to(self._empty)
            time.sleep(0.5)
            work(driver)
            _check(driver, self._wanted)

    def record_messages(self) -> None:
        """Find out, with a VPP of its own, which messages are sent."""
        def work(driver: Driver) -> None:
            driver.loop.submit(self._desired)
            with RequestRecorder() as recorder:
                driver.one_pass("mappings")
            self.messages, self.requests = recorder.messages, recorder.requests

        self._with_vpp(work)

    def measure(self) -> None:
        """Measure one round, each time with a VPP of its own."""
        self._with_vpp(self._driver)
        self._with_vpp(self._plain_loop)
        self._with_vpp(self._papi)

    def _driver(self, driver: Driver) -> None:
        driver.loop.submit(self._desired)
        self.driver_seconds.append(driver.one_pass("mappings"))
        before = driver.changes
        for _ in range(RECONCILES):
            driver.loop.invalidate("translator")
            self.reconcile_seconds.append(driver.one_pass("reconcile"))
        if driver.changes != before:
            raise WrongState(f"reconciling changed {driver.changes - before} items of VPP that were right")

    def _plain_loop(self, driver: Driver) -> None:
        with Wire(driver.api_socket) as wire:
            begun = time.perf_counter()
            answers = wire.pipeline(self.requests, WINDOW)
            self.loop_seconds.append(time.perf_counter() - begun)
            if any(answer.retval for answer in answers):
                raise WrongState("VPP refused what the plain loop sent")
            if not _same(self.messages, [wire.pack(*request) for request in self.requests]):
                raise WrongState("the plain loop does not send the messages that the driver sends")

    def _papi(self, driver: Driver) -> None:
        """The same with vpp_papi's own client: all is sent before the first answer is read."""
        api = VPPApiClient(server_address=driver.api_socket, bootstrapapi=True, read_timeout=_TIMEOUT)
        api.connect("bench")
        try:
            begun = time.perf_counter()
            for name, fields in self.requests:
                message = api.messages[name]
                number = api.transport.get_msg_index(f"{name}_{message.crc[2:]}")
                api._call_vpp_async(number, message, **fields)
            answers = [api.read_blocking(timeout=_TIMEOUT) for _ in self.requests]
            self.papi_seconds.append(time.perf_counter() - begun)
        finally:
            api.disconnect()
        if any(answer is None or answer.retval for answer in answers):
            raise WrongState("VPP refused what vpp_papi's client sent")


def main() -> None:
    directory, fips, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    desired = plan(inputs(fips, Settings(capabilities=DRIVER.capabilities)))
    if len(desired.mappings) != fips or len(desired.tenants) != scale.TENANTS:
        raise WrongState(f"{len(desired.mappings)} mappings of {len(desired.tenants)} tenants in the plan")
    make_veths(desired)
    rounds = Rounds(directory, desired)
    rounds.record_messages()
    for _ in range(count):
        rounds.measure()
    print(json.dumps({"driver": rounds.driver_seconds, "loop": rounds.loop_seconds,
                      "papi": rounds.papi_seconds, "reconcile": rounds.reconcile_seconds,
                      "messages": len(rounds.messages)}))


if __name__ == "__main__":
    main()
