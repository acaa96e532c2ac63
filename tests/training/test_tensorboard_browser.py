"""A browser opens TensorBoard on a small finished sweep and finds all that a run shows."""

import re
import subprocess
import sys
import time

import pytest

from kerasref.recipe import Recipe
from kerasref.training import train

SECONDS = 90  # to wait for anything; an idle machine needs five
# Text and pictures also below shadow roots, of which TensorBoard's pages are made.
SEEN = """
const texts = [], pictures = [];
(function walk(node) {
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) texts.push(child.data.trim());
    if (child.nodeType !== Node.ELEMENT_NODE || ['SCRIPT', 'STYLE'].includes(child.tagName)) continue;
    if (child.tagName === 'IMG' && child.naturalWidth > 0) pictures.push(child.src);
    if (child.shadowRoot) walk(child.shadowRoot);
    walk(child);
  }
})(document.body);
return [texts.filter(Boolean), pictures.length];
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    for rate in (0.001, 0.003):
        recipe = Recipe(model="mlp", dataset="digits", train_examples=200, validation=0.1, epochs=2, learning_rate=rate)
        train(recipe, folder / f"rate-{rate}")
    return folder


@pytest.fixture(scope="module")
def tensorboard(sweep, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with open(log, "w") as file:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", sweep, "--port", "0", "--host", "127.0.0.1"]
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + SECONDS
        while not (address := re.search(r"at (http://[\d.]+:\d+/)", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address[1]
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize(
    ("tab", "texts", "pictures"),
    [
        ("timeseries", ["epoch_loss", "epoch_accuracy", "epoch_learning_rate", "epoch_duration"], 0),
        ("images", ["first batch", "confusion matrix"], 4),
        ("graphs", [r"mlp(_\d+)?"], 0),
        ("histograms", ["fc1/kernel/histogram", "fc1/kernel/gradient", "fc1/bias/gradient"], 0),
        (
            "hparams",
            ["learning_rate", r"0\.0010000", r"0\.0030000", r"validation\.epoch_accuracy", "train_examples"],
            0,
        ),
    ],
)
def test_a_tab_shows(browser, tensorboard, tab, texts, pictures):
    browser.get("about:blank")  # a change behind the # alone loads nothing
    browser.get(f"{tensorboard}#{tab}")
    deadline = time.monotonic() + SECONDS
    while True:
        seen, shown = browser.execute_script(SEEN)
        missing = [text for text in texts if not any(re.fullmatch(text, line) for line in seen)]
        if not missing and shown >= pictures:
            return
        assert time.monotonic() < deadline, f"{tab}: {missing} not there, {shown} pictures, in {seen[:300]}"
        time.sleep(0.3)
