"""Training and fine-tuning of SAM 2 models on synthetic clips or a user's frames and masks.

Run ``python -m sam_core.training --help``; settings are in ``config/training/*.yaml``.
"""

from __future__ import annotations
