"""A run trained once more in PyTorch: the same curves, resumed or not, and what cannot be trained so is refused."""

import json

import pytest

import kerasref
from kerasref.errors import UserError
from kerasref.lab.parity.twin_training import TwinTraining, train_twin

# A smooth network: float32 does not decide which way a ReLU or a maximum goes.
FIELDS = dict(dataset="digits", train_examples=300, epochs=2, batch_size=32, crop_padding=1, label_smoothing=0.1)
RULES = {
    "momentum": dict(optimizer="momentum", nesterov=True, learning_rate=0.05, schedule="constant", weight_decay=5e-3),
    "all weights decay, steps": dict(
        optimizer="sgd", learning_rate=0.1, weight_decay=1e-2, decay_scope="all", schedule="step", decay_epochs=(1,)
    ),
    "adamw, warm-up, mixed images": dict(
        optimizer="adamw", learning_rate=2e-3, weight_decay=0.1, warmup_epochs=1, mixup=0.2
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A function: name of the rule -> a finished run, trained once."""
    folder, trained = tmp_path_factory.mktemp("runs"), {}

    def run(rule):
        if rule not in trained:
            path = folder / str(len(trained))
            trained[rule] = kerasref.train("lenet5", run_dir=path, ema=None, rotation=0.0, **FIELDS | RULES[rule])
        return trained[rule]

    return run


@pytest.mark.parametrize("rule", RULES)
def test_the_twin_has_the_curve_of_the_run(runs, rule):
    training = TwinTraining(runs(rule).path)
    for _ in range(2):
        row = training.train_epoch()
        assert row["torch_loss"] == pytest.approx(row["keras_loss"], rel=2e-4)
        assert row["torch_accuracy"] == pytest.approx(row["keras_accuracy"], abs=2 / 300)


def test_an_interrupted_twin_goes_on_to_the_same_numbers(runs, tmp_path):
    run = runs("momentum")
    whole = train_twin(run.path, tmp_path / "whole")
    first = TwinTraining(run.path)
    first.train_epoch()
    (tmp_path / "twin.pt").parent.mkdir(exist_ok=True)
    first.save(tmp_path / "twin.pt")
    said = []
    assert train_twin(run.path, tmp_path, say=said.append) == whole and len(said) == 1
    text = (tmp_path / "twin.csv").read_text().splitlines()
    assert len(text) == 3 and text[0].startswith("epoch,keras_loss,torch_loss,keras_accuracy,torch_accuracy")
    assert json.loads((tmp_path / "twin.json").read_text()) == whole
    assert whole["keras_test_accuracy"] == run.evaluate()["accuracy"]
    assert abs(whole["torch_test_accuracy"] - whole["keras_test_accuracy"]) < 0.01
    assert (tmp_path / "twin.png").stat().st_size > 10_000


def test_what_a_plain_loop_does_not_train_is_refused(runs, tmp_path):
    run = kerasref.train("lenet5", run_dir=tmp_path / "run", ema=0.9, **FIELDS | {"epochs": 1})
    with pytest.raises(UserError, match=r"trained with ema 0\.9, which the PyTorch side does not have"):
        TwinTraining(run.path)
    changed = json.loads((run.path / "recipe.json").read_text())
    changed["recipe"] |= {"ema": None, "optimizer": "lion"}
    (run.path / "recipe.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"optimizer 'lion'.*expected .* one of the optimizers sgd, momentum"):
        TwinTraining(run.path)


def test_a_single_logit_is_refused(tmp_path):
    fields = dict(model="logistic_regression", classes=("0", "1"), epochs=1, dataset="digits", ema=None, pad=0)
    run = kerasref.train("softmax_regression", run_dir=tmp_path / "run", **fields)
    with pytest.raises(UserError, match="logistic_regression has a single logit, expected one for each class"):
        TwinTraining(run.path)
