"""The workloads: networks with their batch sizes, and the settings to try PyTorch with."""

from dataclasses import dataclass, replace

from kerasref.named_recipes import named_recipe
from kerasref.recipe import Recipe

MODES = ("train", "infer")
PASSES = {"train": 3, "infer": 1}  # forward passes; a backward pass costs two
MATRIX = 2048  # side of the matrices whose product measures the machine's peak
TORCH_SETTINGS = (
    *("eager", "channels_last", "compiled", "compiled channels_last"),
    *("frozen channels_last", "frozen autotuned channels_last"),
)
SMALL_RATE = 1e-6  # one batch is trained on repeatedly: the weights should hardly change


@dataclass(frozen=True)
class Workload:
    """A recipe's network, optimizer and weight decay on one batch of noise."""

    recipe_name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    batch_size: int

    def recipe(self, precision: str = "float32") -> Recipe:
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
        recipe = named_recipe(self.recipe_name).recipe
        return replace(recipe, batch_size=self.batch_size, learning_rate=SMALL_RATE, precision=policy)

    def batch(self):
        """Returns float32 images [b, H, W, C] and int64 labels [b]."""
        import numpy as np

        draws = np.random.default_rng(0)
        images = draws.standard_normal((self.batch_size, *self.input_shape), dtype=np.float32)
        return images, draws.integers(0, self.num_classes, self.batch_size)


WORKLOADS = {
    "mnist_cnn": Workload("mnist_cnn", (28, 28, 1), 10, 64),
    "lenet5": Workload("lenet5", (32, 32, 1), 10, 64),
    "resnet20": Workload("resnet20", (32, 32, 3), 10, 128),
    "alexnet": Workload("alexnet", (227, 227, 3), 1000, 32),
    "vgg16": Workload("vgg16", (224, 224, 3), 1000, 8),
    "resnet18": Workload("resnet18", (224, 224, 3), 1000, 16),
}
