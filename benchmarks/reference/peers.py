"""Peer packages: optional, imported on demand."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["MissingPeerError", "required"]


class MissingPeerError(RuntimeError):
    """A peer cannot take part: it is not installed, or cannot run this work."""


def required(module: str) -> Any:
    """Import a module of a peer's package.

    Raises:
        MissingPeerError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPeerError(f"{module.partition('.')[0]} is not installed ({error})") from error
