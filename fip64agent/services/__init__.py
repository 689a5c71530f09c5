# SPDX-License-Identifier: Apache-2.0
"""What answers packets that flows cannot: one module per service, which says what it brings in SERVICE."""
