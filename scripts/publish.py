"""Ships the weights of runs with the package: publish.py RUN_DIR… --name NAME; alone, generates the page again."""

from maintain.publish import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
