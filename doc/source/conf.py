# SPDX-License-Identifier: Apache-2.0
"""Sphinx. HTML: make doc. Manual pages: python -m sphinx -W -b man doc/source doc/build/man."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import fip64agent

project = "fip64agent"
author = "the fip64agent founders"
copyright = author
release = version = fip64agent.__version__
language = "en"

extensions = ["oslo_config.sphinxext", "attributes"]
templates_path = []
exclude_patterns = ["_ext"]
nitpicky = True
highlight_language = "none"
smartquotes = False

html_theme = "alabaster"
html_title = f"fip64agent {release}"
html_theme_options = {"description": "Floating IPv6 addresses for VMs that have only IPv4",
                      "page_width": "1060px", "fixed_sidebar": True}
html_static_path = []
html_copy_source = False
html_show_copyright = False

man_pages = [
    ("man/fip64-agent", "fip64-agent", "", author, 8),
    ("reference/fip64ctl", "fip64ctl", "", author, 8),
    ("man/fip64-cleanup", "fip64-cleanup", "", author, 8),
]
