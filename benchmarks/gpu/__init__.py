"""A device beside the CPU: `python -m benchmarks.gpu`."""
