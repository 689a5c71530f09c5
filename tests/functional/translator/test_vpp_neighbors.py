# SPDX-License-Identifier: Apache-2.0
"""VPP's neighbors age: in the managed VPP always, in an external one when its operator wants it."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from fip64agent.translator.vpp.items import NeighborAge
from lab.vpp import Vpp
from tests.conftest import require_programs, require_root
from tests.fakes.kernel import agents_namespace, until
from tests.functional.translator import vpp_site
from tests.functional.translator.test_vpp_room import Bench

BY_ITSELF = ("50000", "0", "0")
OURS = ("16384", "30", "1")


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    require_root()
    require_programs("ip")
    vpp_site.require_vpp()
    with agents_namespace() as prefix:
        yield prefix


@contextlib.contextmanager
def bench_in(prefix: str, directory: Path, **options) -> Iterator[Bench]:
    made = Bench(prefix, directory, lambda on_change: vpp_site.new_room(directory, on_change, **options))
    try:
        yield made
    finally:
        made.close()
        vpp_site.end_all(directory)


@contextlib.contextmanager
def managed(directory: Path, **options) -> Iterator[Bench]:
    with namespace() as prefix, bench_in(prefix, directory, **options) as bench:
        yield bench


@contextlib.contextmanager
def external(directory: Path, **options) -> Iterator[tuple[Bench, Vpp]]:
    with namespace() as prefix, Vpp(directory / "f") as vpp, bench_in(
            prefix, directory, launch="external", api_socket=str(vpp.api_socket),
            stats_socket=str(vpp.stats_socket), **options) as bench:
        until(lambda: bench.room.ready() is None, 5, "the connection")
        yield bench, vpp


def config(cli) -> list[tuple[str, str, str]]:
    """(limit, age, recycle) for IPv4 and IPv6, as VPP shows them."""
    return re.findall(r"limit:(\d+), age:(\d+), recycle:(\d+)", cli("show ip neighbor-config"))


def test_they_age_from_the_start_and_after_each_restart(short_tmp):
    with managed(short_tmp) as bench:
        bench.settle(bench.host, bench.uplink)
        assert config(bench.cli) == [OURS, OURS]
        os.kill(bench.pid, signal.SIGKILL)
        until(lambda: bench.room.supervisor.restarts and bench.room.ready() is None, 20, "VPP is back")
        assert config(bench.cli) == [BY_ITSELF, BY_ITSELF]
        bench.settle(bench.host, bench.uplink)
        assert config(bench.cli) == [OURS, OURS]


def test_what_somebody_changes_by_hand_is_set_again_after_an_adoption_too(short_tmp):
    with managed(short_tmp) as bench:
        bench.settle(bench.host, bench.uplink)
        for command in ("set ip neighbor-config ip6 age 0", "set ip neighbor-config ip4 limit 7"):
            bench.cli(command)
            bench.again()
            work = bench.work(bench.host, bench.uplink)
            assert [type(item) for _, item in work.apply] == [NeighborAge] and not work.prune
            bench.settle(bench.host, bench.uplink)
            assert config(bench.cli) == [OURS, OURS]


def test_an_external_vpp_is_left_as_it_is(short_tmp):
    with external(short_tmp) as (bench, vpp):
        vpp.cli("set ip neighbor-config ip6 age 77")
        before = config(vpp.cli)
        bench.settle(bench.host, bench.uplink)
        assert bench.room.prune(list(bench.room.remains().values())) == {}
        assert config(vpp.cli) == before and ("50000", "77", "0") in before


def test_an_external_vpp_has_it_while_it_is_wanted_there(short_tmp):
    with external(short_tmp, neighbor_age=20) as (bench, vpp):
        bench.settle(bench.host, bench.uplink)
        assert config(vpp.cli) == [("16384", "20", "1")] * 2
        assert bench.room.prune(list(bench.room.remains().values())) == {}
        assert config(vpp.cli) == [BY_ITSELF, BY_ITSELF]
        assert not bench.room.remains()


def test_a_managed_vpp_is_left_as_it_is_when_configured_so(short_tmp):
    with managed(short_tmp, neighbor_age=0) as bench:
        bench.settle(bench.host, bench.uplink)
        assert config(bench.cli) == [BY_ITSELF, BY_ITSELF]
