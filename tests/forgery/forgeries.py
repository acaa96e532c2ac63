"""Forged runs, by class: each function makes one. `table` verifies them.

A forger here has the code, the data and time: the chain is hashed again after a change, and checkpoints are made to fit
it, as far as a row of FORGERIES says. Every run is a short training on the embedded digits.
"""

import contextlib
import csv
import dataclasses
import io
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from kerasref.build import load_data, load_trained_model
from kerasref.chain import Chain, read_links, record_evaluation
from kerasref.data import MemorySplit
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.models.weight_files import arrays_sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import checkpoints, train
from kerasref.training.network import save_model
from kerasref.training.recording import trained

EPOCHS = 4
RECIPE = Recipe(
    model="mlp", units=(16,), dataset="digits", validation=0.1, batch_size=50, epochs=EPOCHS, optimizer="momentum",
    learning_rate=0.02, keep_prob=0.9, steps_per_execution=13, schedule="cosine",
)  # fmt: skip
OPTIONS = dict(tensorboard=False, keep_checkpoints=99)


class Forger:
    """Honest runs to begin from, and what every forgery needs. `rng` decides what is changed."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.rng, self.made = folder, random.Random(seed), 0
        self.honest = self.train("honest", RECIPE)
        self.elsewhere = self.train("elsewhere", dataclasses.replace(RECIPE, seed=1))

    def train(self, name: str, recipe: Recipe, **more) -> RunFiles:
        with contextlib.redirect_stdout(io.StringIO()):
            run = train(recipe, self.folder / name, **{**OPTIONS, **more})
            if "dataset" not in more:
                evaluate_run(run)
        return run

    def copy(self) -> RunFiles:
        self.made += 1
        return RunFiles(shutil.copytree(self.honest.path, self.folder / f"forged-{self.made}"))

    def number(self) -> float:
        """A change that is worth forging."""
        return self.rng.uniform(0.01, 0.05)


def rebuild(run: RunFiles, links: list[dict], numbers: dict[int, int] | None = None) -> None:
    """Hash a chain again, and let the checkpoints name its hashes; numbers: of a link now, by its number before."""
    hashes = [link["sha256"] for link in read_links(run.chain_file)]
    chain = Chain(run.chain_file)
    for link in links:
        chain.add(link["link"], **{k: v for k, v in link.items() if k not in ("link", "sha256")})
    chain.write()
    for arrays, fields in kept(run):
        number = hashes.index(fields["chain"])
        fields["chain"] = chain.links[numbers[number] if numbers else number]["sha256"]
        checkpoints.save(run.checkpoints, arrays, fields, keep=99)


def kept(run: RunFiles) -> list[tuple[dict[str, np.ndarray], dict]]:
    """All checkpoints, in order; saving one again forgets those after it."""
    return [checkpoints.load(manifest) for manifest in sorted(run.checkpoints.glob("*.json"))]


def number_of(links: list[dict], kind: str, epoch: int | None = None) -> int:
    return next(n for n, link in enumerate(links) if link["link"] == kind and epoch in (None, link.get("epoch")))


def evaluate(run: RunFiles) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluate_run(run)


# weights


def edit_weights(forger: Forger, run: RunFiles) -> None:
    model = load_trained_model(run)
    weight = forger.rng.choice(model.weights)
    value = weight.numpy()
    value.flat[forger.rng.randrange(value.size)] += forger.number()
    weight.assign(value)
    save_model(model, run.model_file)


def weights_edited(forger: Forger) -> RunFiles:
    run = forger.copy()
    edit_weights(forger, run)
    return run


def weights_edited_and_evaluated(forger: Forger) -> RunFiles:
    run = weights_edited(forger)
    links = read_links(run.chain_file)
    links[number_of(links, "end")]["weights"] = arrays_sha256(load_trained_model(run).weights)
    rebuild(run, links)
    evaluate(run)
    return run


def put_in(run: RunFiles, epoch: int, weights: list[np.ndarray]) -> None:
    """Weights in the checkpoint after `epoch`, and in the chain's link of it."""
    for arrays, fields in kept(run):
        if fields["epoch"] == epoch:
            names = [name for name, array in arrays.items() if name.startswith("model:") and array.dtype.kind == "f"]
            arrays |= dict(zip(names, weights, strict=True))
            state = arrays_sha256(trained(arrays))
        checkpoints.save(run.checkpoints, arrays, fields, keep=99)
    links = read_links(run.chain_file)
    link = links[number_of(links, "epoch", epoch)]
    link |= {"state": state, "weights": arrays_sha256(weights)}
    if epoch == links[number_of(links, "end")]["epoch"]:
        links[number_of(links, "end")]["weights"] = link["weights"]
    rebuild(run, links)


