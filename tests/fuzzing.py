"""Settings of generated tests: the same examples in every run, and many random ones on request.

    FUZZ=20 python -m pytest tests/core/test_fuzz.py tests/ros/test_fuzz_node.py

tries twenty times as many examples, others in every run; a failure prints how to repeat it.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, settings

_FACTOR = int(os.environ.get("FUZZ", "0"))


def examples(count: int) -> settings:
    """Return settings for a test that tries `count` examples; none of them has a time limit."""
    return settings(
        max_examples=count * max(1, _FACTOR),
        derandomize=not _FACTOR,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
