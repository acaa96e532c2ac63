"""Maintains results/runs.csv and the table made from it: results.py add RUN_DIR…, results.py table."""

from maintain.results import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
