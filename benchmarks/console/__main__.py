"""The console's figures, or its pictures for the documentation.

python -m benchmarks.console                    # stamp to pixels, cost, a slow browser
python -m benchmarks.console --minutes 60       # and its memory
python -m benchmarks.console --pictures docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sam_ros.runtime.domain import private_domain

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.console", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sam2.1_micro", help="the tracker's (default: sam2.1_micro)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part of a round (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each part is measured (default: 3; 0: not)")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long memory is watched (default: not at all)")
    parser.add_argument("--pictures", type=Path, help="take the documentation's pictures instead; a folder")
    options = parser.parse_args()
    with private_domain():  # before rclpy is imported
        if options.pictures:
            from benchmarks.console.pictures import take

            for path in take(options.pictures):
                print(f"wrote {path}, {path.stat().st_size / 1000:.0f} kB")
        else:
            from benchmarks.console.figures import measure

            for name, value in measure(options.model, options.seconds, options.rounds, options.minutes).items():
                print(f"{name:55} {value:8.1f}")
