"""Training and fine-tuning: one trainer, and a task for each kind of model.

``tracking`` trains SAM 2 on generated clips or a user's frames and masks, ``concepts`` a SAM 3 detector on generated
pictures. Run ``python -m sam_core.training --help``; settings are in ``config/training/*.yaml``.
"""

from __future__ import annotations
