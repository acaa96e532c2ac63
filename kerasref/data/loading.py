"""`load_dataset`: the one door to every data set."""

from kerasref.data.dataset import ImageDataset
from kerasref.data.digits import load_digits
from kerasref.data.splitting import parse_ratio, split_three
from kerasref.errors import unknown

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "imagenette", "imagenet2012")


def load_dataset(
    name, *, data_dir=None, image_size=None, validation=0.1, split_seed=0, train_examples=None
) -> ImageDataset:
    parse_ratio(validation)  # a wrong one is said before anything is read
    if name != "digits":
        raise unknown("data set", name, NAMES)
    everything, class_names = load_digits()
    train, validation, test, notes = split_three(everything, None, None, validation, split_seed, train_examples)
    return ImageDataset(name, class_names, everything.image_shape, train, validation, test, notes, "digit")
