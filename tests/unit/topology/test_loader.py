# SPDX-License-Identifier: Apache-2.0
"""Loading: what is written is what is read, from a file of any nature, in place and in a child."""

from __future__ import annotations

import dataclasses
import os
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fip64agent.exceptions import TopologyError
from fip64agent.topology import reference
from fip64agent.topology.attributes import SECTIONS, Resource
from fip64agent.topology.file.loader import DEFAULT_POOL, load, parse
from fip64agent.topology.file.worker import Loaded, Worker, digest_of
from fip64agent.topology.model import KINDS, FloatingIP, Nat64Binding, Topology
from fip64agent.topology.resources import Resources
from tests.fakes import topologies

EXAMPLE = Path(__file__).parents[3] / "etc" / "topology.yaml"
_LOADER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def described() -> list[Resource]:
    """Return the resources of the sections, and the mappings inside of them."""
    inner = [attribute.kind.inner for resource in SECTIONS.values() for attribute in resource.attributes]
    return [*SECTIONS.values(), *(resource for resource in inner if resource is not None)]


def written(topology: Topology, extra: dict | None = None) -> str:
    """Return the document of a topology, with only what needs to be said, and `extra` in each item."""

    def plain(value):
        if isinstance(value, tuple):
            return list(map(plain, value))
        if dataclasses.is_dataclass(value):
            values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {"router:external" if name == "external" else name: plain(item)
                    for name, item in values.items() if item not in (None, "", ())}
        return value if isinstance(value, str | int | bool) else str(value)

    document = {kind: [plain(item) | (extra or {}) for item in getattr(topology, kind).values()]
                for kind in SECTIONS}
    return yaml.dump(document, Dumper=_LOADER, sort_keys=False)


def with_targets(topology: Topology) -> Topology:
    """Return the topology with what load() fills in, found another way."""

    def target(fip: FloatingIP) -> FloatingIP:
        if fip.port_id is None:
            return fip
        [fixed] = topology.ports[fip.port_id].fixed_ips
        [router_id] = {
            port.device_id
            for port in topology.ports.values()
            if port.device_owner == "network:router_interface"
            and fixed.subnet_id in {other.subnet_id for other in port.fixed_ips}
        }
        return dataclasses.replace(fip, fixed_ip_address=fixed.ip_address, router_id=router_id)

    return dataclasses.replace(topology, floatingips={
        fip.id: target(fip) for fip in topology.floatingips.values()})


def representable(topology: Topology) -> bool:
    return all("/" not in item_id for item_id in topology.routers)


@settings(deadline=None)
@given(
    topologies.valid_sites().map(lambda site: site.topology).filter(representable),
    st.sampled_from((None, {"description": "", "project_id": None, "tags": ["a"], "revision_number": 2})),
)
def test_what_is_written_is_what_is_read(topology, extra):
    read = parse(written(topology, extra), "t")
    assert read == with_targets(topology)


def test_example():
    topology = load(EXAMPLE)
    assert {fip.router_id for fip in topology.floatingips.values()} == {"red", "blue", None}
    red, blue = (topology.floatingips[name] for name in ("fip-red", "fip-blue"))
    assert red.fixed_ip_address == blue.fixed_ip_address
    assert topology.routers["blue"].nat64_pool == IPv4Network("100.65.0.0/16")


def test_static_bindings_of_clients():
    text = """
routers:
- id: r
  nat64_bindings:
  - {ipv6_address: '2001:DB8::1', pool_address: 100.64.0.7}
- {id: s, nat64_bindings: ~}
"""
    routers = parse(text, "t").routers
    binding = Nat64Binding(IPv6Address("2001:db8::1"), IPv4Address("100.64.0.7"))
    assert routers["r"].nat64_bindings == (binding,)
    assert routers["s"].nat64_bindings == ()


def test_nothing():
    assert parse("{}", "t") == Topology.of()
    assert parse("networks:\nports: ~\nfloatingips: []\n", "t") == Topology.of()


def test_digits_are_no_numbers_of_base_60():
    text = (
        "networks:\n- {id: n, name: 1.5, description: 2026-11-21}\nports:\n"
        "- id: p\n  network_id: n\n  mac_address: 52:54:00:12:34:56\n"
        "subnets: [{id: s, network_id: n, cidr: 1:2:3:4:5:6:7:8/128, gateway_ip: null}]\n"
    )
    topology = parse(text, "t")
    assert topology.ports["p"].mac_address == "52:54:00:12:34:56"
    assert str(topology.subnets["s"].cidr) == "1:2:3:4:5:6:7:8/128"


