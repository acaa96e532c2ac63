"""Each file of the corpus is refused in one to three lines that name it; none runs, writes elsewhere, fills memory."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.hostile.corpus import make

OPENING = Path(__file__).parent / "opening.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    canary = folder / "canary"
    (folder / "corpus").mkdir()
    made = make(folder / "corpus", canary)
    if canary.exists():
        canary.rmdir()  # making a network with a Lambda layer runs it, too
    (folder / "corpus.json").write_text(json.dumps(made))
    return folder, len(made)


@pytest.fixture(scope="module")
def outcomes(corpus):
    folder, count = corpus
    command = [sys.executable, str(OPENING), str(folder / "corpus.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == count, done.stderr[-2000:]
    assert not list(folder.rglob("canary"))
    return lines


@pytest.mark.parametrize("row", [13, 14, 16, 17, 18])
def test_each_is_refused_with_its_name(outcomes, row):
    of_row = [line for line in outcomes if line[0] == row]
    assert len(of_row) >= 5
    for _, _, path, outcome, seconds, _ in of_row:
        if path.endswith("lambda-with-our-tensors"):  # which are taken; what else is in the file is not looked at
            assert outcome == "opened"
            continue
        assert outcome.startswith("refused: "), (path, outcome)
        assert Path(path).name in outcome
        assert len(outcome.splitlines()) <= 3
        assert seconds < 5, path


def test_without_trust_the_message_says_what_it_means(outcomes):
    text = next(line[3] for line in outcomes if line[2].endswith("17-elsewhere-lambda.keras"))
    assert "--trust" in text and "runs that code" in text


def test_the_attacks_are_real(outcomes, corpus):
    """A careless reader runs the code in such a file."""
    folder, _ = corpus
    file = folder / "corpus" / "17-elsewhere-lambda.keras"
    keras.models.load_model(file, safe_mode=False)(np.zeros((1, 28, 28, 1)))
    assert (folder / "canary").exists()
