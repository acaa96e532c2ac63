"""The chain of hashes of a run: what is in it, and what becomes of it at a resume. tests/forgery has what it shows."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kerasref.build import load_run_data, load_trained_model
from kerasref.chain import Chain, read_links, recipe_hash
from kerasref.data.content import split_sha256
from kerasref.data.dataset import MemorySplit, epoch_order
from kerasref.data.files import FileSplit
from kerasref.data.tfds_stream import StreamSplit
from kerasref.errors import UserError
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.lab.studies.run_checks import broken_link
from kerasref.models.weight_files import arrays_sha256, weights_sha256
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import checkpoints, train
from kerasref.training.recording import steps_between_links, trained
from tests.training.stops import resume, stop, stop_and_resume

RECIPE = Recipe(
    model="softmax_regression", dataset="digits", validation=0.1, batch_size=20, epochs=2, optimizer="momentum",
    steps_per_execution=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = train(RECIPE, tmp_path_factory.mktemp("run"), tensorboard=False, keep_checkpoints=9)
    evaluate_run(run)
    return run


def test_what_the_links_are_over(run):
    links, kinds = read_links(run.chain_file), [link["link"] for link in read_links(run.chain_file)]
    assert broken_link(links) is None
    assert kinds == ["start", *["step", "step", "epoch"] * 2, "end", "evaluation"]
    places = [(link["epoch"], link["step"]) for link in links[1:-1]]  # every 26 steps, at the end of a call of five
    assert places == [(0, 30), (0, 55), (1, 0), (1, 30), (1, 55), (2, 0), (2, 0)]
    ends = [link for link in links if link["link"] == "epoch"]
    for epoch, link in enumerate(ends):
        arrays = checkpoints.load(run.checkpoints / f"epoch-{epoch + 1:05d}-step-0000000.json")[0]
        weights = [array for name, array in arrays.items() if name.startswith("model:")]
        assert link["state"] == arrays_sha256(trained(arrays)) and link["weights"] == arrays_sha256(weights)
        assert link["order"] == arrays_sha256([epoch_order(run.settings()["dataset"]["num_train"], 0, epoch)])
        row = {name: value for name, value in run.history()[epoch].items() if "duration" not in name}
        assert link["history"] == row
    assert links[-2]["weights"] == ends[-1]["weights"] == weights_sha256(load_trained_model(run))
    assert set(links[-1]) == {"link", "sha256", "metrics.json", "validation.json", "predictions.csv"}


def test_another_evaluation_takes_the_place_of_the_one_before(run):
    before = run.chain_file.read_bytes()
    evaluate_run(run)
    assert run.chain_file.read_bytes() == before


@pytest.mark.parametrize("at", [(0, 8), (1, 30)])
@pytest.mark.parametrize("every", ["3steps", "1epoch", "2epochs"])
def test_neither_stops_nor_checkpoints_change_the_chain(run, tmp_path, at, every):
    options = dict(tensorboard=False, checkpoint_every=every)
    resumed = stop_and_resume(RECIPE, tmp_path / "run", *at, **options)
    assert read_links(resumed.chain_file) == read_links(run.chain_file)[:-1]


@pytest.mark.parametrize("damage", ["", "no JSON\n", '{"link": "start"}\n', '{"link": "start", "sha256": "0"}\n'])
def test_a_chain_that_is_damaged_is_not_continued_and_the_training_is(run, tmp_path, damage, capsys):
    stop(RECIPE, tmp_path / "run", 1, 30, tensorboard=False)
    (tmp_path / "run" / "chain.jsonl").write_text(damage)
    resumed = resume(RECIPE, tmp_path / "run", tensorboard=False)
    assert resumed.chain_file.read_text() == damage and "is not continued" in capsys.readouterr().out
    assert weights_sha256(load_trained_model(resumed)) == weights_sha256(load_trained_model(run))


def test_a_run_without_a_chain_gets_none(tmp_path):
    shutil.copytree(Path(__file__).parents[1] / "data_files" / "old_run" / "finished", tmp_path / "run")
    run = RunFiles(tmp_path / "run")
    train(dataclasses.replace(run.recipe(), epochs=4), run.path, resume=True, tensorboard=False)
    evaluate_run(run)
    assert not run.chain_file.exists()


@pytest.mark.parametrize("change", ["value", "link removed", "link moved", "hash"])
def test_a_change_of_any_link_breaks_the_chain(tmp_path, change):
    chain = Chain(tmp_path / "chain.jsonl")
    for value in range(5):
        chain.add("step", value=value)
    chain.write()
    links = read_links(chain.file)
    assert broken_link(links) is None and links == chain.links
    if change == "link removed":
        del links[2]
    elif change == "link moved":
        links[2], links[3] = links[3], links[2]
    else:
        links[2]["value" if change == "value" else "sha256"] = 7
    assert broken_link(links) == 3


def test_links_that_are_none_are_refused(tmp_path):
    for text in ("[]\n", '{"sha256": "0"}\n', "{\n", "[" * 100_000):
        (tmp_path / "chain.jsonl").write_text(text)
        with pytest.raises(UserError, match="not readable as a chain"):
            read_links(tmp_path / "chain.jsonl")


def test_the_hash_of_a_recipe_is_over_what_is_not_as_by_default():
    assert recipe_hash(RECIPE) == recipe_hash(dataclasses.replace(RECIPE, epochs=9, dataset="elsewhere"))
    assert recipe_hash(RECIPE) != recipe_hash(dataclasses.replace(RECIPE, seed=1))


def test_the_hash_of_a_split_is_over_images_labels_and_order(run, tmp_path):
    split = load_run_data(run).test
    hashes = {split_sha256(split), split_sha256(split.select(np.arange(split.num_examples)[::-1]))}
    images = split.examples(slice(None)).copy()
    assert split_sha256(MemorySplit.of(images, split.labels)) in hashes
    images[-1, 0, 0, 0] += 1
    hashes |= {split_sha256(MemorySplit.of(images, split.labels)), split_sha256(split.with_labels(1 - split.labels))}
    assert len(hashes) == 4
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = np.array([str(tmp_path / "a"), str(tmp_path / "b")])
    contents = np.array([b"a", b"b"], object)
    for paths in (files, contents):
        labels = np.zeros(2, np.int64)
        found = [split_sha256(FileSplit(paths[order], labels, (8, 8, 1))) for order in ([0, 1], [1, 0], [0, 1])]
        assert found[0] == found[2] != found[1]
    streams = []
    for name, size in (("set/1.0.0", 5), ("set/1.0.1", 5), ("set/1.0.0", 6)):
        info = SimpleNamespace(full_name=name, splits={"train": SimpleNamespace(num_bytes=size)})
        streams.append(StreamSplit(SimpleNamespace(info=info), ("image", "label"), "train", 0, 9, (8, 8, 1)))
    assert len({split_sha256(stream) for stream in streams}) == 3


def test_links_are_a_tenth_of_an_epoch_apart_or_where_they_are_cheap():
    from kerasref.models import build_model

    small, wide = build_model("lenet5", (28, 28, 1), 10), build_model("mlp", (28, 28, 1), 10)
    state = {model.name: [np.zeros(2 * model.count_params(), np.float32)] for model in (small, wide)}
    assert steps_between_links(small, 64, 938, state[small.name]) == 94
    assert steps_between_links(small, 64, 20, [np.zeros(9)]) == 10
    assert steps_between_links(wide, 64, 938, state[wide.name]) > 100


def test_lines_are_json_objects_that_other_programs_can_check(run):
    """As docs/verifying.md describes it, with nothing of kerasref."""
    import hashlib

    before = ""
    for line in run.chain_file.read_text().splitlines():
        link = json.loads(line)
        digest = link.pop("sha256")
        assert hashlib.sha256(json.dumps([before, link], sort_keys=True).encode()).hexdigest() == digest
        before = digest
