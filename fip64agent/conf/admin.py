# SPDX-License-Identifier: Apache-2.0
"""[admin]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("admin", title="The admin socket that fip64ctl talks to")
OPTS = [
    cfg.StrOpt("socket", default="$run_path/admin.sock",
               help="Path of the unix socket, mode 0600: root only."),
]
