"""Maintains results/runs.csv and the table made from it: results.py add RUN_DIR…, results.py table."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
