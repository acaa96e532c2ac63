"""Archives from strangers: nothing of them is written outside the folder they are unpacked into."""

import bz2
import contextlib
import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

from kerasref.data.layout import MAX_DEPTH, is_hidden
from kerasref.errors import UserError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
MOST_GROWTH = 20  # images do not shrink when packed: an archive that grows to over 20 times its size is no image set,
LEAST_LIMIT = 2**30  # unless it is below 1 GiB
MAX_MEMBERS = 150_000  # Tiny ImageNet has 120,206
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
BAD_NAMES = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EILSEQ)  # not a full disk
MAX_XZ_MEMORY = 128 * 2**20  # bytes
COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}  # by a file's first bytes
MAX_HEADER = 2**20  # bytes of one read by tarfile; long names need a few hundred


def is_archive(path) -> bool:
    return str(path).lower().endswith(ENDINGS)


def unpack(path, target) -> Path:
    """Unpack an archive (`ENDINGS`) into the folder `target`; returns the folder in it that holds the data.

    A backslash in a member's name separates folders. Every member is looked at before the first is written. Raises
    UserError that names the member: absolute, with "..", a link, a device or a FIFO, folders more than `MAX_DEPTH`
    deep; and for an archive that is damaged, cut short, unpacks to too much or has more than `MAX_MEMBERS` members.
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
        raise UserError(f"{path}: member {member!r} cannot be written ({error.strerror}); pack it again") from None
    except RuntimeError as error:  # zipfile, for a password
        raise UserError(f"{path}: {error}") from None
    root = Path(target)
    while len(inside := [entry for entry in root.iterdir() if not is_hidden(entry.name)]) == 1 and inside[0].is_dir():
        if not any(entry.is_dir() for entry in inside[0].iterdir()):
            break  # the only class
        root = inside[0]
    return root


def _unpack_zip(path, target, limit):
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise _too_much(path, limit)
        encoding = _encoding_of(archive)
    with zipfile.ZipFile(path, metadata_encoding=encoding) as archive:
        kinds = 0, stat.S_IFREG, stat.S_IFDIR
        members = archive.infolist()
        for member in members:
            member.filename = member.filename.replace("\\", "/")
        _check_members(
            path, limit, ((m.filename, m.file_size, stat.S_IFMT(m.external_attr >> 16) in kinds) for m in members)
        )
        for member in members:
            archive.extract(member, target)  # raises for a member longer than it says, and for a wrong CRC


def _encoding_of(archive) -> str:
    """The encoding of the names that are not marked as UTF-8: UTF-8 all the same (macOS), the standard's CP437 where
    all of it would be Western letters, else GBK (Chinese Windows) where it can be."""
    unmarked = [member.filename for member in archive.infolist() if not member.flag_bits & 0x800]
    names = b"\n".join(name.encode("cp437") for name in unmarked if not name.isascii())
    western = all(byte < 0xA8 or byte == 0xE1 for byte in names)  # in CP437 the other bytes are frames and symbols
    for encoding in ("utf-8",) if western else ("utf-8", "gbk"):
        with contextlib.suppress(UnicodeDecodeError):
            names.decode(encoding)
            return encoding
    return "cp437"


def _unpack_tar(path, target, limit):
    with open(path, "rb") as probe:
        head = probe.read(1024)
    if head.startswith(b"\xfd7zXZ\x00"):  # `xz -9` needs 65 MiB
        lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY).decompress(head, max_length=1)
    open_packed = next((opens for magic, opens in COMPRESSIONS.items() if head.startswith(magic)), open)
    with open_packed(path, "rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:
        _check_members(path, limit, map(_read_member, archive))
        archive.extractall(target, filter="data")


def _read_member(member):
    member.name = member.name.replace("\\", "/")
    return member.name, member.size, member.isfile() or member.isdir()


def _check_members(path, limit, members) -> None:
    """Adds up what an archive's members (name, size, whether a file or folder) promise, and raises UserError for the
    first that must not be written."""
    total = 0
    for number, (name, size, plain) in enumerate(members, 1):
        total += size
        windows = PureWindowsPath(name)
        if ".." in windows.parts or windows.drive or windows.root or "\0" in name:
            raise UserError(f"{path}: member {name!r} would be written outside the folder; nothing was unpacked")
        if len(windows.parts) > MAX_DEPTH:
            raise UserError(
                f"{path}: member {name[:40]!r}… lies {len(windows.parts) - 1} folders deep, expected at most "
                f"{MAX_DEPTH - 1}; nothing was unpacked"
            )
        if not plain:
            raise UserError(f"{path}: member {name!r} is a link or a device; nothing was unpacked")
        if total > limit or number > MAX_MEMBERS:
            raise _too_much(path, limit)


def _too_much(path, limit) -> UserError:
    return UserError(
        f"{path}: unpacks to more than {limit:,} bytes or {MAX_MEMBERS:,} members; nothing was unpacked\n"
        "unpack it yourself if you trust it, and give the folder"
    )


class _Bounded:
    """A file of which no single read is large: tarfile would take a header at its word and read gigabytes of "name"."""

    def __init__(self, file):
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size=-1):
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.file.read(size)
