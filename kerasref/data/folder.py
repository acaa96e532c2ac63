"""An image folder: `train/CLASS/*` with validation and test folders next to it, or class folders that are split."""

import itertools
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kerasref.command_line import say
from kerasref.data.checked import CheckedImages
from kerasref.data.content import content_summary
from kerasref.data.dataset import SPLITS, ImageDataset
from kerasref.data.files import MEMORY_LIMIT, FileSplit
from kerasref.data.images import ORIENTATION, PHOTO_FORMATS, is_image, open_image, reason_of, why_unreadable
from kerasref.data.layout import class_folders, files_under, find_splits, is_hidden
from kerasref.data.progress import LARGE, shown
from kerasref.errors import UserError
from kerasref.text import printable, shortened

NAMED = 5  # left-out files that a note names one by one
TURNED = 5, 6, 7, 8  # EXIF's orientations that swap width and height


@dataclass(frozen=True, repr=False)
class ImageFolder:
    """The image files of a folder by split ("train", "validation", "test"), recognised by their content.

    files: {split: {"SPLIT/CLASS/PATH": (path, label)}}
    sizes: (height, width) of each image, upright, as its header has it
    left_out: files that are not used, with the reason
    """

    root: Path
    class_names: tuple[str, ...]
    files: dict[str, dict[str, tuple[Path, int]]]
    sizes: dict[Path, tuple[int, int]]
    left_out: dict[Path, str]
    notes: list[str]
    checked: CheckedImages

    def left_out_lines(self) -> list[str]:
        """PATH (REASON) of each left-out file, printable whatever bytes the name has."""
        names = {
            path: os.fsencode(path.relative_to(self.root)).decode(errors="backslashreplace") for path in self.left_out
        }
        return [printable(f"{names[path]} ({why})") for path, why in sorted(self.left_out.items())]

    def unused(self) -> list[str]:
        """A note on each split's folder in which no image was found."""
        return [
            f"the folder's {split} split is not used: no image in class folders there; expected CLASS/* as in train"
            for split, files in self.files.items()
            if not files
        ]

    def drop(self, failed: dict[Path, str]) -> None:
        """Leaves out files that turned out not to decode. Raises UserError where train then lacks a class."""
        self.left_out.update(failed)
        for split, files in self.files.items():
            self.files[split] = {name: file for name, file in files.items() if file[0] not in failed}
        _check_classes(self)


def find_classes(root: Path) -> tuple[dict[str, Path], dict[str, list[Path]], list[str]]:
    """({split: its folder}, {class: its folders in train}, notes), without opening a file.

    Raises UserError as `scan_folder` does, where the folders are not as expected.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected train/CLASS/* or CLASS/* with images")
    directories, notes = find_splits(root)
    train = directories["train"]
    classes = class_folders(train)
    if len(classes) < 2:
        found = f"one class folder only ({next(iter(classes))})" if classes else "no class folders"
        hint = f"; if the classes lie in it, give {train / next(iter(classes))}" if classes else ""
        raise UserError(f"{train}: {found}; expected at least two folders CLASS/ with images{hint}")
    for name in classes:
        check_utf8(train, name)  # reports and exports store it
    return directories, classes, notes


def scan_folder(root) -> ImageFolder:
    """Reads the headers of all files under `root`; images may lie in folders within their class folder.

    Which folders are splits and which are classes, and what is refused of them: `find_splits`. Hidden files and macOS
    metadata are passed over. Raises UserError: no folder, no class folders, one class only, a class without images, a
    class in another split that train does not have, a class folder whose name is not UTF-8.
    """
    root = Path(root).expanduser()
    directories, classes, notes = find_classes(root)
    folder = ImageFolder(root, tuple(classes), {}, {}, {}, notes, CheckedImages(root))
    found = {split: _list_split(folder, split, directories[split]) for split in SPLITS if split in directories}
    number = sum(map(len, found.values()))
    if number >= LARGE:
        say(f"reading {number:,} files of {root}")
    for split, listed in found.items():
        images = [_has_header(folder, path) for path, _ in shown(listed.values(), f"{split}: headers", len(listed))]
        folder.files[split] = dict(itertools.compress(listed.items(), images))
    _check_classes(folder)
    return folder


def load_folder(root, image_size: int | None, decode: bool, resizing, originals: bool) -> ImageDataset:
    """The folder's splits, in memory where they fit (`MEMORY_LIMIT`), else decoded batch by batch.

    image_size: images are scaled to it on the short side (or as `resizing` says) and cropped square from the centre;
        None keeps the size that all share, and is a UserError when they share none. Channels are always R, G, B.
    decode: False leaves the images in their files, and does not look for those that do not decode
    originals: True leaves training images that are not of that size in their files, for a random resized crop
    A validation folder without a test folder serves as the test split: validation then comes out of train, as
    everywhere. Files that do not decode are left out; a large folder is decoded, or checked for them, once
    (`CheckedImages`).
    """
    folder = scan_folder(root)
    sizes = [(image_size, image_size)] if image_size else one_size_or_two(folder)
    if len(sizes) > 1:
        (height, width), (height2, width2) = sizes
        raise UserError(
            f"{folder.root}: images of several sizes, such as {width}x{height} and {width2}x{height2}; "
            "choose the size to bring them to, for example --image-size 224"
        )
    paths = {name: path for files in folder.files.values() for name, (path, _) in files.items()}
    content = content_summary(paths) if decode else None
    small = len(folder.sizes) * sizes[0][0] * sizes[0][1] * 3 <= MEMORY_LIMIT
    changed = resizing.resize_size or set(folder.sizes.values()) != set(sizes)
    stays = {"train"} if originals and changed else set()  # encoded
    if decode and (stays or not small):
        read_later = [path for split in stays for path, _ in folder.files[split].values()] if small else folder.sizes
        folder.drop(folder.checked.failures({path: folder.sizes[path] for path in read_later}))
    splits = {split: _file_split(files, sizes[0], resizing) for split, files in folder.files.items() if files}
    if decode and small:
        for split, files in [item for item in splits.items() if item[0] not in stays]:
            splits[split], failed = files.in_memory(partial(folder.checked.decode, split))
            folder.drop({path: reason_of(error, path) for path, error in failed.items()})
        folder.checked.remember(folder.sizes, folder.left_out)
    splits = {split: images for split, images in splits.items() if images.num_examples}
    left_out = tuple(folder.left_out_lines())
    notes = [*folder.notes, *folder.unused(), *([_left_out_note(left_out)] if left_out else [])]
    if "validation" in splits and "test" not in splits:
        splits["test"] = splits.pop("validation")
        notes.append("no test folder: the validation folder serves as the test split, validation comes out of train")
    more = {"notes": tuple(notes), "left_out": left_out, "content": content}
    return ImageDataset(str(root), folder.class_names, **splits, **more)


def one_size_or_two(folder: ImageFolder) -> list[tuple[int, int]]:
    """The (height, width) that all images share, or two that they have. A file counts only if it decodes, which is
    tried where the headers differ, on one image of a size."""
    by_size = {}
    for path, size in folder.sizes.items():
        by_size.setdefault(size, []).append(path)
    if len(by_size) == 1:
        return list(by_size)
    decoded = (size for size, paths in by_size.items() if not all(map(why_unreadable, paths)))
    return list(itertools.islice(decoded, 2)) or list(by_size)[:1]


def check_utf8(directory: Path, name: str) -> None:
    """Raises UserError for the name of a file or folder that cannot be stored as text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{directory}: the name {name!r} in it is not UTF-8; rename it") from None