def test_gateway_may_be_link_local():
    topology = parse(
        "networks: [{id: n}]\n"
        "subnets: [{id: s, network_id: n, cidr: '2001:db8::/64', gateway_ip: 'fe80::1'}]",
        "t",
    )
    assert str(topology.subnets["s"].gateway_ip) == "fe80::1"


def test_port_of_a_floating_ip_may_have_its_address():
    """Neutron makes such a port for each floating IP."""
    text = (
        "networks: [{id: n, 'router:external': true}]\n"
        "subnets: [{id: s, network_id: n, cidr: '2001:db8::/64'}]\n"
        "ports:\n- id: p\n  network_id: n\n  mac_address: fa:16:3e:00:00:01\n"
        "  device_owner: network:floatingip\n  device_id: f\n"
        "  fixed_ips: [{subnet_id: s, ip_address: '2001:db8::9'}]\n"
        "floatingips: [{id: f, floating_network_id: n, floating_ip_address: '2001:db8::9'}]\n"
    )
    assert parse(text, "t").floatingips["f"].port_id is None


def test_output_of_openstack_is_accepted():
    text = """\
ports:
- admin_state_up: true
  allowed_address_pairs: []
  binding_host_id: compute1
  binding_profile: {}
  binding_vif_details: {port_filter: true, bound_drivers: {'0': openvswitch}}
  binding_vif_type: ovs
  binding_vnic_type: normal
  created_at: '2026-01-01T00:00:00Z'
  data_plane_status: null
  description: ''
  device_id: 0fa4c9a4-6f6b-4b6e-a0a7-6a6d0f6d3c11
  device_owner: compute:nova
  dns_assignment: null
  dns_name: null
  extra_dhcp_opts: []
  fixed_ips: []
  id: 6c7c9b8e-4a6e-4d5d-9d60-0a1fd8a3c2ab
  mac_address: fa:16:3e:11:22:33
  name: ''
  network_id: n
  port_security_enabled: true
  project_id: 0123456789abcdef0123456789abcdef
  revision_number: 5
  security_group_ids: [a]
  status: ACTIVE
  tags: []
  updated_at: '2026-01-01T00:00:00Z'
networks:
- {id: n, 'router:external': false, shared: false, subnets: [s], status: ACTIVE, mtu: 1450}
"""
    assert parse(text, "t").ports["6c7c9b8e-4a6e-4d5d-9d60-0a1fd8a3c2ab"].device_owner == "compute:nova"


# Never anything but a Topology or a TopologyError

_REPORT = re.compile(r"t(:\d+)?: .+", re.DOTALL)


def survives(text: str | bytes) -> None:
    try:
        parse(text, "t")
    except TopologyError as error:
        assert error.problems
        assert all(_REPORT.fullmatch(str(problem)) for problem in error.problems)


@given(st.binary() | st.text())
def test_any_bytes(data):
    survives(data)


