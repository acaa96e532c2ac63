import io
from itertools import pairwise

import numpy as np
import pytest

from kerasref.errors import UserError
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


def test_curves_need_an_epoch():
    with pytest.raises(UserError, match="history is empty"):
        plot_curves([])


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
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["cat", "dog", "a rather long\ncaption for a\npicture", "7", ""]
    assert shown[3].get_subplotspec().rowspan.start == 1  # three columns: the fourth opens the second row
    for axes, image in zip(shown, images, strict=True):
        np.testing.assert_array_equal(np.squeeze(axes.images[0].get_array()), np.squeeze(image))


def test_image_grid_refuses_what_is_no_picture():
    with pytest.raises(UserError, match=r"images are float64 of shape \(2, 4, 4, 1\), expected uint8"):
        image_grid(np.zeros((2, 4, 4, 1)))
    with pytest.raises(UserError, match=r"shape \(0, 4, 4, 1\).*at least one"):
        image_grid(np.zeros((0, 4, 4, 1), np.uint8))
    with pytest.raises(UserError, match="1 captions for 2 images"):
        image_grid(np.zeros((2, 4, 4, 1), np.uint8), ["x"])


def test_names_that_no_picture_can_show_leave_it_whole():
    from xml.etree import ElementTree

    figure, file = plot_confusion_matrix(np.eye(3, dtype=int), ("a\x07b", "\udce9", "c")), io.BytesIO()
    figure.savefig(file, format="svg")
    ElementTree.fromstring(file.getvalue())
    assert labels_of(drawn(figure).axes[0].xaxis) == ["a\N{REPLACEMENT CHARACTER}b", "\N{REPLACEMENT CHARACTER}", "c"]
