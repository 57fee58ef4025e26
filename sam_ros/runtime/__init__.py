"""What every executable needs at run time: spinning, logs, processes, memory and CUDA streams."""
