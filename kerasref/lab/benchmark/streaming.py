"""Images a second of a photo folder that is decoded in every epoch, as one that does not fit into memory: ours, plain
tf.data and torchvision's DataLoader, of the same files, each on all cores."""

import itertools
import os
import tempfile
from pathlib import Path

from kerasref.lab.benchmark.feeding import few_of
from kerasref.lab.benchmark.turns import alternate, open_workers, report

HERE = "kerasref.lab.benchmark.streaming"
SIDE, BATCH = 128, 64
UNIT = 5  # batches that are measured together
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in [0, 1]


def measure_streaming(imagenette: str | None, seconds: float, rounds: int) -> list[dict]:
    """Returns a row, where a folder of Imagenette is given: images per second by contender, measured in turns."""
    if not imagenette:
        return []
    with tempfile.TemporaryDirectory() as place, open_workers() as open_worker:
        folder = few_of(Path(imagenette), Path(place) / "imagenette")
        workers = {
            "ours, image folder": open_worker(f"{HERE}:ours", folder=folder),
            "ours, TFRecords": open_worker(f"{HERE}:ours", folder=folder, records=place),
            "tf.data": open_worker(f"{HERE}:plain", folder=folder),
        }
        for count in (0, os.cpu_count()):
            workers[f"DataLoader, {count} workers"] = open_worker(f"{HERE}:loader", folder=folder, num_workers=count)
        rates, others = alternate(workers, "batches", seconds, rounds, patience=1)
    report("streaming: " + ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.items()))
    workload = f"{Path(imagenette).name} at {SIDE}"
    return [{"part": "streaming", "workload": workload, "rates": rates, "others": others}]


def ours(folder: str, records: str | None = None) -> dict:
    """Measures the batches of the folder, or of a set prepared of it in `records`, which are TFRecords."""
    from kerasref.data import Preprocessing, load_dataset, tfds_sets
    from kerasref.data.importing import import_dataset

    if records:
        tfds_sets.MEMORY_LIMIT = 0  # of this process: what a set above 2 GiB gets
        import_dataset("streamed", folder, records)
    name, decode = ("streamed", True) if records else (folder, False)
    dataset = load_dataset(name, data_dir=records, image_size=SIDE, validation=0.0, decode=decode)
    preprocessing = Preprocessing.for_dataset("imagenet", dataset, 0)

    def read(epoch):
        return dataset.train.batches(BATCH, shuffle_seed=0, epoch=epoch, preprocessing=preprocessing)

    return _endless(read)


def plain(folder: str) -> dict:
    """Measures tf.data as TensorFlow's guide has it: each image decoded and resized by TensorFlow's operations."""
    import tensorflow as tf

    files = sorted(map(str, Path(folder, "train").glob("*/*")))
    classes = sorted({Path(file).parent.name for file in files})
    labels = [classes.index(Path(file).parent.name) for file in files]

    def load(file, label):
        image = tf.io.decode_image(tf.io.read_file(file), channels=3, expand_animations=False)
        image.set_shape((None, None, 3))  # not known of an image of any format
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        sides = tf.cast(tf.round(sides * SIDE / tf.reduce_min(sides)), tf.int32)
        image = tf.image.resize_with_crop_or_pad(tf.image.resize(image, sides, antialias=True), SIDE, SIDE)
        return (image / 255 - MEAN) / STD, label

    def read(epoch):
        shuffled = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files), seed=epoch)
        return shuffled.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)

    return _endless(read)


def loader(folder: str, num_workers: int) -> dict:
    """Measures a DataLoader of torchvision's ImageFolder."""
    from kerasref.pytorch.installed import import_torchvision, torch

    torchvision = import_torchvision()
    transforms = torchvision.transforms
    steps = [
        transforms.Resize(SIDE),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    images = torchvision.datasets.ImageFolder(f"{folder}/train", transforms.Compose(steps))
    batches = torch.utils.data.DataLoader(images, BATCH, shuffle=True, num_workers=num_workers)
    return _endless(lambda epoch: batches)


def _endless(read) -> dict:
    """read: the batches of an epoch, (images, labels)"""
    batches = itertools.chain.from_iterable(map(read, itertools.count()))
    return {"batches": lambda count: sum(len(labels) for _, labels in itertools.islice(batches, count * UNIT))}
