"""How far other arithmetic takes the weights in a stretch, and another training: the table of docs/verifying.md.

python -m tests.forgery.tolerance [--data-dir DIR] [--write]

Networks are trained with oneDNN's kernels, and every epoch is trained again without them (TF_ENABLE_ONEDNN_OPTS=0) in
one thread, as another machine would. The same with another seed shows what a training that is not the same one gives.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from kerasref.markdown import markdown_table
from kerasref.runs import RunFiles

TRAININGS = {  # name: arguments of `kerasref train`
    "mlp, digits": "mnist_cnn --model mlp --dataset digits --validation 0.1 --epochs 8",
    "lenet5, digits, augmented": "lenet5 --dataset digits --validation 0.1 --epochs 8 --crop-padding 1 --rotation 10",
    "mnist_cnn, digits": "mnist_cnn --dataset digits --validation 0.1 --epochs 8",
    "resnet20, digits": "mnist_cnn --model resnet20 --optimizer momentum --learning-rate 0.1 --schedule cosine "
    "--dataset digits --validation 0.1 --batch-size 50 --epochs 8",
    "resnet20, digits, 5 steps": "mnist_cnn --model resnet20 --optimizer momentum --learning-rate 0.1 "
    "--schedule cosine --dataset digits --validation 0.1 --batch-size 50 --epochs 2 --checkpoint-every 5steps "
    "--steps-per-execution 1",
    "lenet5, MNIST": "lenet5 --epochs 4",
}
OTHER = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def measure(path: Path, data_dir: str | None) -> list[float]:
    """The deviation of each stretch of a run, trained again in this process."""
    from kerasref.build import load_run_data
    from kerasref.chain import read_links
    from kerasref.lab.studies.retraining import deviation, stretches_of, train_again
    from kerasref.training import checkpoints

    run, found = RunFiles(path), []
    data, links = load_run_data(run, data_dir), read_links(run.chain_file)
    for stretch in stretches_of(run, links):
        found.append(deviation(train_again(run, links, stretch, data, ()), checkpoints.load(stretch.kept)[0]))
    return found


def in_another_process(path: Path, data_dir: str | None, environment: dict) -> list[float]:
    command = [sys.executable, "-m", "tests.forgery.tolerance", "--measure", str(path)]
    command += ["--data-dir", data_dir] if data_dir else []
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="write the table of docs/verifying.md")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return print(json.dumps(measure(options.measure, options.data_dir)))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(TRAININGS.items()):
            path = Path(folder) / str(number)
            command = [sys.executable, "-m", "kerasref", "train", *arguments.split(), "--run-dir", str(path)]
            command += ["--keep-checkpoints", "99", "--no-tensorboard"]
            command += ["--data-dir", options.data_dir] if options.data_dir else []
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            same = in_another_process(path, options.data_dir, {})
            other = in_another_process(path, options.data_dir, OTHER)
            settings = RunFiles(path).settings()
            settings["recipe"]["seed"] += 1
            RunFiles(path).write_settings(settings)
            seed = in_another_process(path, options.data_dir, {})
            middle = statistics.median(other)
            rows.append([name, len(same), *(f"{x:.1g}" for x in (max(same), middle, max(other), min(seed)))])
            print(rows[-1], file=sys.stderr, flush=True)
    columns = [
        "training",
        "stretches",
        "the same arithmetic",
        "other arithmetic, median",
        "most",
        "another seed, least",
    ]
    text = markdown_table(columns, rows, "lrrrrr")
    print(text)
    if options.write:
        from tests.forgery.table import write_block

        write_block("tolerance", text)


if __name__ == "__main__":
    main()
