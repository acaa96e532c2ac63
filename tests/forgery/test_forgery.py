"""Forgeries of every class are found, by the check that is meant to; an honest run is verified.

`table` makes a hundred, of every row of FORGERIES; here are those that cost little.
"""

import contextlib
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from kerasref.chain import read_links
from kerasref.cli.main import main
from kerasref.errors import Stopped, UserError
from kerasref.evaluation.evaluate import evaluate_run
from kerasref.lab.studies import retraining, run_checks, verification
from kerasref.lab.studies.retraining import stretches_of
from kerasref.lab.studies.run_checks import NotVerified
from kerasref.lab.studies.verification import verify
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles
from kerasref.training import checkpoints, train
from tests.forgery.forgeries import EPOCHS, FORGERIES, NOT_FOUND, Forger, rebuild
from tests.forgery.table import caught_by
from tests.training.stops import StopAt

OLD_RUN = Path(__file__).parents[1] / "data_files" / "old_run" / "finished"
CHECKS = {  # forgery: the check that finds it
    "model.keras alone": "weights",
    "evaluated again, end of the chain hashed again": "weights",
    "metrics.json alone": "evaluation",
    "metrics.json, hashed again": "evaluation",
    "predictions.csv and metrics.json, hashed again": "evaluation",
    "history.csv alone": "history",
    "under the name of the dataset": "data",
    "in an image folder that is given away with the run": "test images",
    "images, labels or a split": "data",
    "links removed": "chain",
    "fewer trained than recipe.json and chain say": "recipe",
    "as the last state": "stretches",
}


@pytest.fixture(scope="module")
def forger(tmp_path_factory):
    return Forger(tmp_path_factory.mktemp("runs"), seed=0)


@pytest.mark.parametrize("name", CHECKS)
def test_a_forgery_is_found(forger, name):
    made = {name: make for kind in FORGERIES.values() for name, (make, _) in kind.items()}
    assert caught_by(made[name](forger)) == CHECKS[name]


def test_every_class_is_among_them():
    assert all(kind.keys() & CHECKS.keys() for kind in FORGERIES.values())


def test_the_forgery_that_cannot_be_found_is_not(forger):
    """As docs/verifying.md says; where this fails, the page has to change."""
    ((make, _),) = NOT_FOUND.values()
    assert caught_by(make(forger)) is None


@pytest.mark.parametrize(
    "text",
    ["", '{"link": [], "sha256": "0"}\n', '{"link": "end", "sha256": "0", "epoch": 1, "step": 0, "weights": "0"}\n'],
)
def test_a_chain_of_anything_else_is_not_verified(forger, text):
    run = forger.copy()
    run.chain_file.write_text(text)
    assert caught_by(run) == "chain"


def test_links_with_other_values_are_not_verified(forger):
    run = forger.copy()
    links = read_links(run.chain_file)
    links[1] |= {"epoch": "1", "history": None}
    rebuild(run, links)
    assert caught_by(run) == "chain"


def test_an_honest_run_is_verified(forger, capsys):
    verdict = verify(forger.honest, spots=1)
    assert verdict == "verified: 1 of 1 stretches, 25.0% of the training, chain whole"
    shown = capsys.readouterr().out
    assert shown.count("the same bits") == 1 and "keeps more" not in shown
    assert verify(forger.honest, spots=5).startswith("verified: 4 of 4 stretches, 100.0%")
    assert "4 of the 5 asked for can be trained again" in capsys.readouterr().out


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_a_run_resumed_within_an_epoch_with_fewer_epochs_is_verified(tmp_path, accumulate_steps):
    recipe = Recipe(
        model="mlp", units=(8,), dataset="digits", validation=0.1, batch_size=50, epochs=3, schedule="cosine"
    )
    recipe = replace(recipe, accumulate_steps=accumulate_steps, precision="float32", steps_per_execution=4)
    with contextlib.suppress(Stopped):
        train(recipe, tmp_path, callbacks=[StopAt(0, 9)])
    run = train(replace(recipe, epochs=2), tmp_path, resume=True, callbacks=[StopAt()])
    evaluate_run(run)
    assert "extension" in [link["link"] for link in read_links(run.chain_file)]
    assert verify(run, callbacks=[StopAt()]).startswith("verified: 2 of 2")


def test_a_run_without_a_chain_and_one_with_other_callbacks_are_refused(forger):
    with pytest.raises(UserError, match=r"chain\.jsonl is not there.*train again"):
        verify(RunFiles(OLD_RUN))
    with pytest.raises(UserError, match=r"callbacks \[\], found \['TerminateOnNaN'\]"):
        verify(forger.honest, callbacks=[keras.callbacks.TerminateOnNaN()])


