"""Image folders and archives that the tests of datasets make."""

import io
import tarfile
import zipfile

from PIL import Image


def image_bytes(image, format="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def make_folder(root, counts, size=(8, 8)):
    """Images, each with a colour of its own, in folders: {folder: how many}; "SPLIT:" stands for two classes in it."""
    colours = iter(range(10**6))
    for name, count in counts.items():
        for folder in (f"{name[:-1]}/cat", f"{name[:-1]}/dog") if name.endswith(":") else (name,):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                colour = next(colours)
                Image.new("RGB", size, (colour % 256, colour // 256, 0)).save(root / folder / f"{i}.png")
    return root


def pack(path, members, compression=zipfile.ZIP_STORED):
    """Writes an archive of {name or TarInfo: content} to `path`, of the kind that its name ends in; returns it."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    kind = {"tar": "", "tgz": "gz", "tbz2": "bz2", "txz": "xz"}.get(path.suffix[1:], path.suffix[1:])
    with tarfile.open(path, f"w:{kind}") as archive:
        for member, content in members.items():
            member = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
