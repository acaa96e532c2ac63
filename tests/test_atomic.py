"""A write that fails is named by its target, whatever else fails on the way out."""

import errno
import os
from pathlib import Path

import pytest

from kerasref.atomic import replacing
from kerasref.errors import WriteError


def test_a_read_only_file_system_does_not_hide_the_target(tmp_path, monkeypatch):
    """There, deleting a file that is not there fails too."""

    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", read_only)
    message = r"x\.json could not be written: Read-only file system"
    with pytest.raises(WriteError, match=message), replacing(tmp_path / "x.json"):
        read_only()
