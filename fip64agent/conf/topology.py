# SPDX-License-Identifier: Apache-2.0
"""[topology]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("topology", title="Where networks, routers, ports and floating IPs come from")
OPTS = [
    cfg.StrOpt("source", default="file", choices=[("file", "A YAML file, watched for changes.")],
               help="Kind of the topology source."),
    cfg.StrOpt("path", default="/etc/fip64agent/topology.yaml",
               help="The topology file. Replace it with rename(2): a file that cannot be used is "
                    "reported, and the last good topology stays in force."),
    cfg.IntOpt("max_size", default=32, min=1, max=1024,
               help="Largest topology file that is read, in MiB."),
]
