# SPDX-License-Identifier: Apache-2.0
"""[metrics]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("metrics", title="Prometheus metrics")
OPTS = [
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address to serve /metrics on."),
    cfg.PortOpt("port", default=9464, min=0, help="TCP port to serve /metrics on; 0 serves none."),
    cfg.BoolOpt("per_fip", mutable=True, default=True,
                help="Serve counters for each floating IP, 4 time series each; those for each tenant are "
                     "served anyway. Look what the metrics' store can take if a host has thousands of "
                     "floating IPs. Only with a translator that counts packets."),
]
