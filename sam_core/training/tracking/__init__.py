"""Training of a SAM 2 tracker on generated clips or a user's frames and masks.

A step: `sources` draws clips, `batches` makes tensors, `unroll` tracks objects through them, `losses` compares.
"""

from __future__ import annotations
