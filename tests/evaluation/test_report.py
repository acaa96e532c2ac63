import base64
import io
import json
import os
import re
import time
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse
from matplotlib.image import imread

from kerasref.errors import RunError, UserError
from kerasref.evaluation.error_analysis import confident_mistakes, confusion_entries, costliest_confusions
from kerasref.evaluation.metrics import compute_metrics, probabilities
from kerasref.evaluation.report import render_report, write_report
from kerasref.runs import RunFiles

pytestmark = pytest.mark.filterwarnings("error")
VOID = {"meta", "img", "source", "link", "br", "hr", "input"}
HISTORY = [
    {"epoch": e, "loss": 1 / e, "accuracy": 1 - 0.4 / e, "val_loss": 1.2 / e, "val_accuracy": 1 - 0.5 / e,
     "learning_rate": 0.1, "epoch_duration": 2.0, "run_duration": 65.0 * e}
    for e in (1, 2)
]  # fmt: skip
RECIPE = {
    "recipe": {
        "model": "lenet5",
        "dataset": "digits",
        "flip": True,
        "decay_epochs": [3, 5],
        "seed": 1,
        "keep_prob": None,
    },
    "dataset": {"name": "digits", "image_shape": [12, 12, 1], "num_test": 80},
    "preprocessing": {"mean": [0.5], "std": [0.25]},
    "versions": {"keras": "3.15.1"},
    "commit": "abc123",
    "hardware": {"cpu": "a processor", "cores": 2},
    "command": "python scripts/train.py lenet5 --flip && echo '<done>'",
}
DEFAULTS = {"model": "lenet5", "dataset": "mnist", "flip": False, "decay_epochs": (3, 5), "seed": 1, "keep_prob": None}


