"""Names of settings from before 0.2, accepted for one version."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

# Old name: new name, and old value: new value.
RENAMED: dict[str, tuple[str, dict[str, str]]] = {
    "overlaps": ("non_overlap", {"keep": "none", "look": "color_histogram"}),
    "edges": ("mask_refinement", {"keep": "none", "guided": "guided_filter"}),
    "clicks": ("click_augmentation", {"keep": "none", "views": "views"}),
}


def with_new_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under today's names; each old one gives a `FutureWarning`."""
    renamed: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in RENAMED:
            renamed[name] = value
            continue
        new, values = RENAMED[name]
        today = values.get(value, value)
        warnings.warn(
            f"{name}: {value} is now called {new}: {today}; the old name will go.", FutureWarning, stacklevel=3
        )
        renamed[new] = today
    return renamed


def override_with_new_name(override: str) -> str:
    """Return a Hydra override of a model's configuration, such as `overlaps=keep`, under today's name."""
    name, equals, value = override.partition("=")
    if not equals or name not in RENAMED:
        return override
    ((name, value),) = with_new_names({name: value}).items()
    return f"{name}={value}"
