"""Which folders of an image folder are its splits and its classes, by their names."""

import os
import re
import unicodedata
from pathlib import Path

from kerasref.data.images import is_image
from kerasref.errors import UserError

SPLIT_NAMES = {  # in any case; Hugging Face's ImageFolder knows the same English ones
    "train": ("train", "training", "训练", "训练集"),
    "validation": ("val", "valid", "validation", "dev", "验证", "验证集"),
    "test": ("test", "testing", "测试", "测试集"),
}
EVALUATION_NAMES = ("eval", "evaluation")  # test, or validation next to a folder for test
ADDED_WORDS = r"(?:set|data|images|imgs)?"  # trainset, testdata
MAX_DEPTH = 64  # folders within folders


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or macOS metadata in an archive."""
    return name[0] == "." or name == "__MACOSX"


def composed(name: str) -> str:
    """`name` with each accented letter as one character (NFC): macOS stores e and its accent apart."""
    return unicodedata.normalize("NFC", name)


def subfolders(directory: Path) -> list[str]:
    """The names of the visible folders in `directory`, sorted."""
    return [name for name, is_folder in _entries(directory) if is_folder]


def files_under(directory: Path) -> list[Path]:
    """All visible files in `directory` and in the folders in it, sorted by path; links are followed, no folder twice.

    Raises UserError for folders nested deeper than `MAX_DEPTH`.
    """
    files, waiting = [], [(directory, 0)]
    seen = {(status.st_dev, status.st_ino) for status in map(os.stat, directory.resolve().parents)}
    while waiting:
        folder, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise UserError(f"{directory}: folders nested more than {MAX_DEPTH} deep in it; move the images up")
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for name, is_folder in _entries(folder):
            if is_folder:
                waiting.append((folder / name, depth + 1))
            else:
                files.append(folder / name)
    return sorted(files, key=lambda path: path.relative_to(directory).parts)


def class_folders(directory: Path) -> dict[str, list[Path]]:
    """{class: its folders} in `directory`, sorted; names that differ only in how accents are stored are one class."""
    classes = {}
    for name in subfolders(directory):
        classes.setdefault(composed(name), []).append(directory / name)
    for name, folders in classes.items():
        folders.sort(key=lambda folder: folder.name != name)
    return dict(sorted(classes.items()))


def find_splits(root: Path) -> tuple[dict[str, Path], list[str]]:
    """({split: its folder}, notes): "train" alone, with the folder `root`, where `root` holds class folders.

    A folder is a split by its name (`SPLIT_NAMES`, also as a word of it: seg_train) if there is one for train with
    class folders in it. A folder with its own name in it and nothing else (seg_train/seg_train) is entered.
    Raises UserError: two folders for one split, a split folder without train, class folders in a folder next to train
    whose name is no split's, images directly in train, splits inside class folders.
    """
    names = subfolders(root)
    splits = _by_name(root, names)
    if "train" in splits:
        train = _inner(splits["train"], "train")
        if subfolders(train):
            strangers = [root / name for name in names if root / name not in splits.values() and _entries(root / name)]
            notes = [_not_a_split(stranger, train) for stranger in strangers]
            return {split: _inner(path, split) for split, path in splits.items()}, notes
        if all(map(_split_of, names)):
            raise UserError(f"{train}: no class folders in it; expected {train.name}/CLASS/* with images")
    elif names and all(map(_split_of, names)) and any(subfolders(path) for path in splits.values()):
        raise UserError(f"{root}: found {', '.join(names)}, no folder for train; expected train/CLASS/* next to them")
    for name in names if len(names) > 1 else ():
        for inner in subfolders(root / name):
            if _split_of(inner):
                raise UserError(f"{root / name / inner}: a split inside of a class folder; expected {inner}/{name}")
    named = [name for name in names if _split_of(name)]
    return {"train": root}, [f"the folder {name} is read as a class, since train/CLASS/ is missing" for name in named]


def _by_name(root, names) -> dict[str, Path]:
    """{split: folder} of the names that are a split's; a word within a name counts only next to another split's."""
    found = {name: _split_of(name) for name in names}
    within = {name: _split_of(name, within=True) for name in names}
    if len(set(within.values()) - {None}) > 1:
        whole = set(found.values())
        found = {name: found[name] or (split if split not in whole else None) for name, split in within.items()}
    splits = {}
    for name, split in sorted(found.items(), key=lambda item: item[1] == "evaluation"):
        if split == "evaluation":
            split = "validation" if "test" in splits and "validation" not in splits else "test"
        if split in splits and "train" in found.values():
            both = f"{splits[split].name} and {name}"
            raise UserError(f"{root}: two folders for the {split} split, {both}; merge them, or move one elsewhere")
        if split:
            splits[split] = root / name
    return splits


def _split_of(name: str, within: bool = False) -> str | None:
    """The split that a folder's name is, or has as a word in it."""
    folded = composed(name).casefold()
    words = re.split(r"[\W\d_]+", folded) if within else [folded]
    for split, known in {**SPLIT_NAMES, "evaluation": EVALUATION_NAMES}.items():
        if any(re.fullmatch(f"(?:{'|'.join(known)}){ADDED_WORDS}", word) for word in words):
            return split
    return None


def _inner(directory: Path, split: str) -> Path:
    """`directory`, or the folder in it that alone is there and has its name or its split's."""
    while len(entries := _entries(directory)) == 1:
        name, is_folder = entries[0]
        if not is_folder or not (name.casefold() == directory.name.casefold() or _split_of(name) == split):
            break
        directory = directory / name
    return directory


def _not_a_split(stranger: Path, train: Path) -> str:
    """A note that `stranger`, next to train, is not used; raises UserError where it looks like a split."""
    inside = subfolders(stranger)
    common = {composed(name) for name in inside} & {composed(name) for name in subfolders(train)}
    if common or sum(any(map(is_image, files_under(stranger / name)[:5])) for name in inside) > 1:
        known = ", ".join(name for names in SPLIT_NAMES.values() for name in names if name.isascii())
        raise UserError(
            f"{stranger}: class folders ({', '.join(inside[:3])}) in a folder next to {train.name} whose name is no "
            f"split's; rename it ({known}), or move it elsewhere; if "
            f"{train.name} is a class, rename {train.name}"
        )
    return f"NOT USED: the folder {stranger.name} next to {train.name}; its name is no split's"


def _entries(directory: Path) -> list[tuple[str, bool]]:
    """(name, whether it is a folder) of what is visible in `directory`, sorted."""
    try:
        with os.scandir(directory) as entries:
            return sorted((entry.name, entry.is_dir()) for entry in entries if not is_hidden(entry.name))
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}") from None
