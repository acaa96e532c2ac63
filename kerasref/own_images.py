"""A recipe for a folder of your own images, chosen by how many there are and how large they are."""

import os
from pathlib import Path

from kerasref.data.images import PHOTO_FORMATS, open_image
from kerasref.data.layout import class_folders, files_under, find_splits
from kerasref.errors import UserError
from kerasref.named_recipes import RECIPES, named_recipe
from kerasref.recipe import NamedRecipe, Recipe

NAME = "own_images"
SMALL = 64  # pixels: images of at most this short side keep their size
SEEN = 200_000  # training images, with repetitions, that a training sees where 10 to 100 epochs allow it


def find_recipe(name: str | os.PathLike, dataset: str | os.PathLike | None = None) -> tuple[str, NamedRecipe]:
    """Return the recipe that `kerasref train NAME` means, and its name: a named one, or that of a folder of images.

    NAME is a recipe's name, a folder, or "own_images" with the folder as `dataset`; a recipe's name always means the
    recipe: write ./NAME for a folder of that name. Raises UserError for another.
    """
    name, dataset = os.fspath(name), dataset and os.fspath(dataset)
    if name == NAME:
        if dataset is None:
            raise UserError(f"{NAME} needs a folder of images, found none; give it with --dataset FOLDER")
        return NAME, own_images(dataset)
    if name not in RECIPES and ("/" in name or Path(name).expanduser().is_dir()):
        return NAME, own_images(name)
    return name, named_recipe(name)


def own_images(folder: str) -> NamedRecipe:
    """Return a recipe for the image folder; raises UserError where `folder` holds no class folders with images.

    Small images (64 pixels or less) are classified by a network made for CIFAR-10, larger ones by ResNet-18 at 128
    pixels. The fewer the images, the more epochs and the smaller the batches; all are augmented.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder; expected train/CLASS/* or CLASS/* with images")
    splits, _ = find_splits(root)
    classes = class_folders(splits["train"])
    files = [file for folders in classes.values() for each in folders for file in files_under(each)]
    size = next(filter(None, map(_short_side, files)), None)
    if size is None:
        raise UserError(f"{folder}: no images in class folders; expected train/CLASS/* or CLASS/* with images")
    common = {
        "dataset": folder,
        "validation": 0.15,
        "normalization": "imagenet",
        "flip": True,
        "optimizer": "momentum",
        "nesterov": True,
        "learning_rate": 0.01,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "schedule": "cosine",
        "batch_size": 16 if len(files) < 1000 else 32 if len(files) < 5000 else 64,
        "epochs": min(100, max(10, round(SEEN / len(files)))),
    }
    if size <= SMALL:
        more = {"model": "resnet20", "image_size": 32, "crop_padding": 4, "warmup_epochs": 1}
    else:
        more = {"model": "resnet18", "initializer": "torchvision_resnet", "image_size": 128, "warmup_epochs": 2}
        more |= {"random_resized_crop": True, "crop_scale": (0.25, 1.0)}
    return NamedRecipe(
        Recipe(**common, **more),
        f"kerasref's defaults for the {len(files)} images of {folder}",
        "depends on the images",
    )


def describe_choice(source: str, recipe: Recipe) -> str:
    """A sentence on what is trained, for the user."""
    return (
        f"{source}: {recipe.model} at {recipe.image_size} pixels, {recipe.epochs} epochs, batches of "
        f"{recipe.batch_size}; every field is an option, see --help"
    )


def _short_side(file: Path) -> int | None:
    try:
        with open_image(file, PHOTO_FORMATS) as image:
            return min(image.size)
    except UserError:
        return None
