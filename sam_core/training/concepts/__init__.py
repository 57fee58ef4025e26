"""Training of a SAM 3 concept detector on synthetic pictures with noun phrases and exemplar boxes.

A step: `vocabulary` names things, `scenes` draws them, `questions` makes prompts for them, `batches` makes tensors,
`grounding` runs the network, `matching` and `losses` compare.
"""

from __future__ import annotations