def _list_split(folder, split, directory):
    """{"SPLIT/CLASS/PATH": (path, label)} of all files in the class folders of a split."""
    classes = class_folders(directory)
    strangers = set(classes) - set(folder.class_names)
    if strangers:
        raise UserError(
            f"{directory / min(strangers)}: train has no such class; expected {', '.join(folder.class_names)}"
        )
    files = {}
    for label, name in enumerate(folder.class_names):
        for class_folder in classes.get(name, ()):
            for path in files_under(class_folder):
                inside = path.relative_to(class_folder).as_posix()
                key = f"{split}/{name}/{inside}"
                files[f"{split}/{class_folder.name}/{inside}" if key in files else key] = path, label
    for path in directory.iterdir() if classes else ():
        if path.is_file() and not is_hidden(path.name) and is_image(path):
            folder.left_out[path] = "not in a class folder"
    return files


def _has_header(folder, path) -> bool:
    """Whether `path` is an image; its size, or why it is none, goes into `folder`."""
    known = folder.checked.look_up(path)
    try:
        if known:
            folder.sizes[path] = known[0]
        else:
            with open_image(path, PHOTO_FORMATS) as image:
                folder.sizes[path] = _upright_size(image, path)
    except UserError as error:
        folder.left_out[path] = reason_of(error, path)
    return path in folder.sizes


def _upright_size(image, path) -> tuple[int, int]:
    """(height, width); Pillow has turned a TIFF's already."""
    try:
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in TURNED
    except Exception as error:  # a PNG's EXIF may stand behind its pixels, which are decoded on the way
        raise UserError(f"{path}: damaged or cut short ({error})") from None
    return image.size if turned else image.size[::-1]


def _file_split(files, size, resizing):
    paths, labels = zip(*files.values(), strict=True)
    return FileSplit(np.array(paths), np.array(labels, np.int64), (*size, 3), resizing)


def _check_classes(folder):
    """Raises UserError where train has no images, or none of a class."""
    labels = {label for _, label in folder.files["train"].values()}
    lines = folder.left_out_lines()
    leaving = f"; {_left_out_note(lines)}" if lines else ""
    if not labels:
        raise UserError(f"{folder.root}: no images to train on; expected {', '.join(PHOTO_FORMATS)}{leaving}")
    for label, name in enumerate(folder.class_names):
        if label not in labels:
            raise UserError(f"{folder.root}: train has no image of class {printable(name)}{leaving}")


def _left_out_note(lines) -> str:
    return f"left out {len(lines)}: {shortened(lines, '; ', NAMED)}"
