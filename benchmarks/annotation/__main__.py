"""Questions about `sam-annotate` that tests are too short for; each prints the rows of a table.

python -m benchmarks.annotation long        # 10 minutes of images: result, memory, time beside the model
python -m benchmarks.annotation killed      # killed at five random moments and resumed: the same output?
python -m benchmarks.annotation directions  # both directions from the middle, or one from either end
python -m benchmarks.annotation ray         # two workers on two cores against one on one
python -m benchmarks.annotation parts       # four parts, joined, against one run
python -m benchmarks.annotation example BAG # the bag that docs/annotate.md goes through
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from benchmarks.annotation import directions, example, killed, long_bag, on_ray, parts

SMALL = ("--model", "sam2_nano", "--overrides", "model.image_size=192", "--device", "cpu", "--threads", "1")
WHOLE = ("--model", "sam2_nano", "--device", "cpu", "--threads", "1")


def main() -> None:
    """Run one measurement, print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.annotation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where recordings and runs go; default: one that is removed")
    commands = parser.add_subparsers(required=True, dest="what")
    long = commands.add_parser("long", help="a long bag beside one of a minute")
    long.add_argument("--minutes", type=float, default=10.0)
    long.add_argument("--tracked", type=float, default=math.inf, help="minutes at its end in which objects are tracked")
    long.add_argument("--at-most", type=float, default=86400.0, help="s, then stop; with --folder it goes on later")
    kill = commands.add_parser("killed", help="kill -9 at random moments, resumed")
    kill.add_argument("--seconds", type=float, default=60.0, help="of the recording")
    kill.add_argument("--kills", type=int, default=5)
    ways = commands.add_parser("directions", help="both directions from the middle against one from either end")
    ways.add_argument("--clips", type=int, default=10, help="of each level")
    ray = commands.add_parser("ray", help="two workers on two cores against one on one")
    ray.add_argument("--bags", type=int, default=8)
    ray.add_argument("--seconds", type=float, default=10.0, help="of each bag")
    cut = commands.add_parser("parts", help="parts, joined, against one run")
    cut.add_argument("--seconds", type=float, default=20.0, help="of the recording")
    cut.add_argument("--parts", type=int, default=4)
    commands.add_parser("example", help="write the documentation's bag").add_argument("bag", type=Path)
    options = parser.parse_args()
    if options.what == "example":
        print(example.write_example(options.bag))
        return
    with tempfile.TemporaryDirectory(prefix="annotation_") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.what == "long":
            rows = long_bag.measure(folder, options.minutes, options.tracked, SMALL, options.at_most)
        elif options.what == "killed":
            rows = killed.measure(folder, options.seconds, options.kills, SMALL)
        elif options.what == "directions":
            rows = directions.measure(folder, options.clips, WHOLE)
        elif options.what == "ray":
            rows = on_ray.measure(folder, options.bags, options.seconds, SMALL)
        else:
            rows = parts.measure(folder, options.seconds, options.parts, SMALL)
        print(*rows, sep="\n")


if __name__ == "__main__":
    main()
