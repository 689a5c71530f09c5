# SPDX-License-Identifier: Apache-2.0
"""[tayga]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("tayga", title="The tayga translator")
TRANSLATOR = ("tayga", "One tayga process per tenant, in the tenant's network namespace. Cannot be tuned: "
                       "client_idle_timeout is always 7440, lowest_ipv6_mtu 1280, traffic_class copy and "
                       "udp_zero_checksum drop. Does not count packets. Pools must be cut into 2, 4, 8 ... "
                       "parts.")
OPTS = [
    cfg.StrOpt("binary", default="tayga", help="The program: a path, or a name to be found in PATH."),
    cfg.StrOpt("netns_prefix", default="fip64-", regex=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=32,
               help="Prefix of the network namespaces: <prefix>nd with any translator; with tayga also "
                    "<prefix>core, and <prefix><router id> per tenant."),
]
