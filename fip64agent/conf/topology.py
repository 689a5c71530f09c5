# SPDX-License-Identifier: Apache-2.0
"""[topology]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("topology", title="Where networks, routers, ports and floating IPs come from")
OPTS = [
    cfg.StrOpt("source", default="file",
               help="Kind of the topology source: \"file\", a YAML file that is watched for changes, or the "
                    "name of another one that is installed (an entry point of the group "
                    "fip64agent.topology.sources)."),
    cfg.StrOpt("path", default="/etc/fip64agent/topology.yaml",
               help="The topology file. Replace it with rename(2). What is wrong in it is reported: a faulty "
                    "resource stays as it was when it was right last, and a file that cannot be read "
                    "changes nothing."),
    cfg.IntOpt("max_size", default=32, min=1, max=1024,
               help="Largest topology file that is read, in MiB."),
]
