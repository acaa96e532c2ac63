"""An image folder: `train/CLASS/*` with `val` and `test` beside it, or plain class folders that are split."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasref.data.archives import is_clutter
from kerasref.data.files import MEMORY_LIMIT, FileSplit
from kerasref.data.images import ORIENTATION, PHOTO_FORMATS, open_picture, read_picture
from kerasref.data.splitting import Parts
from kerasref.errors import UserError

VALIDATION_NAMES = ("val", "validation", "valid")
NAMED = 5  # files left out that are named one by one
TURNED = 5, 6, 7, 8  # EXIF's orientations in which width and height change places


@dataclass(frozen=True)
class ImageFolder:
    """The picture files of a folder by split ("train", "validation", "test"), found by their content, not their name.

    sizes: (height, width) of each picture, upright, as its header has it; left_out: files that are no photograph, with
        the reason
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[list[Path], list[int]]]
    sizes: dict[Path, tuple[int, int]]
    left_out: dict[Path, str]


def scan_folder(root) -> ImageFolder:
    """Reads the headers of all files under `root`.

    The folder is `train/CLASS/*` with `val` (or `validation`, `valid`) and `test` beside it where they exist, or
    `CLASS/*`. Hidden files and folders are passed over, as is macOS's `__MACOSX`. Raises UserError: no folder, no class
    folders, one class only, a class without pictures, a class in another split that train does not have, a class
    folder whose name is not UTF-8.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected train/CLASS/* or CLASS/* with pictures")
    folders = {"train": root}
    if (root / "train").is_dir():
        validation = next((name for name in VALIDATION_NAMES if (root / name).is_dir()), VALIDATION_NAMES[0])
        folders = {"train": root / "train", "validation": root / validation, "test": root / "test"}
    class_names = tuple(_visible(folders["train"], folders_only=True))
    if len(class_names) < 2:
        found = f"one class folder only ({class_names[0]})" if class_names else "no class folders"
        raise UserError(f"{folders['train']}: {found}; expected at least two folders CLASS/ with pictures")
    for name in class_names:
        check_utf8(folders["train"], name)  # reports and exports store it
    folder = ImageFolder(root, class_names, {}, {}, {})
    for split, directory in folders.items():
        if directory.is_dir():
            folder.splits[split] = _scan_split(folder, directory)
    paths, labels = folder.splits["train"]
    empty = [name for label, name in enumerate(class_names) if label not in set(labels)]
    if not paths:
        raise UserError(f"{folders['train']}: no pictures in it; expected {', '.join(PHOTO_FORMATS)}{_leaving(folder)}")
    if empty:
        raise UserError(f"{folders['train'] / empty[0]}: a class without pictures{_leaving(folder)}")
    return folder


def load_folder(root, image_size: int | None) -> Parts:
    """The folder's splits, in memory where they fit (`MEMORY_LIMIT`), else decoded batch by batch.

    image_size: pictures are scaled to it on the short side (antialiased) and cut square from the centre; None keeps
    the size that all share, and is a UserError when they share none. Channels are always R, G, B. A lone `val` serves
    as the test split: validation then comes out of train, as everywhere.
    """
    folder = scan_folder(root)
    sizes = [(image_size, image_size)] if image_size else one_size_or_two(folder)
    if len(sizes) > 1:
        (height, width), (height2, width2) = sizes
        raise UserError(
            f"{folder.root}: pictures of several sizes, such as {width}x{height} and {width2}x{height2}; "
            "say what to bring them to, for example --image-size 224"
        )
    height, width = sizes[0]
    splits = {
        name: FileSplit(np.array([str(path) for path in paths]), np.array(labels, np.int64), (height, width, 3))
        for name, (paths, labels) in folder.splits.items()
        if paths
    }
    if sum(split.num_examples for split in splits.values()) * height * width * 3 <= MEMORY_LIMIT:
        for name, split in splits.items():
            splits[name], failed = split.in_memory()
            folder.left_out.update({Path(path): _reason(path, error) for path, error in failed.items()})
        if len(np.unique(splits["train"].labels)) < len(folder.class_names):
            raise UserError(f"{folder.root}: a class without a picture that can be decoded{_leaving(folder)}")
    splits = {name: split for name, split in splits.items() if split.num_examples}
    notes = [f"left out{_leaving(folder, sign=' ')}"] if folder.left_out else []
    notes += [not_used(folder, split) for split in folder.splits if split not in splits]
    if "validation" in splits and "test" not in splits:
        splits["test"] = splits.pop("validation")
        notes.append("the folder has val but no test: val serves as the test split, validation comes out of train")
    return Parts(
        folder.class_names, splits["train"], splits.get("validation"), splits.get("test"), tuple(notes), "photo"
    )


def one_size_or_two(folder: ImageFolder) -> list[tuple[int, int]]:
    """The (height, width) that all pictures share, or two that they have. A file has a say only if it decodes, which is
    tried where the headers differ, on one picture of a size."""
    by_size = {}
    for path, size in folder.sizes.items():
        by_size.setdefault(size, []).append(path)
    if len(by_size) == 1:
        return list(by_size)
    decoded = (size for size, paths in by_size.items() if any(map(_decodes, paths)))
    return list(itertools.islice(decoded, 2)) or list(by_size)[:1]


def not_used(folder: ImageFolder, split: str) -> str:
    """The note on a split's folder in which no picture was found."""
    return f"the folder's {split} split is not used: no picture in class folders there; expected CLASS/* as in train"


