"""The reference implementations beside ours: Meta's `sam2` and `transformers`' SAM 3, on shared random weights.

Parity tests and speed benchmarks build their pairs of networks here.
"""

from __future__ import annotations
