"""Local files to a prepared data set that TensorFlow Datasets reads without the network.

python scripts/prepare_data.py mnist --from FOLDER            the four IDX files, gzipped or not (or fashion_mnist)
python scripts/prepare_data.py my_photos --from FOLDER        train/CLASS/*, val and test beside it, or CLASS/*
python scripts/prepare_data.py my_photos --from FILE.tar.gz   the same in a .tar, .tar.gz or .zip
"""

from dataclasses import dataclass
from typing import Annotated

import tyro
from command_line import import_tensorflow, parse, run


@dataclass(frozen=True)
class Options:
    """Makes a prepared data set from local files, which --dataset and plain tfds.load read afterwards."""

    name: tyro.conf.Positional[str]
    """mnist, fashion_mnist, or a name of your own for an image folder."""
    source: Annotated[str, tyro.conf.arg(name="from", metavar="FOLDER")]
    """The folder of the files, or an archive (.tar, .tar.gz, .zip) of an image folder."""
    data_dir: str | None = None
    """Where prepared sets lie; else TFDS_DATA_DIR, else ~/tensorflow_datasets."""


def main(args: list[str]) -> None:
    options = parse(Options, args, prog="prepare_data.py")

    import_tensorflow()
    from kerasref.data.importing import import_dataset

    folder, notes = import_dataset(options.name, options.source, options.data_dir)
    for note in notes:
        print(note)
    where = f" --data-dir {options.data_dir}" if options.data_dir else ""
    print(f"{options.name} is ready in {folder}; use it with --dataset {options.name}{where}")


if __name__ == "__main__":
    run(main)
