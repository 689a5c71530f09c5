# SPDX-License-Identifier: Apache-2.0
"""The example of doc/source/contributor/testing.rst."""

from lab.host import FIP_A
from tests.e2e import steps


def test_a_floating_ip_follows_its_vm(lab):
    vm = lab.add_vm("vm-c", tenant="a", address="10.0.0.6", serve=True)
    lab.topology.move_fip(FIP_A, "vm-c")
    lab.wait_for(lambda: lab.client.http_get(FIP_A)["answer"]["vm"] == vm.name, 5, "vm-c answers")
    steps.wait_settled(lab)