def test_on_another_machine_other_bits_are_compared_within_a_tolerance(forger, monkeypatch, capsys):
    """Another machine is one with other versions; its arithmetic is a learning rate that is a little different."""
    monkeypatch.setattr(retraining.provenance, "versions", lambda: {"tensorflow": "3.0"})
    train_again, change = retraining.train_again, [0.001]

    def otherwise(run, links, stretch, data, callbacks):
        result = train_again(run, links, stretch, data, callbacks)
        before = iter(result.before)
        weights = {name for name in result.state if name.startswith("model:") and result.state[name].dtype.kind == "f"}
        changed = {k: v + change[0] * (v - next(before)) if k in weights else v for k, v in result.state.items()}
        return retraining.Result([*result.links[:-1], {**result.links[-1], "state": "other"}], result.before, changed)

    monkeypatch.setattr(verification, "train_again", otherwise)
    verify(forger.honest, spots=1)
    assert "another one (" in (shown := capsys.readouterr().out)
    assert "other bits, the weights differ by 0.001 of what it changed" in shown
    change[0] = 0.02
    with pytest.raises(NotVerified, match=r"ends 0\.02 of its way apart, expected 0\.01"):
        verify(forger.honest, spots=1)
    monkeypatch.undo()
    monkeypatch.setattr(verification, "train_again", otherwise)
    with pytest.raises(NotVerified, match=r"other bits, first at epoch \d, step 0: other state"):
        verify(forger.honest, spots=1)


def test_a_machine_that_does_not_repeat_its_own_bits_counts_as_another(forger, monkeypatch, capsys):
    train_again, times = retraining.train_again, []

    def varying(run, links, stretch, data, callbacks):
        times.append(stretch)
        result = train_again(run, links, stretch, data, callbacks)
        return retraining.Result([{**result.links[0], "state": str(len(times))}], result.before, result.state)

    monkeypatch.setattr(verification, "train_again", varying)
    verify(forger.honest, spots=1)
    assert len(times) == 2 and "other bits, the weights differ by 0 of what" in capsys.readouterr().out


def test_stretches_end_at_the_next_state_or_at_the_end_of_the_epoch(forger):
    run = forger.copy()
    links = read_links(run.chain_file)
    assert [(s.begin, s.end) for s in stretches_of(run, links)] == [((n, 0), (n + 1, 0)) for n in range(EPOCHS)]
    arrays, fields = checkpoints.load(max(run.checkpoints.glob("*.json")))
    checkpoints.save(run.checkpoints, arrays, {**fields, "epoch": 0, "step": 13})  # and forgets the later ones
    found = stretches_of(run, links)
    assert [(s.begin, s.end) for s in found] == [((0, 0), (0, 13)), ((0, 13), (1, 0))]
    assert [s.kept is not None for s in found] == [True, False]


@pytest.mark.parametrize(
    ("found", "expected", "wrong"),
    [
        ({"a": 0.5, "b": [1, {"c": "x"}]}, {"a": 0.5004, "b": [2, {"c": "x"}]}, None),
        ({"a": 0.5}, {"a": 0.502}, "a 0.5 is 0.502"),
        ({"a": [{"n": 5}]}, {"a": [{"n": 7}]}, "a n 5 is 7"),
        ({"a": 2000.0}, {"a": 2001.0}, None),
        ({"a": 1}, {"b": 1}, " {'a': 1} is {'b': 1}"),
        ({"a": "x"}, {"a": "y"}, "a x is y"),
    ],
)
def test_contents_are_compared_within_what_arithmetic_explains(found, expected, wrong):
    assert run_checks.difference(found, expected) == wrong


def test_rows_are_compared_within_what_arithmetic_explains():
    row = {"label": "a", "prediction": "a", "p_a": "0.6", "p_b": "0.4"}
    close = {"label": "a", "prediction": "a", "p_a": "0.5004", "p_b": "0.4996"}
    assert run_checks.row_difference(row, {**row, "p_a": "0.6005"}) is None
    assert run_checks.row_difference(row, {**row, "p_a": "0.61"}) == "a probability is 0.01 apart"
    assert run_checks.row_difference({**row, "prediction": "b"}, row) == "prediction 'b' is 'a'"
    assert run_checks.row_difference({**row, "label": "b"}, row) == "label 'b' is 'a'"
    for broken in ({}, {**row, "p_b": None}, {**row, "p_b": "much"}):
        assert run_checks.row_difference(broken, row) == "a probability is not there"
    assert run_checks.row_difference({**close, "prediction": "b"}, close) is None


def test_the_command_says_verified_or_not_by_its_exit_code(forger, capsys):
    run = forger.copy()
    main(["verify", str(run.path), "--spots", "1"])
    assert "verified: 1 of 1 stretches, 25.0% of the training" in capsys.readouterr().out

    def fails(code, *more):
        with pytest.raises(SystemExit) as stop:
            main(["verify", str(run.path), *more])
        assert stop.value.code == code
        return capsys.readouterr().err

    run.history_file.write_text(run.history_file.read_text().replace("0", "1"))
    assert fails(1).startswith(f"error: not verified: {run.history_file}: epoch 1")
    assert "expected at least 1" in fails(2, "--spots", "0")
    run.chain_file.unlink()
    assert "chain.jsonl is not there" in fails(2)
