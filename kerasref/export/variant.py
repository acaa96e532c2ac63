"""What can be chosen of an exported file besides its format; the command line and `exporting.export` share it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from kerasref.errors import unknown
from kerasref.recipe_checks import FROM_1, Checked, Limit

FORMATS = {
    **{"saved_model": ("saved_model", ""), "onnx": ("model", ".onnx"), "litert": ("model", ".tflite")},
    **{"openvino": ("openvino", ""), "html": ("model", ".html")},
}
OPSET = 18  # the highest that tf2onnx 1.17 writes
OPSETS = Limit(f"a whole number from 13 to {OPSET}", lambda value: value in range(13, OPSET + 1))


@dataclass(frozen=True, kw_only=True)
class Variant(Checked):
    """Raises UserError for a value that is not possible."""

    quantize: Literal["int8", "float16", "bfloat16"] | None = None
    """Smaller numbers, for onnx, openvino and litert; int8 is calibrated on training images, bfloat16 is openvino's."""
    plain: bool = False
    """Probabilities as the only output and no strings, for OpenCV and other readers that know few operations."""
    input: Literal["uint8", "nhwc", "nchw"] = "uint8"
    """Raw images (uint8); or floats with the channels last or first, which the caller has normalised."""
    batch: Annotated[int | None, FROM_1] = None
    """A fixed number of images a call; by default any number."""
    opset: Annotated[int, OPSETS] = OPSET
    """Version of ONNX's operators, 13 to 18."""

    def file_name(self, format: str) -> str:
        """model.onnx; what differs from the default is in the name, such as model_nchw_plain_int8.onnx."""
        if format not in FORMATS:
            raise unknown("format", format, FORMATS)
        if format == "html":  # a page for people has no variants
            return "model.html"
        parts = [
            self.input if self.input != "uint8" else "",
            "plain" if self.plain else "",
            f"batch{self.batch}" if self.batch else "",
            f"opset{self.opset}" if self.opset != OPSET and format == "onnx" else "",
            self.quantize if self.quantize and format != "saved_model" else "",
        ]
        stem, suffix = FORMATS[format]
        return "_".join((stem, *filter(None, parts))) + suffix
