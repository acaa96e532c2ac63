"""What an exported file says of itself: the images that it takes and the classes that it names, as JSON inside it.

Reading a contract needs neither Keras nor TensorFlow.
"""

import dataclasses
import json
from dataclasses import dataclass, field

import numpy as np

from kerasref.data.images import COVER, Resizing
from kerasref.errors import UserError
from kerasref.recipe import from_dict
from kerasref.runs import IMAGE_FIELDS, MAX_SIDE, is_text
from kerasref.text import printable

OLD_KEYS = {"picture": "image_kind", "sure_above": "confidence_threshold"}  # as written before these had their names
WRITES = "what `export` writes; export the network again"


@dataclass(frozen=True)
class Interface:
    """How a file is called. normalised: None where it takes raw uint8 images [batch, height, width, channels]; where
    the caller normalises them, the fields of the `Preprocessing` to apply, and the file takes floats in `layout`, nhwc
    or nchw. batch: the number of images, None for any. plain: `probabilities` are its only output."""

    layout: str = "nhwc"
    normalised: dict | None = None
    batch: int | None = None
    plain: bool = False


@dataclass(frozen=True)
class Contract:
    """image_shape: (height, width, channels) of the raw uint8 images; image_kind: "digit", "garment" or "photo", how
    a user's own image is brought to that shape; resizing: how a photograph is scaled; origin: the run, dataset, commit
    and checksum that the file is from; confidence_threshold: the probability above which 99 % of the validation
    predictions were right, or None; temperature: what logits are divided by before the softmax."""

    model: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    image_kind: str
    origin: dict = field(default_factory=dict)
    confidence_threshold: float | None = None
    resizing: Resizing = COVER
    temperature: float = 1.0
    interface: Interface = Interface()

    def input_shape(self) -> tuple[int | None, int, int, int]:
        """Return the shape of the file's input."""
        (height, width, channels), called = self.image_shape, self.interface
        pad = 2 * called.normalised["pad"] if called.normalised else 0
        sides = height + pad, width + pad
        return called.batch, *((channels, *sides) if called.layout == "nchw" else (*sides, channels))

    def input_text(self) -> str:
        """Return what the file takes, as `inspect-model` shows it."""
        sides = ", ".join(str(side or "batch") for side in self.input_shape())
        return f"{'float32' if self.interface.normalised else 'uint8'} [{sides}]"

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """Return raw images, uint8 [n, height, width, channels], as the file takes them."""
        if called := self.interface.normalised:
            sides = called["pad"], called["pad"]
            floats = np.pad(images, ((0, 0), sides, sides, (0, 0))).astype(np.float32) / 255
            images = (floats - np.float32(called["mean"])) / np.float32(called["std"])
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.interface.layout == "nchw" else images

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def labels(self) -> str:
        """Return the content of labels.txt: a class name a line, in the order of the probabilities."""
        return "".join(f"{printable(name)}\n" for name in self.class_names)

    @classmethod
    def from_json(cls, text: str | bytes, where) -> "Contract":
        """Read what `to_json` wrote, now or in an older version; raise UserError that names the file `where`."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: its contract is no JSON ({error}); expected {WRITES}") from None
        if not isinstance(fields, dict):
            raise UserError(f"{where}: its contract is {_shown(fields)}, expected {WRITES}")
        fields = {OLD_KEYS.get(name, name): value for name, value in fields.items()}
        later = {"origin": {}, "confidence_threshold": None, "temperature": 1.0, "resizing": {}, "interface": {}}
        fields = later | fields
        for name, (expected, holds) in FIELDS.items():
            if name not in fields or not holds(fields[name]):
                found = _shown(fields[name]) if name in fields else "missing"
                raise UserError(f"{where}: {name} is {found}, expected {expected}")
        chosen = {name: fields[name] for name in FIELDS} | {"resizing": Resizing(**fields["resizing"])}
        chosen |= {"interface": Interface(**fields["interface"])}
        return cls(**chosen | {name: tuple(chosen[name]) for name in ("image_shape", "class_names")})


def _is_resizing(value) -> bool:
    try:
        return (Resizing(**value).resize_size or 1) <= MAX_SIDE and bool(from_dict({"image_size": 1, **value}))
    except (TypeError, UserError):
        return False


def _is_interface(value) -> bool:
    return isinstance(value, dict) and value.keys() <= {field.name for field in dataclasses.fields(Interface)}


FIELDS = {  # of a contract: what it is, whether a value is that
    "model": ("a name", is_text),
    **IMAGE_FIELDS,
    "origin": (
        "names with values in Unicode",
        lambda v: isinstance(v, dict) and is_text(json.dumps(v, ensure_ascii=False)),
    ),
    "confidence_threshold": (
        "a number from 0 to 1, or null",
        lambda v: v is None or (type(v) in (int, float) and 0 <= v <= 1),
    ),
    "temperature": ("a number above 0", lambda v: type(v) in (int, float) and 0 < v < 1e6),
    "resizing": ("resize_size, interpolation and antialias as of a recipe", _is_resizing),
    "interface": ("layout, normalised, batch and plain", _is_interface),
}


def _shown(value) -> str:
    return printable(repr(value)[:80])