def check_utf8(directory: Path, name: str) -> None:
    """Raises UserError for the name of a file or folder that cannot be stored as text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{directory}: the name {name!r} in it is not UTF-8; rename it") from None


def shown(path: Path, root: Path) -> str:
    """`path` within `root` as text that can be printed, whatever bytes the name has."""
    return os.fsencode(path.relative_to(root)).decode(errors="backslashreplace")


def _decodes(path):
    try:
        read_picture(path, PHOTO_FORMATS)
    except UserError:
        return False
    return True


def _scan_split(folder, directory):
    strangers = set(_visible(directory, folders_only=True)) - set(folder.class_names)
    if strangers:
        raise UserError(
            f"{directory / min(strangers)}: a class that train does not have; train has {', '.join(folder.class_names)}"
        )
    paths, labels = [], []
    for label, name in enumerate(folder.class_names):
        for file in _visible(directory / name) if (directory / name).is_dir() else ():
            path = directory / name / file
            try:
                with open_picture(path, PHOTO_FORMATS) as image:
                    folder.sizes[path] = _upright_size(image, path)
            except UserError as error:
                folder.left_out[path] = _reason(path, error)
            else:
                paths.append(path)
                labels.append(label)
    return paths, labels


def _upright_size(image, path) -> tuple[int, int]:
    """(height, width); of a TIFF Pillow has turned them already."""
    try:
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in TURNED
    except Exception as error:  # a PNG's EXIF may stand behind its pixels, which are decoded on the way
        raise UserError(f"{path}: damaged or cut short ({error})") from None
    return image.size if turned else image.size[::-1]


def _visible(directory, folders_only=False):
    with os.scandir(directory) as entries:
        return sorted(e.name for e in entries if not is_clutter(e.name) and (e.is_dir() or not folders_only))


def _reason(path, error):
    return str(error).removeprefix(f"{path}: ")


def _leaving(folder, sign="; left out "):
    """The files left out, the first few by name."""
    if not folder.left_out:
        return ""
    some = sorted(folder.left_out)[:NAMED]
    named = "; ".join(f"{shown(path, folder.root)} ({folder.left_out[path]})" for path in some)
    more = len(folder.left_out) - len(some)
    return f"{sign}{len(folder.left_out)}: {named}" + (f"; and {more} more" if more else "")
