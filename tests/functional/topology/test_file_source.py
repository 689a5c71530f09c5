# SPDX-License-Identifier: Apache-2.0
"""FileSource with real inotify: however the file changes, the source follows; nothing escapes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.topology.feed import Feed
from fip64agent.topology.file import source as file_module
from fip64agent.topology.file.loader import DEFAULT_POOL
from fip64agent.topology.file.source import FileSource
from tests.fakes import topologies
from tests.fakes.kernel import until


def text(*names: str) -> str:
    return "networks:\n" + "".join(f"- id: {name}\n" for name in names) if names else "{}"


class Follower:
    """A source, and what it reported: network ids joined, error texts, or "good" when errors ended."""

    def __init__(self, path: Path | str, max_size: int = 1) -> None:
        self.reports: list[str] = []
        self.topologies: list = []
        self.feed = Feed(DEFAULT_POOL, self._topology, self._error)
        self.source = FileSource(str(path), max_size, self.feed)
        self.source.start()

    def _topology(self, topology) -> None:
        self.topologies.append(topology)
        self.reports.append("".join(topology.networks))

    def _error(self, error) -> None:
        self.reports.append("good" if error is None else str(error))

    def next(self, count: int = 1, within: float = 30.0) -> list[str]:
        """Wait for so many reports, and a moment for more than that; return and forget them."""
        end = time.monotonic() + within
        while len(self.reports) < count and time.monotonic() < end:
            hub.sleep(0.005)
        self.taken = within - (end - time.monotonic())
        hub.sleep(0.06)
        reports, self.reports = self.reports, []
        return reports

    def quiet(self, seconds: float = 0.3) -> bool:
        hub.sleep(seconds)
        return not self.reports


@pytest.fixture
def follow(tmp_path):
    followers = []

    def make(path, **options) -> Follower:
        followers.append(Follower(path, **options))
        return followers[-1]

    yield make
    for follower in followers:
        follower.source.stop()


def replace(path: Path, content: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(content)
    temporary.rename(path)


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "conf" / "t.yaml"
    path.parent.mkdir()
    path.write_text(text("a"))
    return path


@pytest.fixture
def follower(follow, path) -> Follower:
    follower = follow(path)
    assert follower.next() == ["a"]
    return follower


def test_replaced_by_rename(follower, path):
    for name in "bcd":
        replace(path, text(name))
        assert follower.next() == [name]
        print(f"replaced and reported in {follower.taken:.3f} s")


def test_written_in_place(follower, path):
    path.write_text(text("b"))
    assert follower.next() == ["b"]


def test_written_in_place_slowly_is_waited_for(follower, path):
    with path.open("w") as file:
        for piece in text("b", "c"):
            file.write(piece)
            file.flush()
            hub.sleep(0.01)
        assert follower.quiet(0.1)
    assert follower.next() == ["bc"]


def test_new_file_written_slowly_is_waited_for(follower, path):
    path.unlink()
    with path.open("w") as file:
        file.write(text("b"))
        file.flush()
        hub.sleep(0.1)
        file.write("- id: c\n")
    assert follower.next() == ["bc"]


def test_half_a_file_is_an_error_then_good(follower, path):
    path.write_text("networks:\n- id: b\n- {id: ")
    [report] = follower.next()
    assert report.startswith(f"{path}:3: is not valid YAML: ")
    path.write_text(text("b"))
    assert follower.next(2) == ["b", "good"]


def test_last_good_stays_and_same_content_reports_nothing_new(follower, path):
    replace(path, "networks: 3")
    assert follower.next() == [f"{path}:1: networks: must be a list, is 3"]
    replace(path, text("a"))
    assert follower.next() == ["good"]
    assert len(follower.topologies) == 1
    os.utime(path)
    replace(path, text("a") + "# only a comment\n")
    assert follower.quiet()


def test_same_error_is_reported_once_other_error_again(follower, path):
    replace(path, "networks: 3")
    assert len(follower.next()) == 1
    replace(path, "networks: 3 # still")
    assert follower.quiet()
    replace(path, "networks: 4")
    assert follower.next() == [f"{path}:1: networks: must be a list, is 4"]


def test_objects_that_did_not_change_are_the_same(follower, path):
    replace(path, text("a", "b"))
    follower.next()
    before, after = follower.topologies
    assert after.networks["a"] is before.networks["a"]


def test_editor_moves_the_file_away_first(follower, path, monkeypatch):
    monkeypatch.setattr(file_module, "GRACE", 5.0)
    path.rename(path.with_name("t.yaml~"))
    hub.sleep(0.1)
    path.write_text(text("b"))
    assert follower.next() == ["b"]


def test_file_removed_and_made_again(follower, path):
    path.unlink()
    assert follower.next() == [f"{path}: does not exist"]
    path.write_text(text("b"))
    assert follower.next(2) == ["b", "good"]


def test_hard_link_appears(follower, path):
    path.unlink()
    assert len(follower.next()) == 1
    other = path.with_name("other")
    other.write_text(text("b"))
    os.link(other, path)
    assert follower.next(2) == ["b", "good"]


def test_directory_removed_and_made_again(follower, path):
    path.unlink()
    path.parent.rmdir()
    assert follower.next() == [f"{path}: does not exist"]
    path.parent.mkdir()
    path.write_text(text("b"))
    assert follower.next(2) == ["b", "good"]
    replace(path, text("c"))
    assert follower.next() == ["c"]


def test_directory_replaced_by_rename(follower, path, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / path.name).write_text(text("b"))
    path.parent.rename(tmp_path / "old")
    new.rename(path.parent)
    assert follower.next() == ["b"]
    (tmp_path / "old" / path.name).write_text(text("z"))
    assert follower.quiet()
    replace(path, text("c"))
    assert follower.next() == ["c"]


def test_parents_appear_later(follow, tmp_path):
    path = tmp_path / "a" / "b" / "t.yaml"
    follower = follow(path)
    assert follower.next() == [f"{path}: does not exist"]
    path.parent.mkdir(parents=True)
    path.write_text(text("a"))
    assert follower.next(2) == ["a", "good"]


def test_kubernetes_swaps_a_link(follow, tmp_path):
    """A ConfigMap: t.yaml -> ..data/t.yaml, ..data -> ..1; an update renames a new ..data over it."""
    for number, name in ((1, "a"), (2, "b")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "t.yaml").write_text(text(name))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "t.yaml").symlink_to("..data/t.yaml")
    follower = follow(tmp_path / "t.yaml")
    assert follower.next() == ["a"]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert follower.next() == ["b"]
    (tmp_path / "..2" / "t.yaml").write_text(text("c"))
    assert follower.next() == ["c"]


def test_link_to_a_file_elsewhere(follow, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_text(text("a"))
    link = tmp_path / "t.yaml"
    link.symlink_to(elsewhere / "x")
    follower = follow(link)
    assert follower.next() == ["a"]
    replace(elsewhere / "x", text("b"))
    assert follower.next() == ["b"]
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    assert follower.next() == [f"{link}: does not exist"]
    (tmp_path / "nowhere").write_text(text("c"))
    assert follower.next(2) == ["c", "good"]


def test_relative_path(follow, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    follower = follow(path.name)
    assert follower.next() == ["a"]
    replace(path, text("b"))
    assert follower.next() == ["b"]


def test_turns_into_a_directory_a_fifo_a_loop(follower, path):
    path.unlink()
    path.mkdir()
    assert follower.next() == [f"{path}: is a directory"]
    path.rmdir()
    os.mkfifo(path)
    assert follower.next() == [f"{path}: is not a regular file"]
    path.unlink()
    path.symlink_to(path.name)
    assert follower.next() == [f"{path}: cannot be read: Too many levels of symbolic links"]
    path.unlink()
    path.write_text(text("b"))
    assert follower.next(2) == ["b", "good"]


def test_too_large(follower, path):
    with path.open("w") as file:
        file.truncate(50 << 20)
    [report] = follower.next()
    assert "is too large: 52,428,800 bytes" in report
    replace(path, text("b"))
    assert follower.next(2) == ["b", "good"]


def test_burst_ends_in_the_last(follower, path):
    for number in range(100):
        replace(path, text(f"n{number}"))
    deadline = time.monotonic() + 30
    while "n99" not in follower.reports and time.monotonic() < deadline:
        hub.sleep(0.01)
    assert follower.reports[-1] == "n99"
    assert len(follower.reports) < 50


def test_foreign_files_in_the_directory_cause_nothing(follower, path):
    loads = []
    follower.source._look = lambda: loads.append(1)
    for number in range(20):
        path.with_name(f"other{number}").write_text("x")
    assert follower.quiet(0.2)
    assert not loads


def test_reload_looks_again(follower, path):
    follower.source.reload()
    assert follower.quiet(0.2)


def test_stop_and_start(follower, path):
    follower.source.stop()
    follower.source.stop()
    replace(path, text("b"))
    assert follower.quiet(0.2)
    follower.source.start()
    assert follower.next() == ["b"]


def test_stop_before_start(path):
    FileSource(str(path), 1, Feed(DEFAULT_POOL, print, print)).stop()


def test_callback_that_fails_does_not_end_the_source(follow, path):
    follower = follow(path)
    follower.next()
    good, follower.feed._on_topology = follower.feed._on_topology, lambda topology: 1 / 0
    replace(path, text("b"))
    assert follower.next() == [f"{path}: cannot be taken over: internal error, see the log"]
    follower.source.reload()
    assert follower.quiet()
    follower.feed._on_topology = good
    replace(path, text("c"))
    assert follower.next(2) == ["c", "good"]
    assert list(follower.topologies[-1].networks) == ["c"]


def test_a_file_that_vanishes_while_it_is_read_is_read_once_more(follow, path):
    follower = follow(path)
    follower.next()
    away = path.with_name("away")
    follower.feed._on_topology = lambda topology: path.rename(away)
    replace(path, text("b") + "- {id: c, mut: 3}\n")
    assert follower.next() == [f"{path}: does not exist"]
    away.rename(path)
    assert follower.next() == [f"{path}:3: networks[1].mut: is unknown; did you mean mtu?"]
    replace(path, text("b"))
    assert follower.next() == ["good"]


def test_what_is_new_cannot_be_told(follower, path, monkeypatch):
    """Then the file is read as a whole, as a large one is at first."""
    from fip64agent.topology.file import reader

    monkeypatch.setattr(reader, "read_again", lambda *_: 1 / 0)
    replace(path, text("a", "b"))
    assert follower.next() == ["ab"]


def test_without_inotify_it_polls(follow, path, monkeypatch):
    def none_left(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(file_module, "PathWatch", none_left)
    monkeypatch.setattr(file_module, "POLL", 0.1)
    follower = follow(path)
    assert follower.next() == ["a"]
    replace(path, text("b"))
    assert follower.next() == ["b"]


def test_what_inotify_does_not_see_is_polled(follower, path, monkeypatch):
    monkeypatch.setattr(file_module, "POLL", 0.1)
    watch = follower.source._watch
    monkeypatch.setattr(watch, "changed", lambda: watch._inotify.read(0) and False)
    replace(path, text("b"))
    assert follower.next() == ["b"]


# Large files: a child parses them

@contextlib.contextmanager
def hub_gaps():
    """Measure how long the event loop stands still, in seconds: a list that grows meanwhile."""
    gaps = []

    def tick() -> None:
        last = time.monotonic()
        while True:
            hub.sleep(0.002)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticker = hub.spawn(tick)
    try:
        yield gaps
    finally:
        ticker.kill()


def large(path: Path, mtu: int = 1500) -> None:
    network = f"- {{id: net, mtu: {mtu}}}\n"
    replace(path, "networks:\n" + network + "".join(f"- {{id: n{number:06d}, description: {'x' * 200}}}\n"
                                                    for number in range(5000)))


def test_large_file(follow, path):
    follower = follow(path, max_size=8)
    assert follower.next() == ["a"]
    large(path)
    assert len(follower.next()) == 1
    large(path, 1400)
    assert len(follower.next()) == 1
    _, before, after = follower.topologies
    assert after.networks["net"].mtu == 1400
    assert all(after.networks[name] is before.networks[name] for name in before.networks if name != "net")
    with path.open("a") as file:
        file.write("- {id: n000001}\n")
    assert follower.next() == [f"{path}:5003: networks[5001].id: 'n000001' is already the id of networks[2]"]
    large(path, 1400)
    assert follower.next() == ["good"]


def test_one_more_among_ten_thousand_floating_ips(follow, path, monkeypatch):
    from fip64agent.topology.file.loader import load
    from tests.unit.topology.test_loader import written

    topology, _ = topologies.big_topology(100, 10_000)
    content = written(topology)
    replace(path, content)
    follower = follow(path, max_size=32)
    follower.next(within=30)
    assert len(follower.topologies) == 1
    monkeypatch.setattr(follower.source._worker, "load", None)  # no child any more
    with hub_gaps() as gaps:
        for number in range(5):
            content += (f"- id: more{number}\n  floating_network_id: ext\n"
                        f"  floating_ip_address: 2001:db8:f::f:{number:x}\n")
            replace(path, content)
            assert len(follower.next(within=30)) == 1
            print(f"one more: replaced and reported in {follower.taken:.3f} s")
    print(f"the event loop stood still for at most {1000 * max(gaps):.0f} ms")
    before, after = follower.topologies[-2:]
    assert after == load(path)
    assert list(after.floatingips)[-5:] == [f"more{number}" for number in range(5)]
    assert after.ports is before.ports
    assert all(after.floatingips[name] is before.floatingips[name] for name in before.floatingips)
    monkeypatch.undo()  # a fault is for the ordinary way, which knows the lines
    replace(path, content + "- id: more0\n  floating_network_id: ext\n"
                            "  floating_ip_address: 2001:db8:f::f:9\n")
    assert follower.next(within=30) == [
        f"{path}:{content.count(chr(10)) + 1}: floatingips[10005].id: 'more0' is already the id of "
        "floatingips[10000]"]


def test_large_file_does_not_hold_up_the_event_loop(follow, path):
    follower = follow(path, max_size=8)
    follower.next()
    with hub_gaps() as gaps:
        large(path)
        assert len(follower.next()) == 1
    print(f"the event loop stood still for at most {1000 * max(gaps):.0f} ms")
    assert max(gaps) > 0


def test_child_killed(follow, path, tmp_path, monkeypatch):
    follower = follow(path, max_size=8)
    follower.next()
    slow = tmp_path / "python"  # or it may have ended before we can kill it
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    large(path)
    until(lambda: follower.source._worker._child is not None)
    monkeypatch.undo()
    follower.source._worker._child.send_signal(signal.SIGKILL)
    assert follower.next() == [f"{path}: cannot be parsed: the parsing process was killed"]
    follower.source.reload()
    assert len(follower.next(2)) == 2


def test_memory_of_ten_thousand_floating_ips(tmp_path):
    """A process of its own follows a large file through some changes: what does it keep?"""
    from tests.unit.topology.test_loader import written

    topology, _ = topologies.big_topology(100, 10_000)
    path = tmp_path / "t.yaml"
    path.write_text(written(topology))
    program = """
import os, sys, time
from fip64agent import hub
from fip64agent.topology.feed import Feed
from fip64agent.topology.file.loader import DEFAULT_POOL
from fip64agent.topology.file.source import FileSource
def rss(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
seen = []
before = rss()
path = sys.argv[1]
source = FileSource(path, 32, Feed(DEFAULT_POOL, seen.append, lambda error: print(error)))
source.start()
for mtu in (1500, 1400, 1300):
    if seen:
        with open(path) as old, open(path + ".new", "w") as new:
            for line in old:
                new.write(f"  mtu: {mtu}\\n" if line.startswith("  mtu:") else line)
        os.rename(path + ".new", path)
    began = time.monotonic()
    while (not seen or next(iter(seen[-1].networks.values())).mtu != mtu) and time.monotonic() < began + 30:
        hub.sleep(0.01)
    del seen[:-1]
    assert next(iter(seen[-1].networks.values())).mtu == mtu
assert len(seen[-1].floatingips) == 10000
print(rss() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True,
                          text=True, timeout=100)
    growth = float(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else None
    assert growth is not None, done.stderr
    print(f"it grew by {growth:.1f} MB")
    assert growth < 50, f"{growth} MB"
