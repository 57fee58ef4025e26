"""Training of a SAM 2, EdgeTAM or SAM 3 tracker on generated clips or a user's frames and masks.

A run begins at `start`. A step: `sources` draws clips (of a `folder` in the layout of `davis` or `coco`, or generated),
`batches` makes tensors, `unroll` tracks objects through them with the prompts of an `interaction`, `losses` compares.
"""

from __future__ import annotations
