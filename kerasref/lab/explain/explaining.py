"""A run or a .keras file, and images of a user: the plots of `kerasref explain`."""

from pathlib import Path

import keras
import numpy as np

from kerasref.data.images import read_image
from kerasref.errors import unknown
from kerasref.evaluation.heat_maps import enlarged
from kerasref.evaluation.png_file import write_png
from kerasref.export.predictors import Predictor, predict_input, read_input
from kerasref.export.servable import as_logits, classify
from kerasref.export.sources import Source
from kerasref.lab.explain.activation_maps import WEIGHTS, chosen_layer
from kerasref.lab.explain.methods import METHODS, feature_maps, first_filters, heat_map
from kerasref.lab.explain.plots import explanation, feature_map_figure, filter_figure, scaled

OF_A_LAYER = (*WEIGHTS, "feature-maps")
DPI = 150


class Explainer:
    """A network, what is to be drawn of it, and a function for each kind of plot.

    methods: names of `METHODS`, "feature-maps", "filters"; layer: a path; target: a class name, the predicted class
    unless given. Raises UserError for a layer or class that the network lacks, and for a method that needs a
    convolution where there is none.
    """

    def __init__(self, source: Source, methods: tuple[str, ...], layer: str | None, target: str | None):
        self.model, self.preprocessing, contract = source.model, source.preprocessing, source.contract
        if source.gives_probabilities:
            self.model = keras.Model(source.model.inputs[0], as_logits(source.model.outputs[0]), name=source.model.name)
        if target is not None and target not in contract.class_names:
            raise unknown("class", target, contract.class_names)
        self.target = None if target is None else contract.class_names.index(target)
        self.methods = methods
        self.layer = chosen_layer(self.model, layer)[0] if {*methods} & {*OF_A_LAYER} else None
        self.predictor = Predictor(contract, lambda images: classify(self._logits(images), contract.temperature), None)

    def _logits(self, images: np.ndarray):
        return self.model(self.preprocessing(images), training=False)

    def draw_filters(self, folder: Path) -> list[Path]:
        """Write filters.png, where that is asked for; the files that were written."""
        if "filters" not in self.methods:
            return []
        layer, kernels = first_filters(self.model)
        height, width, channels, count = kernels.shape
        title = f"{self.model.name}, {layer}: {count} filters of {height}×{width}×{channels}"
        return [_written(filter_figure(kernels, title), folder / "filters.png")]

    def draw_image(self, image: Path, invert: str, folder: Path, name: str) -> tuple[str, list[Path]]:
        """Write the heat maps of one image to folder/name.png, its feature maps to folder/name-LAYER.png.

        Returns the prediction in words, and the files. Raises UserError where the file is not an image.
        """
        pixels = read_input(self.predictor, image, invert)
        prediction = predict_input(self.predictor, pixels, top=5)
        answer = f"{prediction['label']}, {100 * prediction['probability']:.1f} %"
        explained = prediction["class_id"] if self.target is None else self.target
        inputs = np.asarray(self.preprocessing(pixels[None]))
        maps = {}
        for method in filter(METHODS.__contains__, self.methods):
            heat = heat_map(method, self.model, inputs, [explained], self.layer)
            caption = f"{method}, {self.layer}" if method in OF_A_LAYER else method
            maps[caption if heat.any() else f"{caption}: 0 everywhere"] = self._on_image(heat, pixels)
        files = []
        if maps:
            instead = f"; what speaks for {self.predictor.contract.class_names[explained]}"
            title = f"{answer}{instead if self.target is not None else ''}"
            figure = explanation(read_image(image, large=True), pixels, maps, prediction, title)
            files.append(_written(figure, folder / f"{name}.png"))
        if "feature-maps" in self.methods:
            found = feature_maps(self.model, inputs, self.layer)[0]
            title = f"{image.name}: {self.layer}, {found.shape[2]} maps of {found.shape[1]}×{found.shape[0]}"
            file = folder / f"{name}-{self.layer.replace('/', '-')}.png"
            files.append(_written(feature_map_figure(found, title), file))
        return answer, files

    def _on_image(self, maps: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """The map of one input, [1, h, w], from -1 to 1 on the image without the padding: [height, width]."""
        pad, (height, width) = self.preprocessing.pad, pixels.shape[:2]
        if maps.shape[1:] != (height + 2 * pad, width + 2 * pad):
            return enlarged(maps, (height + 2 * pad, width + 2 * pad))[0, pad : pad + height, pad : pad + width]
        return scaled(maps[0, pad : pad + height, pad : pad + width])


def _written(figure, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(figure, file, DPI)
    return file
