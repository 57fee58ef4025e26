"""What `sam-annotate` does with whole recordings: `python -m benchmarks.annotation --help`."""
