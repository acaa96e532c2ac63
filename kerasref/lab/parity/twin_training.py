"""The training of a finished run once more in PyTorch: the same initial weights, batches and learning rates."""

import csv
import io
import json
import time
from pathlib import Path

import keras

from kerasref.atomic import replacing, write_atomically
from kerasref.build import dropout_option, load_run_data, make_augmentation, make_schedule, network_options
from kerasref.errors import UserError
from kerasref.lab.parity.plots import plot_curves
from kerasref.lab.parity.recording import as_torch
from kerasref.lab.parity.side_by_side import EVALUATION_BATCH, torch_accuracy
from kerasref.pytorch.installed import nn, torch
from kerasref.pytorch.models import build_twin
from kerasref.pytorch.names import name_map
from kerasref.pytorch.weights import to_state_dict
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training.distribution import OneDevice
from kerasref.training.execution import note_slow_bfloat16
from kerasref.training.network import initial_network
from kerasref.training.optimizers import ADAM, MOMENTUM

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
# What is trained otherwise than by a plain torch.optim loop: the field's value has to be the default.
REFUSED = (
    *("accumulate_steps", "average_checkpoints", "balanced_sampling", "class_weights", "clip_global_norm", "clip_norm"),
    *("clip_value", "ema", "freeze", "frozen_epochs", "l2", "layer_decay", "loss", "norm_bias_rate"),
    *("stochastic_depth", "teacher", "train_size"),
)


