# SPDX-License-Identifier: Apache-2.0
"""etc/topology.yaml as it is shipped, with each line that its comments say can be uncommented."""

from ipaddress import ip_network

import pytest
import yaml

from tests.e2e import steps
from tests.unit.doc import pages

EXAMPLE = pages.ROOT / "etc" / "topology.yaml"


@pytest.fixture
def lab(make_lab):
    """What the example's comments say: its upstream router, its uplink, its VMs; the daemon follows it."""
    lab = make_lab(standard=False, agent=True)
    lab.add_client()
    document = lab.topology.data = yaml.safe_load(EXAMPLE.read_text())
    lab.topology.write(EXAMPLE.read_text())
    lab.wire_uplink("uplink", lab.topology.find("ports", "edge-uplink"), "2001:db8:ffff::/64")
    lab.upstream.ip("route add 2001:db8:f::/64 via 2001:db8:ffff::2")
    networks = [network["id"] for network in document["networks"]]
    vms = [port for port in document["ports"] if port["device_owner"].startswith("compute:")]
    for port in vms:
        lab.wire_vm(port["id"], port, 1000 + networks.index(port["network_id"]))
    lab.bind("uplink", *(port["id"] for port in vms))
    return lab


def test_every_floating_ip_of_the_example_works_when_it_is_used_as_its_comments_say(lab):
    text = EXAMPLE.read_text()
    changed = [text, *pages.prepared(text), pages.all_prepared(text)]
    for version in changed:
        lab.topology.write(version)
        steps.wait_settled(lab)
        rows = yaml.safe_load(version)["floatingips"]
        for row in rows:
            address, vm = row["floating_ip_address"], row.get("port_id")
            wanted = "active" if vm else "down"
            assert steps.fip(lab, address)["state"] == wanted, steps.fip(lab, address)
            assert lab.client.reaches(address, 5 if vm else 0) == bool(vm), row
    assert all(row.get("port_id") for row in rows), "all were tried"
    lab.wait_reachable(*(row["floating_ip_address"] for row in rows))
    status = lab.ctl("status")
    assert status.returncode == 0, status.stdout
    assert {ip_network(f"{row['floating_ip_address']}/64", strict=False) for row in rows} == {
        ip_network("2001:db8:f::/64"), ip_network("2001:db8:ffff::/64")}, "routed ones and one on the link"
