"""The PNG that a verb draws: the target is checked before the work, the file is complete or absent."""

import io
import warnings
from pathlib import Path

from kerasref.errors import UserError


def check_png_target(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"--out {path} is a folder, expected the path of a .png file in it")
    if path.suffix.lower() != ".png":
        raise UserError(f"--out {path} ends in {path.suffix or 'no suffix'}, expected .png, the format that is written")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}; make it, or give another --out")


def write_png(figure, path: Path, dpi: int) -> None:
    """Write without Matplotlib's warning for each character that the font lacks, which is drawn as a box."""
    from kerasref.atomic import write_atomically

    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(content, format="png", dpi=dpi)
    write_atomically(path, content.getvalue())
