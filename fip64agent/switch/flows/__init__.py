# SPDX-License-Identifier: Apache-2.0
"""One module per feature: pure functions from the plan's objects to flows. Nothing is sent here.

A module says what it brings in FEATURE, a features.FlowFeature.
"""
