"""`sam-annotate`, or `python -m sam_ros.annotation`: annotate recorded data, and compare two runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = ("pycocotools", "rosbags", "tqdm", "yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 1 differences or problems, 2 an error, 130 stopped."""
    try:
        from sam_ros.annotation.command_line import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(
            f"sam-annotate needs {error.name}: pip install 'sam-ros[annotate]', or -r requirements/annotate.txt",
            file=sys.stderr,
        )
        return 2
    return run(sys.argv[1:] if arguments is None else list(arguments))


if __name__ == "__main__":
    sys.exit(main())
