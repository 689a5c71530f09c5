# SPDX-License-Identifier: Apache-2.0
"""Path MTU discovery through the translator, both ways (RFC 7915, sections 4.2, 4.4, 5.2 and 5.4)."""

import sys

import pytest

from lab.host import FIP_A

LEARN = """
import socket, sys, time
peer, size, least = sys.argv[1], *map(int, sys.argv[2:])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: always DF
sock.connect((peer, 9999))
deadline = time.monotonic() + 10
for number in range(1000):
    try:
        sock.send(bytes(size - 28))
    except OSError:  # EMSGSIZE: it knows already; ECONNREFUSED: it arrived, and nobody listens
        pass
    time.sleep(0.05)
    if number >= 9 and (sock.getsockopt(socket.IPPROTO_IP, 14) <= least or time.monotonic() > deadline):
        break
print(sock.getsockopt(socket.IPPROTO_IP, 14))  # IP_MTU
"""


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    lab["vm-a"].serve()
    lab.add_client("behind-1400", mtu=1400)
    lab.wait_reachable(FIP_A)
    return lab


def learned(lab, client, size, expected):
    """What VM A believes the MTU towards the client to be after DF packets of `size` bytes, in bytes.

    It gets ten seconds to come to what is `expected`.
    """
    peer = client.http_get(FIP_A)["answer"]["you_are"]
    return int(lab["vm-a"].run(sys.executable, "-c", LEARN, peer, str(size), str(expected)).stdout)


def test_a_vm_that_sends_1500_byte_df_packets_learns_1480(lab):
    assert learned(lab, lab.client, 1500, 1480) == 1480


def test_what_fits_is_not_refused(lab):
    """On a client of its own: what a VM has learned it keeps for ten minutes."""
    other = lab.add_client("other")
    assert learned(lab, other, 1480, 1500) == 1500


def test_the_vm_learns_of_a_1400_link_behind_the_upstream_router(lab):
    assert learned(lab, lab["behind-1400"], 1480, 1380) == 1380


@pytest.mark.parametrize("way", ["put", "get"])
def test_tcp_through_such_a_path_completes(lab, way):
    result = lab["behind-1400"].transfer(FIP_A, 4 << 20, way)
    assert result["equal"], result


def test_udp_in_fragments_through_such_a_path(lab):
    lab["behind-1400"].udp(FIP_A, size=8000, timeout=1)  # the VM may learn the path MTU with the first
    result = lab["behind-1400"].udp(FIP_A, size=32768, count=3)
    assert result["equal"] == 3, result
