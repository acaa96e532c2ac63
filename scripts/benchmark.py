"""Compares kerasref with PyTorch on this machine; writes results/benchmark.json and docs/performance.md."""

from maintain.benchmark import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