class TwinTraining:
    """The PyTorch twin of a run, trained epoch by epoch as the run was; `rows` has both sides' numbers of each epoch.

    The learning rates are those of the run's schedule, scaled to what history.csv recorded, so that what a plateau
    changed is changed here too. What stays different: dropout's masks, where bfloat16 rounds (torch.autocast), and
    momentum while the rate changes, which torch.optim multiplies by the new rate and Keras does not.
    Raises UserError for a recipe that a plain loop over torch.optim does not train.
    """

    def __init__(self, run_dir: str | Path, data_dir: str | None = None):
        self.run = run = RunFiles(run_dir)
        self.recipe, self.history, self.rows = run.recipe(), run.history(), []
        _check(self.recipe, run)
        note_slow_bfloat16(self.recipe)
        self.dataset = load_run_data(run, data_dir)
        self.preprocessing = run.preprocessing()
        self.augmentation = make_augmentation(self.recipe, self.dataset)
        self.module = _initial_module(self.recipe, self.dataset, self.preprocessing)
        self.optimizer = _make_optimizer(self.recipe, self.module)
        self.steps_per_epoch = -(-self.dataset.train.num_examples // self.recipe.batch_size)
        self.schedule = make_schedule(self.recipe, self.steps_per_epoch)

    def train_epoch(self) -> dict:
        """Train the next epoch; return its row, which is added to `rows`."""
        epoch, recipe, started = len(self.rows), self.recipe, time.perf_counter()
        of_run, last_step = self.history[epoch], epoch + (self.steps_per_epoch - 1) / self.steps_per_epoch
        factor = float(of_run["learning_rate"]) / self.schedule(last_step)
        torch.manual_seed(recipe.seed + epoch)  # dropout
        self.module.train()
        total = right = examples = 0
        for step, (images, labels) in enumerate(self._training_batches(epoch)):
            for group in self.optimizer.param_groups:
                group["lr"] = factor * self.schedule(epoch + step / self.steps_per_epoch)
            labels = torch.tensor(labels)  # integers, or probabilities of mixed images
            with self._arithmetic():
                logits = self.module(as_torch(self.module, images)).float()
            loss = nn.functional.cross_entropy(
                logits, labels if labels.ndim == 2 else labels.long(), label_smoothing=recipe.label_smoothing
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
            right += int((logits.argmax(-1) == (labels.argmax(-1) if labels.ndim == 2 else labels)).sum())
            examples += len(labels)
        row = {"epoch": epoch + 1, "keras_loss": float(of_run["loss"]), "torch_loss": total / examples}
        row |= {"keras_accuracy": float(of_run["accuracy"]), "torch_accuracy": right / examples}
        if self.dataset.validation is not None:
            row["keras_val_accuracy"] = float(of_run["val_accuracy"])
            row["torch_val_accuracy"] = self.accuracy(self.dataset.validation)
        self.rows.append(row | {"torch_seconds": round(time.perf_counter() - started, 1)})
        return self.rows[-1]

    def accuracy(self, split) -> float:
        """The accuracy of the module as it is now on a split of the dataset."""
        with self._arithmetic():
            return torch_accuracy(self.module, split.batches(EVALUATION_BATCH, preprocessing=self.preprocessing))

    def save(self, file: Path) -> None:
        state = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "rows": self.rows}
        with replacing(file) as temporary:
            torch.save(state, temporary)

    def restore(self, file: Path) -> None:
        state = torch.load(file, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rows = state["rows"]

    def _training_batches(self, epoch: int):
        batches = self.dataset.train.batches(
            self.recipe.batch_size,
            shuffle_seed=self.recipe.seed,
            epoch=epoch,
            augmentation=self.augmentation,
            preprocessing=self.preprocessing,
        )
        return batches.as_numpy_iterator()

    def _arithmetic(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "mixed_bfloat16")


def train_twin(run_dir: str | Path, out: str | Path, data_dir: str | None = None, say=print) -> dict:
    """Train the PyTorch twin of a run; leave twin.csv, twin.json, twin.png and twin.pt in `out`; return the summary.

    An interrupted training continues after its last whole epoch. The test set is opened at the end.
    """
    training, out = TwinTraining(run_dir, data_dir), Path(out)
    run, file = training.run, out / "twin.pt"
    out.mkdir(parents=True, exist_ok=True)
    if file.exists():
        training.restore(file)
    epochs = len(training.history)
    while len(training.rows) < epochs:
        row = training.train_epoch()
        training.save(file)
        numbers = "  ".join(f"{name} {row[name]:.4f}" for name in row if name not in ("epoch", "torch_seconds"))
        say(f"epoch {row['epoch']}/{epochs}  {numbers}  {row['torch_seconds']} s")
    summary = {
        "run": run.settings()["name"],
        "model": training.recipe.model,
        "dataset": training.dataset.name,
        "seed": training.recipe.seed,
        "keras_test_accuracy": run.metrics()["accuracy"],
        "torch_test_accuracy": training.accuracy(training.dataset.test),
        "test_images": training.dataset.test.num_examples,
        "torch": torch.__version__,
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, training.rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(training.rows)
    write_atomically(out / "twin.csv", text.getvalue())
    write_atomically(out / "twin.json", json.dumps(summary, indent=2) + "\n")
    plot_curves(training.rows, summary).savefig(out / "twin.png", dpi=144)
    return summary


def _check(recipe: Recipe, run: RunFiles) -> None:
    default = Recipe()
    changed = [field for field in REFUSED if getattr(recipe, field) != getattr(default, field)]
    if changed or recipe.optimizer not in OPTIMIZERS:
        found = ", ".join(f"{field} {getattr(recipe, field)!r}" for field in changed or ["optimizer"])
        raise UserError(
            f"{run.path} was trained with {found}, which the PyTorch side does not have; expected a recipe without, "
            f"and one of the optimizers {', '.join(OPTIMIZERS)}"
        )
    if not run.metrics_file.is_file():
        raise UserError(f"{run.path} is not a finished run: no {run.metrics_file.name}; train and evaluate it first")


def _initial_module(recipe: Recipe, dataset, preprocessing) -> nn.Module:
    """The twin with the weights that the run began with."""
    keras.utils.set_random_seed(recipe.seed)  # as the training did, for Keras' own initializers
    network = initial_network(recipe, dataset, preprocessing, OneDevice(), transferred=True)
    if network.output_shape[-1] == 1:
        raise UserError(
            f"{recipe.model} has a single logit, expected one for each class; there is no twin training for it"
        )
    options = network_options(recipe) | dropout_option(recipe)
    module = build_twin(recipe.model, network.input_shape[1:], network.output_shape[-1], **options)
    module.load_state_dict(to_state_dict(network, name_map(recipe.model, network)))
    return module.to(memory_format=torch.channels_last)


def _make_optimizer(recipe: Recipe, module: nn.Module) -> torch.optim.Optimizer:
    """The recipe's update rule of torch.optim; its learning rate is set at each step."""
    weights = list(module.parameters())
    kernels = [weight for weight in weights if recipe.decay_scope == "all" or weight.ndim > 1]
    others = [weight for weight in weights if all(weight is not kernel for kernel in kernels)]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer in ("sgd", "momentum"):
        momentum = MOMENTUM if recipe.optimizer == "momentum" else 0.0
        return torch.optim.SGD(groups, recipe.learning_rate, momentum, nesterov=recipe.nesterov and momentum > 0)
    rule = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    betas = ADAM["beta_1"], ADAM["beta_2"]
    return rule(groups, recipe.learning_rate, betas=betas, eps=ADAM["epsilon"])
