# SPDX-License-Identifier: Apache-2.0
"""The topology source "file": a YAML file, followed with inotify."""