class Page(HTMLParser):
    """What a browser would make of it: tags in balance, every address that it would open, the visible text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.pictures, self.chunks = [], [], [], [], []
        self.links, self.ids = [], set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "srcset", "data", "action", "poster")]
        self.links += [v for k, v in attributes if k == "href"]
        self.ids |= {v for k, v in attributes if k == "id"}
        self.pictures += [dict(attributes)] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.chunks.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.chunks).split())


def example(classes=4, n=80, channels=1, side=12, skill=1.5, names=None, **changes):
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    rows = probabilities(logits)
    names = names or [f"class {i}" for i in range(classes)]
    images = random.integers(0, 256, (n, side, side, channels), np.uint8)
    return {
        "recipe": RECIPE,
        "history": HISTORY,
        "metrics": compute_metrics(labels, rows, names),
        "images": images,
        "labels": labels,
        "probabilities": rows,
        "class_names": names,
        "defaults": DEFAULTS,
    } | changes


def svg_texts(uri):
    assert uri.startswith("data:image/svg+xml;base64,")
    return list(ElementTree.fromstring(base64.b64decode(uri.partition(",")[2])).itertext())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"classes": 2, "channels": 3, "side": 90},
        {"classes": 100, "n": 400, "names": [f"{'long ' * 12}name {i}" for i in range(100)]},
        {"skill": 60},
        {"history": []},
        {"history": HISTORY[:1], "defaults": None},
        {"recipe": {}},
        {"n": 1},
    ],
    ids=["grey", "two in colour", "hundred", "no mistakes", "no history", "one epoch", "no recipe", "one example"],
)
def test_a_page_that_needs_nothing_else(changes):
    text = render_report(**example(**changes))
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert {link.removeprefix("#") for link in page.links} <= page.ids  # of this page, no files
    assert not re.search(r"https?://|url\(|@import", text)  # base64 has no colon and no bracket
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    for address in page.addresses:
        if "svg+xml" in address:
            tree = ElementTree.fromstring(base64.b64decode(address.partition(",")[2]))
            links = [v for node in tree.iter() for k, v in node.attrib.items() if k.endswith("href")]
            assert all(link.startswith(("#", "data:")) for link in links)


def test_markup_in_names_is_shown_not_obeyed():
    names = ["<b>x</b>", "\"><img src='http://evil/'>", "</style><script>", "{{ 7 * 7 }}"]
    text = render_report(**example(names=names, title="<i>t</i>"))
    page = Page(text)
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert not {"script", "i"} & set(page.tags)
    for shown in (*names, "<i>t</i>", "echo '<done>'"):
        assert shown in page.words
    assert all(address.startswith("data:") for address in page.addresses)


def test_it_says_what_was_measured():
    arguments = example()
    metrics, page = arguments["metrics"], Page(render_report(**arguments))
    words = page.words
    wrong = round(80 * (1 - metrics["accuracy"]))
    assert f"Accuracy {100 * metrics['accuracy']:.2f} % {wrong} wrong" in words
    assert f"Macro F1 {100 * metrics['macro']['f1']:.2f} %" in words
    assert f"Log loss {metrics['log_loss']:.4f}" in words
    assert f"Selection metric macro F1 : {metrics['macro']['f1']:.4f} (higher is better)" in words
    assert "Epochs 2 trained in 2 min 10 s" in words
    assert "After 2 epochs training accuracy is 80.0 % and validation accuracy 75.0 %: high bias" in words
    assert "lenet5 on digits" in words
    matrix = np.array(metrics["confusion_matrix"])
    matrix[np.diag_indices(4)] = 0
    true, found = np.unravel_index(matrix.argmax(), (4, 4))
    of_mistakes, accuracy = 100 * matrix.max() / matrix.sum(), metrics["accuracy"] + matrix.max() / 80
    assert f"class {true}, predicted class {found} {matrix.max()} {of_mistakes:.1f} %" in words
    assert f"{100 * accuracy:.2f} %" in words
    for fact in ("keras 3.15.1", "commit abc123", "cpu a processor", "mean 0.5", "image shape 12, 12, 1"):
        assert fact in words
    matrices = [p["src"] for p in page.pictures if p["alt"].startswith("confusion matrix")]
    assert {"class 0", "class 3", "true", "predicted"} <= set(svg_texts(*matrices))


def test_what_differs_from_the_default_comes_first():
    words = Page(render_report(**example())).words
    table = words[words.index("Field This run Default") :]
    assert table.startswith("Field This run Default dataset digits mnist flip yes no 4 fields as in the default recipe")
    assert "decay_epochs 3, 5 seed 1 keep_prob –" in table  # a tuple in the recipe is a list in recipe.json
    same = render_report(**example(defaults=RECIPE["recipe"]))
    assert "The default recipe, unchanged." in same


def test_the_surest_mistakes_are_shown_with_their_own_pictures():
    arguments = example(n=200, skill=0.5)
    page = Page(render_report(**arguments))
    rows, labels = arguments["probabilities"], arguments["labels"]
    indices = confident_mistakes(labels, rows)
    assert len(indices) == 36
    pictures = [picture for picture in page.pictures if ", predicted " in picture["alt"]]
    assert len(pictures) == 72  # as many samples
    for index, picture in zip(indices, pictures, strict=False):
        assert (
            picture["alt"]
            == f"test example {index}: label class {labels[index]}, predicted class {rows[index].argmax()}"
        )
        pixels = imread(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])), format="png")
        np.testing.assert_array_equal(np.round(255 * pixels[..., :1]), arguments["images"][index])
    assert f"{100 * rows[indices[0]].max():.1f} %" in page.words


def test_heat_maps_of_the_mistakes():
    arguments, asked = example(n=200, skill=0.5), []

    def look(images, classes):
        asked.append((images, classes))
        return np.linspace(0, 1, 6)[None, :, None] * np.ones((len(images), 1, 6))

    page = Page(render_report(**arguments, look=look, parameters=61_706))
    mistakes = confident_mistakes(arguments["labels"], arguments["probabilities"])
    ((images, classes),) = asked
    np.testing.assert_array_equal(images, arguments["images"][mistakes])
    np.testing.assert_array_equal(classes, arguments["probabilities"][mistakes].argmax(axis=1))
    heat = [picture for picture in page.pictures if picture.get("class") == "heat"]
    assert len(heat) == 36 and "where the network looked" in page.words and "Parameters 61,706 lenet5" in page.words
    pixels = imread(io.BytesIO(base64.b64decode(heat[0]["src"].partition(",")[2])), format="png")
    assert pixels.shape == (6, 6, 4) and (np.diff(pixels[:, 0, 3]) > 0).all() and pixels[0, 0, 3] == 0
    assert "no convolutions" in Page(render_report(**arguments, look=lambda *_: None)).words
    assert "convolutions" not in Page(render_report(**arguments)).words
    assert "heat maps" not in Page(render_report(**example(skill=60), look=look)).words  # nothing to look at
    assert len(asked) == 1


def test_a_typical_and_a_doubtful_example_of_each_class():
    rows = np.array([[0.9, 0.1, 0], [0.45, 0.5, 0.05], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    labels, names = np.array([0, 0, 0, 1, 2]), ["ant", "bee", "cat"]
    metrics, images = compute_metrics(labels, rows, names), np.zeros((5, 4, 4, 1), np.uint8)
    arguments = dict(recipe=RECIPE, history=[], metrics=metrics, images=images, labels=labels, class_names=names)
    page = Page(render_report(**arguments, probabilities=rows))
    shown = {picture["alt"] for picture in page.pictures if re.match("typical|doubtful", picture["alt"])}
    of_ant, of_bee = ("typical ant: test example 0", "doubtful ant: test example 1"), ("typical bee: test example 3",)
    assert shown == {*of_ant, *of_bee, "doubtful cat: test example 4"}
    assert "ant 90.0 % bee 50 % ant 45 %" in page.words.replace("\N{NO-BREAK SPACE}", " ")
    assert "none is predicted correctly" in page.words


def test_reliability_before_and_after_the_temperature():
    arguments = example(n=400)
    logits = np.log(arguments["probabilities"])
    after = probabilities(logits / 2.5)
    metrics = compute_metrics(arguments["labels"], after, arguments["class_names"])
    metrics |= {"temperature": 2.5, "expected_calibration_error_before": 0.1}
    page = Page(render_report(**arguments | {"probabilities": after, "metrics": metrics}))
    plain = Page(render_report(**arguments))
    of_logits, of_scaled = (p["src"] for p in page.pictures if p["alt"].startswith("reliability"))
    (expected,) = (p["src"] for p in plain.pictures if p["alt"].startswith("reliability"))
    assert of_logits == expected != of_scaled
    assert "Before temperature scaling" in page.words and "Before temperature" not in plain.words


def test_contents_and_files(tmp_path):
    page = Page(render_report(**example(), files=["recipe.json", "model.keras"]))
    here = [link for link in page.links if link.startswith("#")]
    assert {"#recipe", "#confusion", "#mistakes", "#examples", "#calibration", "#files"} <= set(here)
    assert {link[1:] for link in here} <= page.ids
    assert [link for link in page.links if link not in here] == ["recipe.json", "model.keras"]
    assert "#recipe" not in Page(render_report(**example(recipe={}))).links


def test_images_may_come_from_a_function_that_is_asked_once():
    arguments, asked = example(n=200), []

    def fetch(indices):
        asked.append(indices)
        return arguments["images"][indices]

    assert render_report(**arguments | {"images": fetch}) == render_report(**arguments)
    assert len(asked) == 1
    assert (np.diff(asked[0]) > 0).all()


def test_the_same_run_gives_the_same_page_also_from_its_files():
    arguments = example()
    stored = {name: json.loads(json.dumps(arguments[name])) for name in ("recipe", "history", "metrics")}
    assert render_report(**arguments) == render_report(**arguments | stored)


def test_arrays_that_do_not_fit_are_refused():
    arguments = example()
    with pytest.raises(UserError, match="79 images for 80 labels"):
        render_report(**arguments | {"images": arguments["images"][1:]})
    with pytest.raises(UserError, match="metrics are of 80 examples, labels of 81"):
        render_report(**example(n=81) | {"metrics": arguments["metrics"]})
    with pytest.raises(UserError, match="images are float64"):
        render_report(**arguments | {"images": arguments["images"] / 255})


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    arguments = example()
    write_report(path, **arguments)
    assert Page(path.read_text(encoding="utf-8")).tags[0] == "html"
    assert os.listdir(tmp_path) == ["report.html"]

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    path.write_text("the one before")
    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(RunError, match="No space left"):
        write_report(path, **arguments)
    assert path.read_text() == "the one before"
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize(
    ("threshold", "says"),
    [
        (None, "No confidence threshold: it is chosen on a validation split, which this run does not have."),
        ((None, 8, 0), "8 validation images are too few to show a precision of 99 %. At least 299 are needed"),
        ((1.0, 5000, 0), "on 5,000 validation images, no threshold has a precision of 99 %"),
        ((0.75, 5000, 0.931), "Confidence threshold 0.75: above it are 93.1 % of 5,000 validation images, with"),
    ],
)
def test_the_confidence_threshold_or_what_is_missing_for_one(threshold, says):
    arguments = example()
    if threshold:
        stored = dict(zip(("probability", "n", "share"), threshold, strict=True)) | {"precision": 0.99, "needed": 299}
        arguments["metrics"] = arguments["metrics"] | {"confidence_threshold": stored}
    assert says in Page(render_report(**arguments)).words


def test_ten_thousand_classes(tmp_path):
    """Metrics, files and report of 10,000 classes and 1,000 test images: about 4 CPU seconds, 1.5 MB and 0.4 MB."""
    classes, start = 10_000, time.process_time()
    run = RunFiles(tmp_path)
    arguments = example(classes=classes, n=1000, skill=8)
    metrics = arguments["metrics"]
    run.write_metrics(metrics)
    assert run.metrics() == metrics and run.metrics_file.stat().st_size < 2e6
    write_report(run.report_file, **arguments | {"metrics": run.metrics()})
    assert time.process_time() - start < 30
    assert run.report_file.stat().st_size < 1e6
    words = Page(run.report_file.read_text(encoding="utf-8")).words
    assert "The 1,000 classes with the lowest F1; metrics.json has all 10,000." in words
    labels, predicted = arguments["labels"], arguments["probabilities"].argmax(axis=1)
    true, found, count = confusion_entries(run.metrics()["confusion_matrix"])
    rebuilt = scipy.sparse.coo_array((count, (true, found)), shape=(classes, classes))
    expected = scipy.sparse.coo_array((np.ones(1000, int), (labels, predicted)), shape=(classes, classes))
    assert abs(rebuilt - expected).nnz == 0
    mistakes = sorted((-n, t, p) for t, p, n in zip(true, found, count, strict=True) if t != p)
    assert costliest_confusions(metrics["confusion_matrix"], 3) == [(t, p, -n) for n, t, p in mistakes[:3]]
