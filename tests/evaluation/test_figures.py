import base64
import importlib
import inspect
import io
import re
import types
import warnings
from itertools import combinations, pairwise
from xml.etree import ElementTree

import keras
import numpy as np
import pandas
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from kerasref.errors import UserError
from kerasref.evaluation.plot_style import cjk_fonts, svg
from kerasref.evaluation.plots import image_grid, plot_calibration, plot_confusion_matrix, plot_curves


def labels_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def written(axes):
    return {tuple(np.floor(text.get_position()).astype(int)): text.get_text() for text in axes.texts}


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_confusion_matrix_writes_counts_where_they_belong():
    figure = drawn(plot_confusion_matrix([[50, 2, 0], [0, 7, 1], [0, 0, 0]], ("cat", "dog", "owl"), title="pets"))
    (axes,) = figure.axes
    # x is the predicted class, y the true one
    assert written(axes) == {(0, 0): "50", (1, 0): "2", (1, 1): "7", (2, 1): "1"}
    assert labels_of(axes.xaxis) == labels_of(axes.yaxis) == ["cat", "dog", "owl"]
    assert axes.yaxis_inverted()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted", "true", "pets")


def test_confusion_matrix_colours_by_row():
    axes = plot_confusion_matrix([[90, 10], [1, 1]], "ab").axes[0]
    right, wrong = (mesh.get_array() for mesh in axes.collections)
    np.testing.assert_allclose(np.ma.compressed(right) ** 2, [0.9, 0.5])
    np.testing.assert_allclose(np.ma.compressed(wrong) ** 2, [0.1, 0.5])


@pytest.mark.parametrize("classes", [2, 25, 100])
def test_every_class_keeps_its_name_apart_from_its_neighbour(classes):
    names = [f"{i} a class name that is much too long" for i in range(classes)]
    figure = plot_confusion_matrix(3 * np.eye(classes, dtype=int), names)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert labels_of(axes.yaxis) == [f"{name[:23]}…" for name in names]
    assert len(axes.texts) == classes
    for axis, side in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        starts = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert all(end <= start for (_, end), (start, _) in pairwise(starts))
        page = figure.bbox
        assert all(box.x0 >= page.x0 and box.y0 >= page.y0 for box in boxes)


def test_beyond_a_hundred_classes_colours_alone_are_drawn():
    (axes,) = drawn(plot_confusion_matrix(np.eye(130, dtype=int), [str(i) for i in range(130)])).axes
    assert not axes.texts
    assert len(axes.get_yticks()) < 20


def test_names_are_no_formulas():
    names = (r"$\frac{$", "a$b$c", "<b>x</b>")
    assert labels_of(
        drawn(plot_confusion_matrix(np.eye(3, dtype=int), names, title=r"$\frac{$")).axes[0].xaxis
    ) == list(names)
    drawn(image_grid(np.zeros((3, 8, 8, 1), np.uint8), names, title=r"$\frac{$"))


def test_confusion_matrix_of_another_shape_is_refused():
    with pytest.raises(UserError, match=r"shape \(2, 2\), expected \(3, 3\) for 3 class names"):
        plot_confusion_matrix([[1, 0], [0, 1]], "abc")


HISTORY = [
    {"epoch": "1", "loss": "0.9", "accuracy": "0.6", "val_loss": "", "val_accuracy": "", "learning_rate": "0.1"},
    {"epoch": "2", "loss": "0.5", "accuracy": "0.8", "val_loss": "", "val_accuracy": "", "learning_rate": "0.001"},
]


