"""One network for all labels against one network a label, on pictures of up to four digits: multi_task.py [options]."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run

from kerasref.lab.studies.multi_task import MultiTask


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains networks that say of every digit whether it is in the picture: one for all digits, one for each, one that
    does not see a part of the labels, a larger one for all; prints precision, recall and F1 as Markdown."""

    task: Annotated[MultiTask, tyro.conf.arg(name="")] = dataclasses.field(default_factory=MultiTask)
    seeds: tuple[int, ...] = ()
    """Does it for each of these seeds, instead of --seed."""
    json_file: Path | None = None
    """Writes the figures of every seed there, too."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; its own default, or TFDS_DATA_DIR."""


def main(args: list[str]) -> None:
    options = parse(Options, args, prog="multi_task.py")

    from kerasref.data import check_available

    check_available(options.task.dataset, options.data_dir)
    import_tensorflow()
    from kerasref.atomic import write_atomically
    from kerasref.lab.studies.multi_task import compare, table

    by_seed = {}
    for seed in options.seeds or (options.task.seed,):
        by_seed[seed] = compare(dataclasses.replace(options.task, seed=seed), options.data_dir)
        print(f"seed {seed}\n\n{table([by_seed[seed]])}\n", flush=True)
        if options.json_file:
            content = {"task": dataclasses.asdict(options.task), "by_seed": by_seed}
            write_atomically(options.json_file, json.dumps(content, indent=1) + "\n")
    if len(by_seed) > 1:
        print(f"all {len(by_seed)} seeds\n\n{table(list(by_seed.values()))}")


if __name__ == "__main__":
    run(main)
