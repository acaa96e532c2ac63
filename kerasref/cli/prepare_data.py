"""Turn local files into a prepared dataset that TensorFlow Datasets reads without the network.

kerasref prepare-data mnist --from FOLDER            the four IDX files, gzipped or not (or fashion_mnist)
kerasref prepare-data my_photos --from FOLDER        train/CLASS/*, val and test next to it, or CLASS/*
kerasref prepare-data my_photos --from FILE.tar.gz   the same in a .tar, .tar.gz or .zip
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kerasref.command_line import import_tensorflow, parse
from kerasref.text import printable


@dataclass(frozen=True)
class Options:
    """Turn local files into a prepared dataset, which --dataset and plain tfds.load read afterwards."""

    name: tyro.conf.Positional[str]
    """mnist, fashion_mnist, or a name of your own for an image folder or for IDX files."""
    source: Annotated[str, tyro.conf.arg(name="from", metavar="FOLDER")]
    """The folder of the files, or an archive (.tar, .tar.gz, .tar.xz, .tar.bz2, .zip) of an image folder."""
    data_dir: str | None = None
    """Directory of prepared datasets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    class_names: Path | None = None
    """For IDX files under a name of your own: a text file with a class name on each line; by default the numbers."""


def main(args: list[str]) -> None:
    options = parse(Options, args, "prepare-data")

    import_tensorflow()
    from kerasref.data.importing import import_dataset

    folder, notes = import_dataset(options.name, options.source, options.data_dir, options.class_names)
    for note in notes:
        print(printable(note))
    where = f" --data-dir {shlex.quote(options.data_dir)}" if options.data_dir else ""
    print(printable(f"{options.name} is ready in {folder}; use it with --dataset {options.name}{where}"))