def test_curves_show_what_the_history_has():
    loss, accuracy, rate = drawn(plot_curves(HISTORY)).axes
    assert [axes.get_title("left") for axes in (loss, accuracy, rate)] == ["Loss", "Accuracy", "Learning rate"]
    (line,) = loss.lines
    assert (line.get_label(), *line.get_xydata().tolist()) == ("train", [1, 0.9], [2, 0.5])
    assert accuracy.lines[0].get_ydata().tolist() == [0.6, 0.8]
    assert rate.get_yscale() == "log"
    validated = [row | {"val_loss": 0.7, "val_accuracy": 0.7, "learning_rate": 0.1} for row in HISTORY]
    loss, accuracy, rate = drawn(plot_curves(validated, columns=1)).axes
    for axes in (loss, accuracy):
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "validation"]
    assert rate.get_yscale() == "linear"
    cosine = [{"epoch": e + 1, "loss": 1, "learning_rate": 1 + np.cos(np.pi * e / 9)} for e in range(10)]
    assert drawn(plot_curves(cosine)).axes[2].get_yscale() == "linear"  # though its last value is 0, or next to it


def keras_history():
    """As `fit(initial_epoch=3)` returns it, of a model compiled with another name of accuracy."""
    history = keras.callbacks.History()
    history.on_train_begin()
    history.set_model(types.SimpleNamespace())
    for epoch, loss in ((3, 0.5), (4, 0.25)):
        logs = {"loss": loss, "val_loss": 2 * loss, "sparse_categorical_accuracy": 1 - loss, "lr": 1e-4}
        history.on_epoch_end(epoch, logs)
    return history


@pytest.mark.parametrize(
    ("form", "first"),
    [
        (lambda h: h, 4),
        (lambda h: h.history, 1),
        (lambda h: pandas.DataFrame(h.history), 1),
        (lambda h: pandas.DataFrame(h.history | {"epoch": [8, 9]}), 8),
    ],
    ids=["History", "dict", "DataFrame", "DataFrame with epochs"],
)
def test_curves_of_what_keras_returns(form, first):
    loss, accuracy, rate = drawn(plot_curves(form(keras_history()))).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [
        [[first, 0.5], [first + 1, 0.25]],
        [[first, 1.0], [first + 1, 0.5]],
    ]
    assert accuracy.lines[0].get_ydata().tolist() == [0.5, 0.75]
    assert rate.lines[0].get_ydata().tolist() == [1e-4, 1e-4]


@pytest.mark.parametrize("history", [[], {}, pandas.DataFrame(), {"loss": []}])
def test_curves_need_an_epoch(history):
    with pytest.raises(UserError, match="history is empty"):
        plot_curves(history)


def texts(figure):
    tree = ElementTree.fromstring(base64.b64decode(svg(figure)["uri"].partition(",")[2]))
    return ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_numbers_in_an_svg_are_whole_and_its_coordinates_short():
    rates = [{"epoch": e, "loss": 1, "learning_rate": rate} for e, rate in enumerate((0.0003, 0.0005, 0.00045), 1)]
    labels = texts(plot_curves(rates))
    assert {"0.0001", "0.0002", "0.0005"} <= set(labels)
    assert {"v1.23456", "0.00012345"} <= set(
        texts(plot_confusion_matrix(np.eye(2, dtype=int), ("v1.23456", "0.00012345")))
    )
    content = base64.b64decode(svg(plot_curves(rates))["uri"].partition(",")[2]).decode()
    assert not re.search(r"[ \"(]\d+\.\d{4}", content)


def test_chinese_names_are_drawn_in_a_font_that_has_them(monkeypatch):
    if not cjk_fonts():
        pytest.skip("no Chinese font is installed")
    figures = [
        plot_confusion_matrix(np.eye(2, dtype=int), ("猫", "狗"), title="混淆矩阵"),
        image_grid(np.zeros((1, 8, 8, 1), np.uint8), ["猫"], title="猫"),
    ]
    for figure in figures:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "Glyph 29483 missing": a box in its place
            figure.savefig(io.BytesIO(), format="png")
        assert {"猫"} <= {text.get_text() for text in figure.findobj(Text)}


