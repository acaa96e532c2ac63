"""What whoever holds an exported file must know of it: the pictures it takes and the classes it names.

Every exported file carries it inside, as JSON. Reading one needs neither Keras nor TensorFlow.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kerasref.errors import UserError


@dataclass(frozen=True)
class Contract:
    """image_shape: (height, width, channels) of the raw uint8 pictures; picture: how a user's own is brought to it;
    origin: where the file came from, such as the run, the data set, the commit and the checksum of the weights;
    confidence_threshold: probability above which 99 % of validation images were right; None: not known."""

    model: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    picture: str
    origin: dict = field(default_factory=dict)
    confidence_threshold: float | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def labels(self) -> str:
        """The content of labels.txt: a class name a line, in the order of the probabilities."""
        return "".join(f"{' '.join(name.splitlines())}\n" for name in self.class_names)

    @classmethod
    def from_json(cls, text: str | bytes, where) -> "Contract":
        """Raises UserError, naming the file `where`, for what is not what `to_json` wrote."""
        try:
            fields = json.loads(text)
            shape, names = tuple(fields["image_shape"]), tuple(str(name) for name in fields["class_names"])
            sure = fields.get("confidence_threshold", fields.get("sure_above"))  # the older name
            contract = cls(
                str(fields["model"]),
                shape,
                names,
                str(fields["picture"]),
                dict(fields.get("origin", {})),
                None if sure is None else float(sure),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{where}: not what scripts/export.py writes ({error!r}); export it again") from None
        if len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
            raise UserError(f"{where}: image_shape is {shape}, expected three positive whole numbers")
        return contract


def read_entries(folder: Path) -> dict:
    """The content of verification.json; empty where there is none, or none that can be read."""
    try:
        entries = json.loads((folder / "verification.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
