"""What every HTML page here shares: one file, no network, no script. Its frame is page.html."""

from collections.abc import Callable
from pathlib import Path

import jinja2


def templates(folder: Path, **filters: Callable) -> jinja2.Environment:
    """The templates in `folder`, which extend page.html. Values are escaped, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment
