# SPDX-License-Identifier: Apache-2.0
"""[ovs]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("ovs", title="Open vSwitch")
OPTS = [
    cfg.StrOpt("ovsdb_connection", default="unix:/var/run/openvswitch/db.sock",
               regex=r"^(unix|tcp|ssl):.+", help="Connection to the local ovsdb-server."),
    cfg.StrOpt("run_path", default="/var/run/openvswitch",
               help="Run directory of ovs-vswitchd: has the bridge's OpenFlow management socket."),
    cfg.StrOpt("bridge", default="br-int",
               help="The bridge that uplinks and VMs are plugged into. The agent does not make it, and waits "
                    "until it is there."),
    cfg.StrOpt("redirect", mutable=True, default="all",
               choices=[("all", "All IPv6 that comes in by an uplink goes to the translator."),
                        ("external-networks",
                         "Only IPv6 to the uplink's address and to external networks; the rest is "
                         "forwarded as before.")],
               help="Which IPv6 packets of an uplink go to the translator."),
    cfg.BoolOpt("answer_arp", mutable=True, default=True,
                help="Answer the VMs' ARP requests for their tenant router's IPv4 address. Switch it "
                     "off where another system owns the gateway."),
    cfg.IntOpt("timeout", default=10, min=1,
               help="Seconds to wait for an answer of OVS before the connection is given up."),
    cfg.IntOpt("packet_in_rate", default=200, min=1, max=1_000_000,
               help="Packets a second of one port that Open vSwitch sends to the agent for one service."),
    cfg.IntOpt("packet_in_burst", default=50, min=1, max=1_000_000,
               help="Packets of one port that Open vSwitch sends to the agent at once for one service."),
]
