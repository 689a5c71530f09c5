# SPDX-License-Identifier: Apache-2.0
"""How objects of each kind are listed: a module for each, with its LISTING.

Other packages add theirs by entry points "fip64agent.listings". fip64ctl imports these modules with each
call: they import nothing that takes long.
"""
