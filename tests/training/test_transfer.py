"""Transfer learning: what is taken from another network, what stays frozen for how long, and that a stop changes
nothing."""

import dataclasses
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from kerasref.build import load_trained_model
from kerasref.errors import UserError
from kerasref.models import build_model
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import train
from kerasref.training.transfer import initialize_from
from tests.training.stops import assert_same_run, resume, stop, stop_and_resume

SOURCE = Recipe(
    model="mlp", units=(32, 16), dataset="digits", classes=("0", "1", "2", "3", "4"), validation=0.1,
    normalization="dataset", batch_size=50, epochs=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return train(SOURCE, tmp_path_factory.mktemp("source") / "run")


def weights(model):
    return {weight.path: np.asarray(weight) for weight in model.weights}


def test_all_layers_but_the_output_are_taken_for_other_classes(source):
    model = build_model("mlp", (28, 28, 1), 5, units=(32, 16))
    output = model.layers[-1].name
    before, said = weights(model), initialize_from(model, source.path, tuple("56789"))
    there, here = load_trained_model(source).layers, model.layers
    for a, b in zip(there[:-1], here[:-1], strict=True):
        for expected, found in zip(a.weights, b.weights, strict=True):
            np.testing.assert_array_equal(found, expected)
    for weight in here[-1].weights:
        np.testing.assert_array_equal(weight, before[weight.path])
    assert "2 layers" in said and f"new: {output} (other classes)" in said
    assert "new: none" in initialize_from(model, source.path, tuple("01234"))
    said = initialize_from(model, source.path, tuple("01234"), until="fc1")
    assert "1 layers (fc1); new: fc2 (after fc1), logits (after fc1)" in said
    with pytest.raises(UserError, match="unknown layer of mlp 'fc3'"):
        initialize_from(model, source.path, tuple("01234"), until="fc3")


def test_a_file_is_taken_by_name_and_shape(source, tmp_path):
    loaded = load_trained_model(source)
    loaded.save(tmp_path / "x.keras")
    loaded.save_weights(tmp_path / "x.weights.h5")
    for file in ("x.keras", "x.weights.h5"):
        model = build_model("mlp", (28, 28, 1), 3, units=(32, 8))  # another second layer, so another output layer too
        said = initialize_from(model, tmp_path / file, tuple("abc"))
        assert "1 layers" in said and "there (32, 16) (16,), here (32, 8) (8,)" in said
    with pytest.raises(UserError, match="no layer of lenet5"):
        initialize_from(build_model("lenet5", (32, 32, 1), 5), tmp_path / "x.keras", tuple("01234"))


def _rewritten(file, change):
    """A copy of a .keras file whose weights went through `change(h5 file)`."""
    copy = file.with_name("changed.keras")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        weights = file.with_name("w.h5")
        weights.write_bytes(old.read("model.weights.h5"))
        with h5py.File(weights, "a") as h5:
            change(h5)
        new.write(weights, "model.weights.h5")
    return copy


def _link(h5):
    key = next(iter(h5["layers"]))
    del h5["layers"][key]
    h5["layers"][key] = h5py.ExternalLink("/etc/hostname", "/")


def _external(h5):
    variables = next(group["vars"] for group in h5["layers"].values() if len(group["vars"]))
    shape = variables["0"].shape
    del variables["0"]
    variables.create_dataset("0", shape, "f4", external=[("/dev/zero", 0, 4 * int(np.prod(shape)))])


@pytest.mark.parametrize("change", [_link, _external, lambda h5: h5.pop("layers")])
def test_a_file_that_reaches_elsewhere_is_refused(source, tmp_path, change):
    load_trained_model(source).save(tmp_path / "x.keras")
    with pytest.raises(UserError, match=r"changed\.keras: no weights can be read"):
        initialize_from(load_trained_model(source), _rewritten(tmp_path / "x.keras", change), tuple("01234"))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_is_broken_or_missing_is_named(source, tmp_path, content):
    for name in ("x.keras", "x.h5"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: no weights"):
            initialize_from(load_trained_model(source), tmp_path / name, tuple("01234"))


def target(source, **changes):
    fields = dict(classes=tuple("56789"), init_from=str(source.path), freeze="fc2", frozen_epochs=1, epochs=3)
    return dataclasses.replace(SOURCE, seed=1, **{**fields, **changes})


class Watch(keras.callbacks.Callback):
    """The weights at the beginning of every epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append([np.asarray(weight) for weight in self.model.weights])


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    watch = Watch()
    return train(target(source), tmp_path_factory.mktemp("whole") / "run", callbacks=[watch]), watch.seen


def test_frozen_layers_stay_and_then_move(source, whole):
    _, (start, thawed, last) = whole
    taken = [np.asarray(weight) for weight in load_trained_model(source).weights[:4]]
    for expected, a, b, c in zip(taken, start[:4], thawed[:4], last[:4], strict=True):
        np.testing.assert_array_equal(a, expected)
        np.testing.assert_array_equal(b, expected)
        assert (b != c).any()
    assert (start[4] != thawed[4]).any()  # the output layer is trained from the first step on


def test_inputs_are_on_the_scale_that_the_weights_know(source, whole):
    assert whole[0].preprocessing() == source.preprocessing()
    assert whole[0].class_names() == tuple("56789")


@pytest.mark.parametrize("where", [(0, 3), (1, 0)])
def test_stopped_and_resumed_is_bit_for_bit_the_same(source, whole, tmp_path, where):
    assert_same_run(whole[0], stop_and_resume(target(source), tmp_path / "run", *where))


def test_what_is_frozen_must_come_from_the_other_network(source, tmp_path):
    with pytest.raises(UserError, match="freeze fc2: fc2 would stay at random weights"):
        train(target(source, units=(32, 12)), tmp_path / "run")
    with pytest.raises(UserError, match="freeze fc2: fc2 would stay"):
        train(target(source, init_until="fc1"), tmp_path / "run")


def test_a_resume_needs_no_other_network_and_keeps_its_scale(source, tmp_path):
    shutil.copytree(source.path, tmp_path / "source")
    recipe = target(source, init_from=str(tmp_path / "source"))
    stop(recipe, tmp_path / "run", 1, 0)
    settings = source.settings()
    settings["preprocessing"]["mean"] = [0.5]  # trained anew meanwhile, on another scale; its weights are gone
    RunFiles(tmp_path / "source").write_settings(settings)
    (tmp_path / "source" / "model.keras").unlink()
    run = resume(recipe, tmp_path / "run")
    assert run.preprocessing() == source.preprocessing()


@pytest.mark.parametrize(("layer", "says"), [("nothing", "unknown layer of mlp"), (None, "nothing is left to train")])
def test_a_layer_that_cannot_be_frozen(source, tmp_path, layer, says):
    layer = layer or load_trained_model(source).layers[-1].name
    with pytest.raises(UserError, match=says):
        train(target(source, classes=tuple("01234"), freeze=layer), tmp_path / "run")
