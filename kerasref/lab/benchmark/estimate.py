"""What a training takes: memory by batch size, time and device-hours, from the network and a measured throughput."""

import math
from dataclasses import dataclass

from kerasref.errors import UserError
from kerasref.lab.benchmark.page import PASSES
from kerasref.models.description import count_weights, describe, multiply_adds
from kerasref.recipe import Recipe

SLOTS = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adam": 2}  # numbers that the optimizer keeps for each weight
FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True)
class Memory:
    """Bytes on one device. weights: with gradients; activations: of one example, kept for the backward pass."""

    weights: int
    optimizer: int
    activations: int

    def total(self, batch_size: int) -> int:
        return self.weights + self.optimizer + batch_size * self.activations


def memory_of(model, optimizer: str, precision: str = "float32") -> Memory:
    """An estimate: every layer's output is kept once. Some are not needed backwards; workspaces, copies and the runtime
    itself come on top.

    Weights, gradients and optimizer slots are float32 in every precision; activations, and copies of the weights, are
    two bytes in the mixed ones.
    """
    size = FLOAT32 if precision == "float32" else BFLOAT16
    trainable, all_weights = count_weights(model.trainable_weights), count_weights(model.weights)
    copies = 0 if precision == "float32" else trainable * size
    outputs = sum(math.prod(row.output_shape) for row in describe(model))
    return Memory((all_weights + trainable) * FLOAT32 + copies, SLOTS[optimizer] * trainable * FLOAT32, outputs * size)


def images_per_second(rows: list[dict], model, recipe: Recipe) -> tuple[float, str]:
    """Measured training throughput of one device for this network, and in words where it comes from.

    A network that was not measured is taken to reach the multiply-adds a second of the measured one that is nearest in
    work. Raises UserError where nothing of this precision was measured.
    """
    import statistics

    precision = "float32" if recipe.precision == "float32" else "bfloat16"
    wanted = dict(part="steps", mode="train", precision=precision, backend="tensorflow")
    measured = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if not measured:
        raise UserError(
            f"no training in {precision} was measured; run scripts/benchmark.py, or give --images-per-second"
        )
    work = multiply_adds(model)
    row = min(measured, key=lambda row: (row["workload"] != model.name, abs(math.log(row["multiply_adds"] / work))))
    cpu = f"{row['origin']['hardware']['cores']} cores of {row['origin']['hardware']['cpu']}"
    rate = statistics.median(row["ours"])
    if row["multiply_adds"] == work:
        return rate, f"measured on {row['device']}, {cpu}"
    rate *= row["multiply_adds"] / work
    return rate, f"guessed from {row['workload']}, which was measured on {row['device']}, {cpu}"


def training_flops(model, examples: int, epochs: int) -> float:
    return 2.0 * PASSES["train"] * multiply_adds(model) * examples * epochs


def memory_table(models: dict, batch_sizes: tuple[int, ...], optimizers: dict[str, str]) -> str:
    """Markdown: gigabytes of a training in float32 by network and batch size, from `memory_of`."""
    head = ["network", "parameters", "weights, gradients, optimizer", "activations of an image"]
    lines = [
        f"| {' | '.join([*head, *(f'batch {size}' for size in batch_sizes)])} |",
        f"| --- |{' ---: |' * (len(head) + len(batch_sizes) - 1)}",
    ]
    for name, model in models.items():
        memory = memory_of(model, optimizers[name])
        cells = [
            f"`{name}`",
            f"{count_weights(model.trainable_weights):,}",
            f"{(memory.weights + memory.optimizer) / 1e9:.3f} GB",
            f"{memory.activations / 1e6:.2f} MB",
            *(f"{memory.total(size) / 1e9:.2f} GB" for size in batch_sizes),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
