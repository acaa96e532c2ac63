"""The notes' menu, typed at."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kerasref.lab.studies.menu import train_command
from tests.running import SCRIPTS, script


def menu(typed, run_dir, locale="C.UTF-8", *args, code=0):
    """What it prints when `typed` is typed, line by line."""
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1"}
    return script("menu", "--run-dir", run_dir, *args, code=code, input="\n".join(typed) + "\n", env=environment)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "menu"
    menu(["1"], run_dir, "C.UTF-8", "--recipe", "notes_network", "--dataset", "digits")
    return run_dir


@pytest.mark.parametrize(
    ("locale", "said"), [("zh_CN.UTF-8", ["识别结果", "不确定"]), ("C.UTF-8", ["it is a", "not sure"])]
)
def test_pictures_until_0_in_two_languages(run_dir, tmp_path, locale, said):
    ink = np.zeros((60, 60), np.uint8)
    ink[10:50, 28:33] = 255
    Image.fromarray(255 - ink).save(tmp_path / "one.png")
    done = menu(["x", "2", "1", "no-such.png", "1", str(tmp_path / "one.png"), "0"], run_dir, locale)
    assert "no-such.png" in done.stdout  # and it went on
    assert any(word in done.stdout for word in said)


TRAINING = """
import signal, sys, time
def save(number, frame):
    time.sleep(1)  # longer than the quarter of a second that subprocess.run gives it
    print("saved", flush=True)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_a_signal_lets_the_training_save(send, number):
    """Ctrl-C goes to both, as from a terminal; SIGTERM to the menu alone."""
    command = f"[sys.executable, '-c', {TRAINING!r}]"
    waiting = f"import sys; from kerasref.lab.studies.menu import wait_for; sys.exit(wait_for({command}))"
    options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", waiting], cwd=SCRIPTS.parent, **options) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            send(process.pid, number)
            assert process.communicate(timeout=30)[0] == "saved\n"
            assert process.returncode == 128 + number
        finally:
            process.kill()


def test_the_exit_code_is_the_trainings(tmp_path):
    done = menu(["1"], tmp_path / "run", "C.UTF-8", "--recipe", "nothing", code=2)
    assert "unknown recipe 'nothing'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_is_there_is_resumed(tmp_path):
    assert "--resume" not in train_command("mnist_cnn", None, tmp_path)
    (tmp_path / "recipe.json").touch()
    assert train_command("mnist_cnn", "digits", tmp_path)[-3:] == ["--dataset", "digits", "--resume"]


def test_testing_before_training_says_what_to_do(tmp_path):
    assert "train first" in menu(["2"], tmp_path / "nothing", code=2).stderr
