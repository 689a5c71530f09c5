# SPDX-License-Identifier: Apache-2.0
"""[ports]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("ports", title="IPv6 of VM ports")
OPTS = [
    cfg.BoolOpt("enabled", mutable=True, default=True,
                help="Serve the ports of VMs that have an IPv6 address, or security groups: switch and route "
                     "their IPv6, and answer for their routers. Switch it off where another system does that. "
                     "Floating IPs do not need it."),
    cfg.BoolOpt("security_groups", mutable=True, default=True,
                help="Let pass only what the security groups of a port allow, IPv6 and IPv4. A topology "
                     "without any security group filters nothing."),
]
