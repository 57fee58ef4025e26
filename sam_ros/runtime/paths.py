"""Find the package's configuration: in a checkout, after pip, and after colcon."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["config_file"]

_PACKAGE = Path(__file__).resolve().parents[1]


def config_file(name: str) -> Path:
    """Return the path of a configuration file.

    Args:
        name: Path below `config/`, e.g. "dds/fastdds_shm.xml".

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    folders = [_PACKAGE / "config", _PACKAGE.parent / "config"]  # installed with the package; beside it in a checkout
    with suppress(ImportError, LookupError, OSError):  # no ament index here, or the package is not in it
        from ament_index_python.packages import get_package_share_directory

        folders.append(Path(get_package_share_directory("sam_ros")) / "config")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is in none of {', '.join(map(str, folders))}: the installation is incomplete")
