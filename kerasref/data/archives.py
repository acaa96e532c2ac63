"""Archives from strangers: nothing of them is written outside the folder they are unpacked into."""

import errno
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from kerasref.errors import UserError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")
MOST_GROWTH = 20  # photographs do not shrink when packed: what unpacks to more than 20 times its size is no photo set,
LEAST_LIMIT = 2**30  # unless it is below 1 GiB
MAX_MEMBERS = 5_000_000
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
BAD_NAMES = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EILSEQ)  # not a full disk, say
MAX_HEADER = 2**20  # bytes of one read by tarfile; long names need a few hundred


def is_archive(path) -> bool:
    return str(path).lower().endswith(ENDINGS)


def is_clutter(name: str) -> bool:
    """Whether a file or folder is none of the data: hidden, or what macOS puts beside it in an archive."""
    return name[0] == "." or name == "__MACOSX"


def unpack(path, target) -> Path:
    """Unpacks a .tar, .tar.gz or .zip into the folder `target`; returns the folder in it that holds the data.

    Every member is looked at before the first is written. Raises UserError that names the member: absolute, with "..",
    a link, a device or a FIFO; and for an archive that is damaged, cut short, or unpacks to too much.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    limit = max(LEAST_LIMIT, MOST_GROWTH * path.stat().st_size)
    try:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, target, limit)
        else:
            _unpack_tar(path, target, limit)
    except (*DAMAGED, NotImplementedError) as error:
        raise UserError(f"{path}: damaged or cut short, or no {', '.join(ENDINGS)} archive ({error})") from None
    except OSError as error:
        if error.errno is None:  # bzip2's "Invalid data stream"
            raise UserError(f"{path}: damaged or cut short ({error})") from None
        if error.errno not in BAD_NAMES:
            raise
        member = Path(error.filename or "").name
        raise UserError(f"{path}: member {member!r} cannot be written ({error.strerror}); pack it anew") from None
    except RuntimeError as error:  # zipfile, for a password
        raise UserError(f"{path}: {error}") from None
    root = Path(target)
    while len(inside := [entry for entry in root.iterdir() if not is_clutter(entry.name)]) == 1:
        if not inside[0].is_dir() or inside[0].name == "train":
            break
        root = inside[0]
    return root


def _unpack_zip(path, target, limit):
    with zipfile.ZipFile(path) as archive:
        guard = _Guard(path, limit)
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            guard.check(member.filename, member.file_size, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        archive.extractall(target)  # raises for a member longer than it says, and for a wrong CRC


def _unpack_tar(path, target, limit):
    with open(path, "rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    bounded = _BoundedGzip if zipped else _BoundedFile
    with bounded(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        guard = _Guard(path, limit)
        for member in archive:
            guard.check(member.name, member.size, member.isfile() or member.isdir())
        archive.extractall(target, filter="data")


class _Guard:
    """Adds up what an archive's members promise, and refuses the first that must not be written."""

    def __init__(self, path, limit):
        self.path, self.limit, self.members, self.bytes = path, limit, 0, 0

    def check(self, name: str, size: int, plain: bool):
        self.members, self.bytes = self.members + 1, self.bytes + size
        windows = PureWindowsPath(name)
        if ".." in windows.parts or windows.drive or windows.root or PurePosixPath(name).is_absolute() or "\0" in name:
            raise UserError(f"{self.path}: member {name!r} would be written outside the folder; nothing was unpacked")
        if not plain:
            raise UserError(f"{self.path}: member {name!r} is a link or a device; nothing was unpacked")
        if self.bytes > self.limit or self.members > MAX_MEMBERS:
            raise UserError(
                f"{self.path}: unpacks to more than {self.limit} bytes or {MAX_MEMBERS} members (at {name!r}); "
                "unpack it yourself if you trust it, and give the folder"
            )


class _Bounded:
    """A file of which no single read is large: tarfile would take a header at its word and read gigabytes of "name"."""

    def read(self, size=-1):
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


class _BoundedGzip(_Bounded, gzip.GzipFile):
    pass


class _BoundedFile(_Bounded, io.FileIO):
    pass