def weights_edited_everywhere(forger: Forger) -> RunFiles:
    run = weights_edited(forger)
    put_in(run, EPOCHS, [weight.numpy() for weight in load_trained_model(run).weights])
    run.best_file.unlink()
    evaluate(run)
    return run


# metrics


def edit_metric(forger: Forger, run: RunFiles, name: str) -> None:
    metrics = run.metrics()
    metrics[name] += forger.number()
    run.write_metrics(metrics)


def metric_edited(forger: Forger) -> RunFiles:
    run = forger.copy()
    edit_metric(forger, run, forger.rng.choice(["accuracy", "log_loss", "expected_calibration_error"]))
    return run


def metric_edited_and_hashed(forger: Forger) -> RunFiles:
    run = metric_edited(forger)
    record_evaluation(run)
    return run


def predictions_edited(forger: Forger) -> RunFiles:
    """Wrong predictions made right, in predictions.csv and in metrics.json."""
    run = forger.copy()
    with open(run.predictions_file, newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = [row for row in rows if row["prediction"] != row["label"]]
    for row in forger.rng.sample(wrong, min(len(wrong), forger.rng.randint(1, 5))):
        there, here = f"p_{row['prediction']}", f"p_{row['label']}"
        row[there], row[here], row["prediction"] = row[here], row[there], row["label"]
    with open(run.predictions_file, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    accuracy = float(np.mean([row["prediction"] == row["label"] for row in rows]))
    run.write_metrics(run.metrics() | {"accuracy": accuracy})
    record_evaluation(run)
    return run


def edit_history(forger: Forger, run: RunFiles) -> tuple[int, str, float]:
    with open(run.history_file, newline="") as file:
        rows = list(csv.DictReader(file))
    epoch, name = forger.rng.randrange(EPOCHS), forger.rng.choice(["loss", "accuracy", "val_loss", "val_accuracy"])
    rows[epoch][name] = float(rows[epoch][name]) + forger.number()
    run.write_history(rows)
    return epoch + 1, name, rows[epoch][name]


def history_edited(forger: Forger) -> RunFiles:
    run = forger.copy()
    edit_history(forger, run)
    return run


def history_edited_and_hashed(forger: Forger) -> RunFiles:
    run = forger.copy()
    epoch, name, value = edit_history(forger, run)
    links = read_links(run.chain_file)
    links[number_of(links, "epoch", epoch)]["history"][name] = value
    rebuild(run, links)
    return run


# data


def train_on(forger: Forger, change, recipe: Recipe = RECIPE) -> RunFiles:
    """A training on digits that `change` has made other ones, with the name of the digits."""
    forger.made += 1
    data = change(load_data(recipe))
    recipe = dataclasses.replace(recipe, seed=forger.rng.randrange(1000))
    return forger.train(f"forged-{forger.made}", recipe, dataset=data)


def with_test_images(forger: Forger, data):
    """Some test images in the train split, in place of as many others, so that every count stays."""
    number = forger.rng.randint(1, data.test.num_examples // 2)
    rows = np.array(forger.rng.sample(range(data.test.num_examples), number))
    images, labels = data.train.examples(slice(None)).copy(), data.train.labels.copy()
    images[:number], labels[:number] = data.test.examples(rows), data.test.labels[rows]
    return dataclasses.replace(data, train=MemorySplit.of(images, labels))


def test_images_in_train(forger: Forger) -> RunFiles:
    return train_on(forger, lambda data: with_test_images(forger, data))


def other_data(forger: Forger) -> RunFiles:
    """Other images, other labels or another split, of the same counts."""

    def change(data):
        what = forger.rng.choice(["pixels", "labels", "validation"])
        split = data.train if what != "validation" else data.validation
        images, labels = split.examples(slice(None)).copy(), split.labels.copy()
        rows = forger.rng.sample(range(len(labels)), forger.rng.randint(1, 50))
        if what == "labels":
            labels[rows] = (labels[rows] + 1) % 10
        else:
            images[rows] = 255 - images[rows]
        name = "validation" if what == "validation" else "train"
        return dataclasses.replace(data, **{name: MemorySplit.of(images, labels)})

    return train_on(forger, change)


def claim_the_data(forger: Forger, run: RunFiles) -> RunFiles:
    """The chain says that the true data were trained on, and the network is evaluated on them."""
    links = read_links(run.chain_file)
    links[0]["data"] = read_links(forger.honest.chain_file)[0]["data"]
    rebuild(run, links)
    evaluate(run)
    return run


def test_images_in_train_and_hashed(forger: Forger) -> RunFiles:
    return claim_the_data(forger, test_images_in_train(forger))


def other_data_and_hashed(forger: Forger) -> RunFiles:
    return claim_the_data(forger, other_data(forger))


def write_folder(folder: Path, data, leaked: list[int]) -> None:
    for name, split in (("train", data.train), ("test", data.test)):
        for row in range(0, split.num_examples, 4):
            save_digit(folder / name, split, row)
    for row in leaked:
        save_digit(folder / "train", data.test, row, "leaked")


def save_digit(folder: Path, split, row: int, prefix: str = "digit") -> None:
    file = folder / str(split.labels[row]) / f"{prefix}-{row}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(split.examples([row])[0, ..., 0]).save(file)


def folder_run(forger: Forger, leaked: int) -> tuple[RunFiles, Path]:
    forger.made += 1
    data, folder = load_data(RECIPE), forger.folder / f"images-{forger.made}"
    write_folder(folder, data, forger.rng.sample(range(0, data.test.num_examples, 4), leaked))
    return forger.train(f"forged-{forger.made}", dataclasses.replace(RECIPE, dataset=str(folder))), folder


def test_images_in_a_folder(forger: Forger) -> RunFiles:
    return folder_run(forger, forger.rng.randint(1, 20))[0]


def folder_changed(forger: Forger) -> RunFiles:
    run, folder = folder_run(forger, 0)
    files = sorted(folder.rglob("*.png"))
    one, other = forger.rng.sample(files, 2)
    shutil.copy(one, other)
    return run


# epochs


def links_cut_out(forger: Forger) -> RunFiles:
    run, epoch = forger.copy(), forger.rng.randint(1, EPOCHS)
    lines = run.chain_file.read_text().splitlines(keepends=True)
    del lines[number_of(read_links(run.chain_file), "epoch", epoch)]
    run.chain_file.write_text("".join(lines))
    return run


def fewer_epochs(forger: Forger) -> RunFiles:
    """A training of fewer epochs, whose recipe.json and chain say more."""
    forger.made += 1
    fewer = forger.rng.randint(1, EPOCHS - 1)
    run = forger.train(f"forged-{forger.made}", dataclasses.replace(RECIPE, epochs=fewer))
    settings, links = run.settings(), read_links(run.chain_file)
    settings["recipe"]["epochs"] = links[0]["epochs"] = EPOCHS
    run.write_settings(settings)
    rebuild(run, links)
    return run


def invented_epoch(forger: Forger) -> RunFiles:
    """A training of one epoch less; one that was never trained is put in: its state is that of the epoch before."""
    forger.made += 1
    run = forger.train(f"forged-{forger.made}", dataclasses.replace(RECIPE, epochs=EPOCHS - 1))
    settings, links, epoch = run.settings(), read_links(run.chain_file), forger.rng.randint(1, EPOCHS - 1)
    settings["recipe"]["epochs"] = links[0]["epochs"] = EPOCHS
    run.write_settings(settings)
    at = number_of(links, "epoch", epoch) + 1
    later = [{**link, "epoch": link["epoch"] + 1} if "epoch" in link else link for link in links[at:]]
    for link in later:
        if "history" in link:
            link["history"] = {**link["history"], "epoch": link["history"]["epoch"] + 1}
    invented = {**links[at - 1], "epoch": epoch + 1, "history": {**links[at - 1]["history"], "epoch": epoch + 1.0}}
    before, rows = kept(run), run.history()
    rows = [*rows[:epoch], rows[epoch - 1], *rows[epoch:]]
    run.write_history([{**row, "epoch": number} for number, row in enumerate(rows, start=1)])
    rebuild(run, [*links[:at], invented, *later], {n: n + (n >= at) for n in range(len(links))})
    shutil.rmtree(run.checkpoints)
    now = read_links(run.chain_file)
    for arrays, fields in before:
        for place in [n + (n > epoch) for n in [fields["epoch"]]] + [epoch + 1] * (fields["epoch"] == epoch):
            head = now[number_of(now, "epoch", place)]["sha256"]
            checkpoints.save(run.checkpoints, arrays, {**fields, "epoch": place, "chain": head}, keep=99)
    evaluate(run)
    return run


# a chain that was made afterwards


def trained_elsewhere(forger: Forger) -> RunFiles:
    """The weights of another training as the last ones."""
    run = forger.copy()
    weights = [weight.numpy() for weight in load_trained_model(forger.elsewhere).weights]
    save_model(load_trained_model(forger.elsewhere), run.model_file)
    put_in(run, EPOCHS, weights)
    run.best_file.unlink()
    evaluate(run)
    return run


def put_in_between(forger: Forger, epoch: int | None = None) -> RunFiles:
    """The weights of another training after an epoch, and an honest training from there to the end."""
    run, epoch = forger.copy(), epoch or forger.rng.randint(1, EPOCHS - 1)
    put_in(run, epoch, [weight.numpy() for weight in load_trained_model(forger.elsewhere).weights])
    for manifest in run.checkpoints.glob("*.json"):
        if int(manifest.stem.split("-")[1]) > epoch:
            manifest.unlink()
    run.model_file.unlink()
    with contextlib.redirect_stdout(io.StringIO()):
        train(RECIPE, run.path, resume=True, **OPTIONS)
    evaluate(run)
    return run


def put_in_and_not_kept(forger: Forger) -> RunFiles:
    """The same, neither first nor last, by a forger who keeps the last two checkpoints alone."""
    run = put_in_between(forger, forger.rng.randint(2, EPOCHS - 2))
    for file in sorted(run.checkpoints.iterdir())[: -2 * 2]:
        file.unlink()
    return run


# Class: {forgery: (what makes it, how often in a hundred)}.
FORGERIES = {
    "weights edited": {
        "model.keras alone": (weights_edited, 5),
        "evaluated again, end of the chain hashed again": (weights_edited_and_evaluated, 5),
        "last checkpoint and all hashes made to fit": (weights_edited_everywhere, 5),
    },
    "a metric edited": {
        "metrics.json alone": (metric_edited, 4),
        "metrics.json, hashed again": (metric_edited_and_hashed, 4),
        "predictions.csv and metrics.json, hashed again": (predictions_edited, 4),
        "history.csv alone": (history_edited, 4),
        "history.csv, the chain and the checkpoints hashed again": (history_edited_and_hashed, 4),
    },
    "test images in train": {
        "under the name of the dataset": (test_images_in_train, 6),
        "the same, with the true data's hashes and evaluation": (test_images_in_train_and_hashed, 5),
        "in an image folder that is given away with the run": (test_images_in_a_folder, 5),
    },
    "other data under the same name": {
        "images, labels or a split": (other_data, 6),
        "the same, with the true data's hashes and evaluation": (other_data_and_hashed, 5),
        "an image folder that was changed afterwards": (folder_changed, 5),
    },
    "epochs left out": {
        "links removed": (links_cut_out, 5),
        "fewer trained than recipe.json and chain say": (fewer_epochs, 5),
        "an epoch invented, with checkpoints": (invented_epoch, 6),
    },
    "chain rebuilt around weights trained elsewhere": {
        "as the last state": (trained_elsewhere, 8),
        "as a state in the middle, trained to the end from there": (put_in_between, 9),
    },
}
# What cannot be found: a state that was put in where none is kept before it, so that no stretch leads to it.
NOT_FOUND = {"a state in the middle, the checkpoints before it not kept": (put_in_and_not_kept, 5)}
