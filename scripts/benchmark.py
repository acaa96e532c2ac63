"""Compares kerasref with PyTorch on this machine; writes results/benchmark.json and docs/performance.md."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