_SPECIALS = st.sampled_from(
    [
        "",
        "~",
        "id",
        "a",
        "b",
        "10.0.0.1",
        "10.0.0.0/24",
        "::1",
        "2001:db8::/64",
        "2001:db8::9",
        "100.64.0.0/24",
        "fa:16:3e:00:00:01",
        "network:router_interface",
        "ingress",
        "IPv6",
        "icmp",
        "slaac",
    ]
)
_NAMES = st.sampled_from(
    [name for resource in described() for attribute in resource.attributes for name in attribute.names]
    + [name for resource in described() for name in resource.ignored]
    + ["x"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _SPECIALS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)
_ITEMS = st.dictionaries(_NAMES, _VALUES, max_size=8) | _VALUES
_DOCUMENTS = st.dictionaries(
    st.sampled_from(list(SECTIONS)) | st.text(max_size=4), st.lists(_ITEMS, max_size=4) | _VALUES, max_size=6
)


@settings(deadline=None)
@given(_DOCUMENTS)
def test_any_structure(document):
    survives(yaml.safe_dump(document))


@settings(deadline=None)
@given(topologies.any_topologies)
def test_any_topology(topology):
    survives(written(topology))


@settings(deadline=None)
@given(st.data())
def test_the_example_with_a_piece_changed(data):
    text = EXAMPLE.read_bytes()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    piece = data.draw(
        st.binary(max_size=8) | st.sampled_from([b"", b"*a", b"&a ", b"- ", b"\n", b"[", b"}", b": ", b"? "])
    )
    survives(text[:start] + piece + text[end:])


# Files


def reason(path, max_size: int = 32) -> str:
    with pytest.raises(TopologyError) as caught:
        load(path, max_size)
    [problem] = caught.value.problems
    return str(problem)


def test_file_missing(tmp_path):
    assert reason(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: does not exist"


def test_directory(tmp_path):
    assert reason(tmp_path) == f"{tmp_path}: is a directory"


def test_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert reason(tmp_path / "fifo") == f"{tmp_path}/fifo: is not a regular file"


def test_devices():
    assert reason("/dev/null") == "/dev/null: is not a regular file"
    assert reason("/dev/zero") == "/dev/zero: is not a regular file"


def test_strange_names(tmp_path):
    assert reason("a\0b") == "a\0b: is not a file name"
    assert reason("/" + "x" * 300).endswith("cannot be read: File name too long")
    (tmp_path / "file").write_text("{}")
    assert reason(tmp_path / "file" / "below").endswith("file/below: cannot be read: Not a directory")
    (tmp_path / "loop").symlink_to("loop")
    assert reason(tmp_path / "loop").endswith("loop: cannot be read: Too many levels of symbolic links")


def test_unreadable(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("{}")
    path.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may read anything
        try:
            text = reason(path)
        finally:
            os.seteuid(0)
    else:
        text = reason(path)
    assert text == f"{path}: cannot be read: Permission denied"


def test_too_large_is_not_read(tmp_path):
    path = tmp_path / "t.yaml"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    assert reason(path) == f"{path}: is too large: 52,428,800 bytes, and [topology] max_size is 32 MiB"


def test_file_and_line(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("networks:\n- id: a\n  mut: 1\n")
    assert reason(path) == f"{path}:3: networks[0].mut: is unknown; did you mean mtu?"


# The child for large files


def test_worker(tmp_path):
    path = tmp_path / "t.yaml"
    topology, _ = topologies.big_topology(5, 1200)
    path.write_text(written(topology))
    worker = Worker()
    loaded = worker.load(str(path), 32, None)
    assert loaded.digest == digest_of(path.read_bytes())
    assert Resources(DEFAULT_POOL).update(loaded.forms) == load(path) == with_targets_by_number(topology)
    assert set(loaded.contents.resources()) == set(loaded.forms)
    # Each id is one string, however often it is referred to.
    assert all(loaded.forms["ports", form.port_id].id is form.port_id
               for (kind, _), form in loaded.forms.items() if kind == "floatingips")
    assert all(loaded.forms[key].id is key[1] for key in loaded.contents.resources())
    assert worker.load(str(path), 32, loaded.digest) == Loaded(loaded.digest)
    path.write_text(path.read_text().replace("1500", "1400", 1))
    again = worker.load(str(path), 32, loaded.digest, loaded.forms.get)
    [(key, network)] = again.forms.items()
    assert key == ("networks", network.id) and network.mtu == 1400
    assert again.contents.ids == loaded.contents.ids


def with_targets_by_number(topology: Topology) -> Topology:
    return dataclasses.replace(topology, floatingips={
        fip.id: dataclasses.replace(
            fip,
            router_id=topologies.uuid(2, number % 5),
            fixed_ip_address=topology.ports[fip.port_id].fixed_ips[0].ip_address,
        )
        for number, fip in enumerate(topology.floatingips.values())
    })


def test_worker_reports_all_problems(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("networks:\n" + "- {id: a, mut: 1}\n" * 3)
    loaded = Worker().load(str(path), 32, None)
    assert [fault.reason for fault in loaded.contents.found] == [
        "'a' is already the id of networks[0]"] * 2
    assert [finding.reason for finding in loaded.forms["networks", "a"].findings] == [
        "is unknown; did you mean mtu?"]
    path.write_text("networks:\n- {id: a, mut: 1}\nsubnets: 3\n")
    with pytest.raises(TopologyError) as caught:
        load(path)
    loaded = Worker().load(str(path), 32, None)
    assert len(loaded.refusal) == 2 and loaded.refusal == caught.value.problems
    assert loaded.contents is None
    with pytest.raises(TopologyError, match="does not exist"):
        Worker().load(str(tmp_path / "no"), 32, None)


# The reference


def test_reference_names_every_attribute():
    text = reference.rst()
    for section, resource in SECTIONS.items():
        assert f"{section}\n{'-' * len(section)}\n" in text
        for name in [*(attribute.name for attribute in resource.attributes), *resource.ignored]:
            assert f"``{name}``" in text
    for resource in described():
        if resource.name not in {other.name for other in SECTIONS.values()}:
            assert f"{resource.name}\n{'-' * len(resource.name)}\n" in text


def test_every_kind_has_its_section_in_the_order_of_the_model():
    assert tuple(SECTIONS) == KINDS


@pytest.mark.parametrize("resource", described(), ids=lambda resource: resource.name)
def test_every_field_of_the_model_is_an_attribute(resource):
    fields = [field.name for field in dataclasses.fields(resource.model)]
    named = [attribute.field or attribute.name for attribute in resource.attributes
             if attribute.field is not None]
    assert sorted(named) == sorted(fields) and resource.model.__name__ == resource.name
