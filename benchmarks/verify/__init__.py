"""Whether a published checkpoint gives here the masks that it gives in its authors' code, on real camera clips."""

from __future__ import annotations
