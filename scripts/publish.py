"""Ships the weights of runs with the package: publish.py RUN_DIR… --name NAME; alone, generates the page again."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
