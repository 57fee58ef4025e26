"""Run the demo: `python -m sam_ros.demo`, or `sam-demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sam_ros.demo.command_line import parse
from sam_ros.runtime.domain import private_domain

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = parse(args)
    with private_domain():
        from sam_ros.demo.run import run  # imports rclpy, which reads the domain

        return run(options)


if __name__ == "__main__":
    sys.exit(main())
