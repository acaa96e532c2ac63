"""How many times the input pipeline feeds what the network trains on, for each kind of augmentation."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from kerasref.lab.benchmark import keras_side
from kerasref.lab.benchmark.turns import alternate, open_workers, report
from kerasref.lab.benchmark.workloads import Workload
from kerasref.named_recipes import named_recipe

HERE = "kerasref.lab.benchmark.feeding"
PHOTOS = 200  # of each class: every process keeps them in memory
V1 = {"random_resized_crop": True, "flip": True, "crop_padding": 0}  # torchvision's preset
V2 = V1 | {"trivial_augment": True, "random_erasing": 0.1, "mixup": 0.2, "cutmix": 1.0}


@dataclass(frozen=True)
class Case:
    """A network with its batch size, its data, and the fields of each augmentation that is measured.

    goal: times that the pipeline should feed the network; unit: batches that are measured together, about an epoch.
    """

    recipe_name: str
    dataset: str
    input_shape: tuple[int, int, int]
    batch_size: int
    goal: float
    unit: int
    fields: dict = field(default_factory=dict)
    augmentations: dict = field(default_factory=dict)


def cases(imagenette: str | None) -> list[Case]:
    """MNIST, and Imagenette where a folder of it is given."""
    small = {
        "none": {},
        "crop_padding 1": {"crop_padding": 1},
        "random_resized_crop": {"random_resized_crop": True, "crop_scale": (0.5, 1.0)},
        "crop_padding 1, random_erasing 0.25": {"crop_padding": 1, "random_erasing": 0.25},
        "crop_padding 1, mixup, cutmix": {"crop_padding": 1, "mixup": 0.2, "cutmix": 1.0},
        "trivial_augment": {"trivial_augment": True},
        "rand_augment 2 9": {"rand_augment": (2, 9)},
    }
    photos = {
        "torchvision V1: random_resized_crop, flip": V1,
        "V1, rand_augment 2 9": V1 | {"rand_augment": (2, 9)},
        "V1, color_jitter, color_shift": V1 | {"color_jitter": (0.4, 0.4, 0.4, 0.1), "color_shift": 0.1},
        "torchvision V2: V1, trivial_augment, random_erasing, mixup, cutmix": V2,
    }
    found = [Case("mnist_cnn", "mnist", (28, 28, 1), 64, 5.0, 900, {}, small)]
    for name, size in (("resnet18", 128), ("alexnet_owt", 224)) if imagenette else ():
        fields = {"image_size": size, "normalization": "imagenet"}
        found.append(Case(name, imagenette, (size, size, 3), 64, 1.2, 31, fields, photos))
    return found


def network(recipe_name: str, input_shape, batch_size: int, precision: str) -> dict:
    """Measures training steps of the recipe's network for ten classes, without a pipeline."""
    measures = keras_side.steps(Workload(recipe_name, tuple(input_shape), 10, batch_size), precision)
    return {"images": measures["train"]}


def pipeline(recipe_name: str, dataset: str, batch_size: int, unit: int, data_dir: str | None, fields: dict) -> dict:
    """Measures the recipe's training batches with other `fields`."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    recipe = replace(named_recipe(recipe_name).recipe, dataset=dataset, batch_size=batch_size, validation=0.0, **fields)
    return {"images": keras_side.pipeline_of(recipe, unit, data_dir)["batches"]}


def measure_feeding(imagenette: str | None, data_dir: str | None, precisions, seconds: float, rounds: int):
    """Yields a row for each case: images per second of the network by precision, and of each pipeline, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        few = imagenette and few_of(Path(imagenette), Path(folder) / "imagenette")
        yield from (_measure(case, data_dir, precisions, seconds, rounds) for case in cases(few))


def few_of(imagenette: Path, folder: Path) -> str:
    """A folder of links to the first images of each class."""
    for split, count in (("train", PHOTOS), ("val", 1)):
        for kind in (imagenette / split).iterdir():
            (folder / split / kind.name).mkdir(parents=True)
            for image in sorted(kind.iterdir())[:count]:
                (folder / split / kind.name / image.name).symlink_to(image.resolve())
    return str(folder)


def _measure(case: Case, data_dir: str | None, precisions, seconds: float, rounds: int) -> list[dict]:
    common = dict(recipe_name=case.recipe_name, batch_size=case.batch_size)
    with open_workers() as open_worker:
        steps = {
            precision: open_worker(f"{HERE}:network", input_shape=case.input_shape, precision=precision, **common)
            for precision in precisions
        }
        more = dict(dataset=case.dataset, unit=case.unit, data_dir=data_dir)
        pipelines = {
            name: open_worker(f"{HERE}:pipeline", fields=case.fields | fields, **more, **common)
            for name, fields in case.augmentations.items()
        }
        rates, others = alternate(steps | pipelines, "images", seconds, rounds, patience=1)
    label = f"{case.recipe_name} at {case.input_shape[0]}"
    row = {"part": "feeding", "workload": label, "dataset": Path(case.dataset).name, "goal": case.goal}
    report(f"{label}: " + ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.items()))
    return [row | {"rates": rates, "others": others}]
