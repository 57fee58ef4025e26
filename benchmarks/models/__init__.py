"""Which model for which computer and task: what each needs and takes, as a table in `docs/models.md`."""

from __future__ import annotations
