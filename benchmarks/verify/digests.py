"""SHA-256 of a checkpoint's files."""

from __future__ import annotations

from pathlib import Path

from sam_core.checkpoints.files import SUFFIXES, sha256

__all__ = ["digests"]


def digests(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of every file of weights in a folder, by name; empty where there is none."""
    files = sorted(checkpoint.iterdir()) if checkpoint.is_dir() else [checkpoint]
    return {
        file.name: sha256(file)
        for file in files
        if file.is_file() and (file.suffix in SUFFIXES or not checkpoint.is_dir())
    }
