"""Makes the tables of docs/export.md: compare_exports.py networks [NAME…]; compare_exports.py latency RUN_DIR."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
