"""What `import sam_core` gives, and what it does not import before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sam_core

HEAVY = {"torch", "hydra", "cv2", "tokenizers"}


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    assert all(getattr(sam_core, name).__name__ == name for name in sam_core.__all__)
    assert set(sam_core.__all__) <= set(dir(sam_core))


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'sam_core' has no attribute 'Tracer'"):
        sam_core.Tracer  # noqa: B018


def test_errors_come_without_pytorch() -> None:
    code = "import sys; from sam_core import ImageError; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & HEAVY == set()
