# SPDX-License-Identifier: Apache-2.0
"""Services, which answer packets that flows cannot answer: one module per service, which defines SERVICE."""