def test_a_chinese_font_is_found_by_its_name_or_its_file(monkeypatch):
    names = ["DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "SimHei"]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: names)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["/a/DejaVuSans.ttf", "/fonts/wqy-zenhei.ttc"])
    assert cjk_fonts() == ["Noto Sans CJK SC"]
    names[1:] = []
    added = types.SimpleNamespace(addfont=lambda file: names.append("WenQuanYi Zen Hei") if "wqy" in file else 1 / 0)
    monkeypatch.setattr(font_manager, "fontManager", added)
    assert cjk_fonts() == ["WenQuanYi Zen Hei"]  # not among Matplotlib's: installed since
    names[1:] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    assert cjk_fonts() == []


def test_every_function_that_plots_has_the_style():
    """A decorator once slid from `plot_confusion_matrix` onto the function below it."""
    modules = [importlib.import_module(f"kerasref.{name}") for name in
               ("evaluation.plots", "lab.parity.plots", "lab.sweeps.comparison_plots")]  # fmt: skip
    functions = [function for module in modules for function in vars(module).values() if inspect.isfunction(function)]
    plots = {f.__name__: f for f in functions if inspect.signature(f).return_annotation is Figure}
    assert {"plot_confusion_matrix", "plot_curves", "image_grid", "plot_losses", "plot_importance"} <= set(plots)
    assert [name for name, function in plots.items() if not hasattr(function, "__wrapped__")] == []
    assert [f.__name__ for f in functions if hasattr(f, "__wrapped__") and f.__name__ not in plots] == []


def test_calibration_bars():
    count, confidence, accuracy = np.array([0, 4, 6]), np.array([0, 0.5, 0.9]), np.array([0, 0.25, 1])
    above, below = drawn(plot_calibration(count, confidence, accuracy)).axes
    both, more_right, more_sure = ([bar.get_height() for bar in bars] for bars in above.containers)
    assert both == pytest.approx([0, 0.25, 0.9])
    assert more_right == pytest.approx([0, 0, 0.1])
    assert more_sure == pytest.approx([0, 0.25, 0])
    assert [bar.get_height() for bar in below.patches] == [0, 4, 6]


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 9, channels), np.uint8)
    figure = drawn(
        image_grid(images, ["cat", "dog", "a rather long caption for a picture", 7, ""], columns=3, title="T")
    )
    assert figure.get_suptitle() == "T"
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["cat", "dog", "a rather long\ncaption for a\npicture", "7", ""]
    places = [text.get_window_extent() for text in axes.texts] + [image.get_window_extent() for image in axes.images]
    assert not any(one.overlaps(other) for one, other in combinations(places, 2) if one.width and other.width)
    assert all(figure.bbox.x0 <= place.x0 and place.x1 <= figure.bbox.x1 for place in places)
    assert axes.images[3].get_window_extent().y1 < axes.images[0].get_window_extent().y0  # opens the second row
    for shown, image in zip(axes.images, images, strict=True):
        np.testing.assert_array_equal(np.squeeze(shown.get_array()), np.squeeze(image))


def test_image_grid_refuses_what_is_no_picture():
    with pytest.raises(UserError, match=r"images are float64 of shape \(2, 4, 4, 1\), expected uint8"):
        image_grid(np.zeros((2, 4, 4, 1)))
    with pytest.raises(UserError, match=r"shape \(0, 4, 4, 1\).*at least one"):
        image_grid(np.zeros((0, 4, 4, 1), np.uint8))
    with pytest.raises(UserError, match="1 captions for 2 images"):
        image_grid(np.zeros((2, 4, 4, 1), np.uint8), ["x"])


def test_names_that_no_picture_can_show_leave_it_whole():
    figure, file = plot_confusion_matrix(np.eye(3, dtype=int), ("a\x07b", "\udce9", "c")), io.BytesIO()
    figure.savefig(file, format="svg")
    ElementTree.fromstring(file.getvalue())
    assert labels_of(drawn(figure).axes[0].xaxis) == ["a\N{REPLACEMENT CHARACTER}b", "\N{REPLACEMENT CHARACTER}", "c"]
