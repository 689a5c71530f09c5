# SPDX-License-Identifier: Apache-2.0
"""Sources are found by entry point: those of other packages too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address

import pytest
import stevedore
import yaml
from oslo_config import cfg

from fip64agent import conf as options
from fip64agent import hub
from fip64agent.exceptions import ConfigError, TopologyError
from fip64agent.topology.feed import Feed
from fip64agent.topology.file.loader import load
from fip64agent.topology.file.source import FileSource
from fip64agent.topology.model import KINDS, Finding, FloatingIP, Network, Topology, Unreadable
from fip64agent.topology.sources import GROUP, source_from
from tests.fakes.topologies import two_tenant_site
from tests.unit.doc import pages

OTHER = '''
from fip64agent.topology.model import Network

class Fixed:
    name = "a fixed topology"

    def __init__(self, conf, sink):
        self._sink = sink

    def start(self):
        self._sink.update({("networks", "n"): Network("n")})
        self._sink.report((), False)

    def stop(self):
        pass

    def reload(self):
        pass
'''


def configured(source: str):
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("source", source, "topology")
    return conf


@pytest.fixture
def feed():
    feed = Feed(IPv4Network("100.64.0.0/16"), lambda topology: feed.topologies.append(topology),
                lambda error: feed.errors.append(error))
    feed.topologies, feed.errors = [], []
    return feed


@pytest.fixture
def another(tmp_path, monkeypatch):
    """A package outside of fip64agent that brings the sources "fixed" and "broken"."""
    (tmp_path / "another_source.py").write_text(OTHER)
    info = tmp_path / "another_source-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nfixed = another_source:Fixed\n"
                                           "broken = another_source:Missing\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    forget(monkeypatch)
    yield
    sys.modules.pop("another_source", None)


def forget(monkeypatch):
    """Have stevedore look at sys.path again, which it remembers in a process."""
    monkeypatch.setattr(stevedore.ExtensionManager, "ENTRY_POINT_CACHE", {})
    from stevedore import _cache

    monkeypatch.setattr(_cache, "_c", _cache.Cache())


def test_the_file_is_the_default():
    conf = configured("file")
    assert isinstance(source_from(conf, None), FileSource)
    assert conf.topology.source == "file"
    assert source_from(conf, None).name == conf.topology.path


def test_a_source_of_another_package(another, feed):
    source = source_from(configured("fixed"), feed)
    assert source.name == "a fixed topology"
    source.start()
    assert feed.topologies == [Topology.of(networks=[Network("n")])] and feed.errors == []


def test_an_unknown_name(another):
    with pytest.raises(ConfigError, match=r"^\[topology\] source: there is no source 'etcd'; "
                                          r"there are: file, fixed$"):
        source_from(configured("etcd"), None)


def test_a_source_that_cannot_be_loaded(another):
    with pytest.raises(ConfigError, match=r"^\[topology\] source: broken cannot be loaded: .*Missing"):
        source_from(configured("broken"), None)


# The sink


def test_each_topology_and_each_error_is_told_once(feed):
    feed.update({})
    feed.report((), False)
    feed.update({})
    assert feed.topologies == [Topology()] and feed.errors == []
    for _ in range(2):
        topology = feed.update({("networks", "n"): Unreadable((Finding((), "is broken"),))})
        feed.report(["n is broken"], False)
    assert feed.topologies[1:] == [topology] and topology.faults
    [error] = feed.errors
    assert isinstance(error, TopologyError) and not error.refused and error.problems == ("n is broken",)
    feed.report(["n is broken"], True)
    feed.update({("networks", "n"): None})
    feed.report((), False)
    assert feed.errors[1].refused and feed.errors[2:] == [None]
    assert feed.topologies[-1] == Topology() and feed.known(("networks", "n")) is None


def test_the_default_pool_changes(feed):
    feed.set_default_pool(IPv4Network("10.0.0.0/8"))
    assert feed.topologies == []  # nothing was read yet
    feed.update({("networks", "n"): Network("n")})
    feed.set_default_pool(IPv4Network("100.64.0.0/16"))
    assert len(feed.topologies) == 1


def test_an_update_that_fails_changes_nothing_and_the_next_one_has_all(feed):
    site = two_tenant_site()
    site.add(FloatingIP("z", "ext", IPv6Address("2001:db8:f::99")))
    everything = {(kind, item_id): item for kind in KINDS
                  for item_id, item in getattr(site.topology, kind).items()}
    before = feed.update(everything)
    with pytest.raises(KeyError):
        feed.update({("networks", "n"): Network("n"), ("things", "t"): Network("t")})
    assert feed.topologies == [before] and feed.known(("networks", "n")) is None
    # What was in force keeps what it has, and stays in its last good form.
    everything["floatingips", "a"] = FloatingIP("a", "ext", IPv6Address("2001:db8:f::99"))
    everything["ports", "vm-red"] = Unreadable((Finding((), "is broken"),))
    del everything["floatingips", "fip-vm-blue"]
    topology = feed.update(everything)
    assert set(topology.faults) == {("floatingips", "a"), ("ports", "vm-red")}
    assert topology.ports is before.ports and topology.networks is before.networks
    assert set(topology.floatingips) == {"fip-vm-red", "z"}
    assert feed.topologies == [before, topology]
    assert feed.update({("floatingips", "z"): None}).floatingips.keys() == {"fip-vm-red", "a"}


# The documentation's example


@pytest.fixture
def json_source(feed, tmp_path, monkeypatch) -> Iterator:
    """The source of contributor/new-source, of an empty topology."""
    monkeypatch.syspath_prepend(str(pages.SOURCE / "contributor/examples/source"))
    from fip64_json_source import JsonSource

    conf = configured("json")
    conf.set_override("path", str(tmp_path / "topology.json"), "topology")
    (tmp_path / "topology.json").write_text("{}")
    source = JsonSource(conf, feed)
    source.path = tmp_path / "topology.json"
    source.start()
    yield source
    source.stop()
    source.stop()
    sys.modules.pop("fip64_json_source")


def reload(source, document) -> None:
    source.path.write_text(document if isinstance(document, str) else json.dumps(document))
    source.reload()


def until(condition) -> None:
    with hub.Timeout(10):
        while not condition():
            hub.sleep(0.01)


def test_the_documented_source_reports_what_its_file_has(json_source, feed):
    until(lambda: feed.topologies == [Topology()])
    document = yaml.safe_load(pages.EXAMPLE_TOPOLOGY.read_text())
    reload(json_source, document)
    until(lambda: len(feed.topologies) == 2)
    assert feed.topologies[1] == load(str(pages.EXAMPLE_TOPOLOGY)) and feed.errors == []

    port = document["ports"][0]
    good = feed.topologies[1].ports[port["id"]]
    port["mac_address"] = "nonsense"
    reload(json_source, document)
    until(lambda: feed.errors)
    assert not feed.errors[0].refused and f"ports {port['id']}: mac_address" in str(feed.errors[0])
    assert feed.topologies[-1].ports[port["id"]] == good

    reload(json_source, "[")
    until(lambda: len(feed.errors) == 2)
    assert feed.errors[1].refused and feed.topologies[-1].ports[port["id"]] == good

    reload(json_source, {})
    until(lambda: feed.topologies[-1] == Topology() and feed.errors[-1] is None)
