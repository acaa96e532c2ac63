"""Makes the tables of docs/export.md: compare_exports.py networks [NAME…]; compare_exports.py latency RUN_DIR."""

from maintain.exports import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
