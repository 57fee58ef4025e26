#!/usr/bin/env bash
# Write requirements/lock.txt anew: the newest versions of everything in requirements/*.txt and of what those need, for
# Python 3.10 and later on Linux. Needs `uv` (pip install uv). Run the tests before you commit what it wrote.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The interfaces' build requirements, one a line.
sed -n '/^requires = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' msg/pyproject.toml >"$work/build.txt"

{
  echo "# Every version that 'make demo' and 'make test' install, with the digests of its files for every machine. Written by"
  echo "# tools/lock.sh; used with pip's --constraint. PyTorch is left out, because its build is chosen by the index, and so"
  echo "# are its requirements on CUDA: its CPU build has none, and its CUDA builds pin theirs."
  uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --generate-hashes \
    requirements/{torch,torch_needs,run,ros,train,console,annotate,test,colcon}.txt "$work/build.txt" - <<<'pip' |
    awk '/^[a-z]/ { kept = !/^(cuda-|nvidia-|triton|torch=|ros-rclpy\[)/ && !/sys_platform == .(win32|emscripten)./ } kept'
} >"$work/lock.txt"
mv "$work/lock.txt" requirements/lock.txt
