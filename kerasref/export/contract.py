"""What whoever holds an exported file must know of it: the pictures it takes and the classes it names."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kerasref.errors import UserError
from kerasref.runs import Run


@dataclass(frozen=True)
class Contract:
    """image_shape: (height, width, channels) of the raw uint8 pictures; picture: how a user's own is brought to it."""

    model: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    picture: str

    @classmethod
    def of_run(cls, run: Run) -> "Contract":
        dataset = run.settings()["dataset"]
        return cls(run.recipe().model, run.image_shape(), run.class_names(), dataset["picture"])

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, file: Path) -> "Contract":
        """Raises UserError where the file is missing or is not what `to_json` wrote."""
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            shape, names = tuple(fields["image_shape"]), tuple(fields["class_names"])
            contract = cls(str(fields["model"]), shape, names, str(fields["picture"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: not readable ({error!r}); expected what scripts/export.py writes") from None
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise UserError(f"{file}: image_shape is {shape}, expected three positive whole numbers")
        return contract
