"""Training of a SAM 3 concept detector on synthetic pictures with noun phrases and exemplar boxes.

Follow a step: `vocabulary` names things, `scenes` draws them, `questions` asks for them, `batches` makes tensors,
`grounding` runs the network, `matching` and `losses` compare, `trainer` does the steps.
"""

from __future__ import annotations
