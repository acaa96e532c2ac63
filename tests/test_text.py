import pytest

from kerasref.text import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat\x1b[2J", r"cat\x1b[2J"),  # clears a terminal
        ("a\nb\r\tc\x00\x9b", r"a\nb\r\tc\x00\x9b"),
        ("\u2028\u2029\u202egnp.exe\u200f", r"\u2028\u2029\u202egnp.exe\u200f"),
        ("\udcff.png", r"\udcff.png"),  # a file name that is not UTF-8
        ("猫 é 👩\u200d🔬", "猫 é 👩\u200d🔬"),  # the joiner is part of the picture
        (7, "7"),
    ],
)
def test_no_terminal_obeys_a_name(text, expected):
    assert printable(text) == expected
