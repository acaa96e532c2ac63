"""What `make clients` calls the same, and the table that it writes; the readers themselves are not installed here."""

import numpy as np
import pytest

from tests.clients.clients import CLIENTS, compared, table

EXPECTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45], [0.0, 0.1, 0.9]])


@pytest.mark.parametrize(
    ("change", "classes_equal", "result"),
    [
        (np.zeros(3), "1.0000", "same"),
        (np.array([5e-5, 0, 0]), "1.0000", "same"),
        (np.array([2e-4, 0, 0]), "1.0000", "differs"),
        (np.array([0, 0, 5e-6]), "1.0000", "same"),  # another class of a tie
        (np.array([0, 0.6, 0]), "0.6667", "differs"),
    ],
)
def test_answers_are_compared(change, classes_equal, result):
    found = compared(EXPECTED, [EXPECTED, EXPECTED + change])
    single = compared(EXPECTED, [EXPECTED + change])
    assert single["classes_equal"] == classes_equal and found["result"] == single["result"] == result
    assert float(found["max_difference"]) == pytest.approx(np.abs(change).max(), rel=0.05)


@pytest.mark.parametrize("answer", [EXPECTED[:, :2], EXPECTED[:1], np.full((3, 3), np.nan)])
def test_what_is_no_answer_fails(answer):
    with pytest.raises(RuntimeError, match="expected finite numbers"):
        compared(EXPECTED, [answer])


def test_the_table_has_a_line_for_each_reader_and_file():
    common = {"reader": "LiteRT", "file": "model.tflite", "client": "litert"}
    measured = {"version": "2.3", "max_difference": "2.1e-07", "classes_equal": "1.0000", "result": "same"}
    rows = [
        {**common, **measured, "network": "lenet5"},
        {**common, **measured, "network": "resnet20", "result": "differs", "classes_equal": "0.9800"},
        {
            "client": "opencv",
            "reader": "OpenCV",
            "file": "x",
            "network": "lenet5",
            "version": "",
            "result": "skipped: no",
        },
    ]
    lines = table(rows).splitlines()
    assert [line.split(" | ")[-2:] for line in lines[2:]] == [
        ["skipped: no", " |"],
        ["2.1e-07", "2.1e-07, 98% of the classes equal |"],
    ]
    assert {client[1] for client in CLIENTS.values()} == {"python", "node", "server", None}
