"""Hydra configuration: where its files are, and how one is composed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

PACKAGE = Path(__file__).resolve().parent


def config_dir(group: str) -> Path:
    """Return a folder of configurations: inside an installed package, or beside it in a checkout.

    Args:
        group: `models` or `training`.
    """
    for folder in (PACKAGE / "config" / group, PACKAGE.parent / "config" / group):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"There are no configurations of {group} beside {PACKAGE}: the installation is incomplete.")


def config_names(group: str, pattern: str = "*") -> list[str]:
    """List the configurations of a group."""
    return sorted(path.stem for path in config_dir(group).glob(f"{pattern}.yaml"))


def load_config(group: str, name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a configuration.

    Args:
        group: `models` or `training`.
        name: stem of a file of the group.
        overrides: Hydra overrides, for instance `model.image_size=512`. They hold plain values: an interpolation
            such as `${oc.env:HOME}` could read what is not the configuration's.

    Raises:
        ValueError: no such file, or an override that does not apply.
    """
    if name not in config_names(group):
        raise ValueError(f"There is no {name!r} among the {group}; known are {', '.join(config_names(group))}.")
    for override in overrides:
        if "${" in override or override.lstrip("+~").startswith("hydra"):
            raise ValueError(f"An override gives a plain value to a key of the configuration, unlike {override!r}.")
    outer = GlobalHydra.instance().hydra  # the caller's program may itself be a Hydra program
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir(group)), version_base="1.3"):
            return compose(f"{name}.yaml", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(
            f"The configuration of {name!r} with overrides {list(overrides)} is not valid: {error}"
        ) from error
    finally:
        GlobalHydra.instance().hydra = outer
