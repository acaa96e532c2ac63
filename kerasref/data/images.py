"""One image file of a user, whatever its format, mode and orientation, to one model input; training reads files the
same way.

Rules: the EXIF orientation is applied; of an animation or a multi-page file the first frame is read; transparent parts
lie on white; 16-bit grey is divided by 257, 32-bit and float grey stretched from their own range; CMYK and palettes
are converted; everything becomes 8-bit RGB or grey. Formats outside `FORMATS` (some can run programs) are refused, and
so are JPEGs whose number of scans makes them slow on purpose.
"""

import contextlib
import importlib
import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kerasref.data.digits import lay_out
from kerasref.data.ink import LEAST_CONTRAST, find_digit, find_object, lighter_than_ground
from kerasref.errors import UserError, unknown
from kerasref.text import printable

MAX_PIXELS = 25_000_000  # more is refused from the header; these take up to 20 bytes of memory each
MAX_JPEG_PIXELS = 80_000_000  # phones take 48; above MAX_PIXELS a JPEG is decoded at a half of its width and height
MAX_LARGE_PIXELS = 70_000_000  # of other formats where `large` is set: 14 bytes of memory each at most, a gigabyte
MAX_SCANS = 500  # of one JPEG; a progressive one has about 10
MAX_SCANNED_PIXELS = 10**9  # pixels x scans of one JPEG: about a second of decoding
MAX_JPEG_BYTES = 256 * 2**20
JPEG = ("JPEG", "MPO")
KINDS = ("digit", "garment", "photo")
ORIENTATION = 0x0112  # of EXIF
UPRIGHT = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
           7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
OTHER_FORMATS = {  # first bytes, from the given one on: the format, what to say where it is not read here
    (0, b"GIF8"): ("GIF", "a GIF, which predict reads and training does not: convert it to PNG"),
    (4, b"ftypavif"): ("AVIF", "an AVIF image, which this Pillow was built without: pip install --upgrade pillow"),
    **dict.fromkeys(
        [(4, b"ftyphei"), (4, b"ftyphev"), (4, b"ftypmif1"), (4, b"ftypmsf1")],
        ("HEIF", "a HEIC image, which Pillow does not read alone: pip install pillow-heif, or convert it to JPEG"),
    ),
    (4, b"JXL "): ("JXL", "a JPEG XL image, which Pillow does not read: convert it to JPEG"),
}

Image.init()  # loads all of Pillow's formats now: `open(formats=…)` fails on one that is not loaded yet
with contextlib.suppress(ImportError):
    importlib.import_module("pillow_heif").register_heif_opener()
# Training leaves GIFs out, as torchvision's ImageFolder does: in photograph collections they are placeholders.
WANTED = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "HEIF")  # JPEG includes phones' MPO
PHOTO_FORMATS = tuple(name for name in WANTED if name in Image.OPEN)
FORMATS = (*PHOTO_FORMATS, "GIF")
# Pillow only warns of images from 89 Mpx on, and catch_warnings is not safe in threads: an error from the start.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def read_image(source: str | os.PathLike | bytes, formats=FORMATS, large: bool = False) -> Image.Image:
    """The image in a file, or in bytes, as an upright 8-bit image, RGB or, where it is stored so, grey (mode L).

    large: read formats other than JPEG up to 70 Mpx, in up to a gigabyte of memory. What has more than 25 Mpx is
    returned at half its width and height. Raises UserError, naming the file: not there, not a regular file, empty, not
    an image of these formats, more than 25 Mpx (a JPEG 80), a JPEG of too many scans, cut short or damaged.
    """
    with open_image(source, formats, large) as image:
        if image.format in JPEG:
            _check_scans(image, source)
            if image.width * image.height > MAX_PIXELS:
                image.draft(None, (image.width // 2, image.height // 2))
        try:
            image.load()
            turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
            upright = _as_rgb(image)
            if upright.width * upright.height > MAX_PIXELS:
                upright = upright.reduce(2)
        except Exception as error:  # damaged data raises OSError, SyntaxError, ValueError, struct.error and more
            raise _unreadable(source, f"damaged or cut short ({printable(error)})") from None
    del image  # turning copies the image: only one copy next to it
    return upright.transpose(Image.Transpose[turn]) if turn else upright


def open_image(source: str | os.PathLike | bytes, formats=FORMATS, large: bool = False) -> Image.Image:
    """The same with the header read and checked but no pixel decoded: has `.size` as stored, `.format`, `.mode`."""
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    else:
        size, file = _regular_file_size(source), source
    if not size:
        raise _unreadable(source, "the file is empty")
    try:
        image = Image.open(file, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _unreadable(source, f"more than {MAX_JPEG_PIXELS // 10**6} million pixels; make it smaller") from None
    except Exception:
        raise _unreadable(source, _other_format(source, formats)) from None
    limit = MAX_JPEG_PIXELS if image.format in JPEG else MAX_LARGE_PIXELS if large else MAX_PIXELS
    if image.width * image.height > limit:
        image.close()
        size = f"{image.width}x{image.height} is over {limit // 10**6} million pixels"
        raise _unreadable(source, f"{size}; make it smaller, or a JPEG of up to {MAX_JPEG_PIXELS // 10**6} million")
    return image


def why_unreadable(path) -> str | None:
    """Why an image file of a folder does not decode; None if it does."""
    try:
        read_image(path, PHOTO_FORMATS)
    except UserError as error:
        return reason_of(error, path)
    return None


def reason_of(error: UserError, path) -> str:
    """The message of `read_image` without the path that it names."""
    return str(error).removeprefix(f"{path}: ")


def is_image(path) -> bool:
    """Whether the header of a file is an image's."""
    try:
        open_image(path).close()
    except UserError:
        return False
    return True


def _check_scans(image, source):
    """Raises UserError for a JPEG of more scans than a camera or an encoder writes: each costs a pass over all pixels.

    A scan begins with the marker FF DA, which compressed data cannot hold; the marker is counted without decoding.
    """
    limit = min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height))
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if size <= MAX_JPEG_BYTES:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        if content.count(b"\xff\xda") <= limit:
            return
    what = f"more than {limit} scans" if size <= MAX_JPEG_BYTES else f"{size} bytes, expected at most {MAX_JPEG_BYTES}"
    raise _unreadable(source, f"a JPEG of {what}, which would take very long to decode; save it again")


def _other_format(source, formats):
    """What a file that Pillow does not open is, where its first bytes show it."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            head = file.read(16)
    except OSError as error:
        return error.strerror
    for (start, magic), (format, what) in OTHER_FORMATS.items():
        if head[start:].startswith(magic) and format not in formats:
            return what
    return f"not a {', '.join(formats[:-1])} or {formats[-1]} image"


@dataclass(frozen=True)
class Resizing:
    """How a photograph is scaled before its centre is cut out: fields of a recipe.

    resize_size: pixels of the short side, as of torchvision's Resize; None: as few as cover the cut
    """

    resize_size: int | None = None
    interpolation: str = "bilinear"
    antialias: bool = True


COVER = Resizing()


def image_to_input(
    image: Image.Image, kind: str, image_shape: tuple[int, int, int], invert="auto", resizing: Resizing = COVER
) -> np.ndarray:
    """An image (`read_image`) -> uint8 [H, W, C], prepared as the dataset's own images were.

    kind: "digit", "garment" or "photo"
    invert: for digits and garments, whether the image is dark on light: "auto", "yes" or "no"
    """
    height, width, channels = image_shape
    if kind == "photo":
        return prepare_photo(image, (height, width), channels, resizing)
    if kind not in KINDS:
        raise unknown("kind of image", kind, KINDS)
    made = prepare_digit(image, invert) if kind == "digit" else prepare_garment(image, invert)
    if made.shape == tuple(image_shape):
        return made
    return prepare_photo(Image.fromarray(made[..., 0]), (height, width), channels, resizing)


def prepare_photo(
    image: Image.Image, size: int | tuple[int, int], channels: int = 3, resizing: Resizing = COVER
) -> np.ndarray:
    """uint8 [H, W, channels]: scaled until it covers `size` (one number for a square), or to `resizing.resize_size`;
    then the centre is cut out."""
    height, width = (size, size) if isinstance(size, int) else size
    image = image.convert("L" if channels == 1 else "RGB")
    if resizing.resize_size:
        image = _cut_out(_scaled(image, resizing), width, height)
    elif image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling[resizing.interpolation.upper()])
    return np.asarray(image).reshape(height, width, channels)


def _scaled(image, resizing):
    """torchvision's Resize of a Pillow image: the long side is rounded down."""
    short, wanted, method = min(image.size), resizing.resize_size, Image.Resampling[resizing.interpolation.upper()]
    longest = short * max(1, MAX_PIXELS // wanted**2)
    if max(image.size) > longest:  # a strip of pixels would fill the memory: its middle alone is scaled
        image = _cut_out(image, *(min(side, longest) for side in image.size))
    width, height = image.size
    size = tuple(wanted if side == short else int(wanted * side / short) for side in image.size)
    if resizing.antialias:
        return image.resize(size, method)
    return image.transform(size, Image.Transform.AFFINE, (width / size[0], 0, 0, 0, height / size[1], 0), method)


def _cut_out(image, width, height):
    """torchvision's CenterCrop of a Pillow image, with its rounding: black around an image that is smaller."""
    left, top = (
        round((side - cut) / 2) if side >= cut else -((cut - side) // 2)
        for side, cut in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))


def prepare_digit(image: Image.Image, invert: str = "auto") -> np.ndarray:
    """An image of one handwritten digit -> uint8 [28, 28, 1], white on black, as MNIST was made (`lay_out`).

    invert: "yes" for ink on paper, "no" for light strokes on dark; "auto" detects whether the strokes are darker than
    what surrounds them. An image of 28x28 pixels is taken to be MNIST's layout already. Raises UserError when
    nothing stands out from the background.
    """
    grey = _light_on_dark(image, invert)
    if grey.shape != (28, 28):
        return lay_out(find_digit(grey))
    if np.ptp(grey) < LEAST_CONTRAST:
        raise UserError("no digit found: nothing stands out from the background of the image")
    return grey.astype(np.uint8)[..., None]


def prepare_garment(image: Image.Image, invert: str = "auto") -> np.ndarray:
    """An image of one piece of clothing on an even ground -> uint8 [28, 28, 1] on black, as Fashion-MNIST was made
    (Xiao et al. 2017, section 2): cut out, the longer side scaled to 28, centred, negated when the ground is light."""
    grey = _light_on_dark(image, invert)
    if grey.shape == (28, 28):
        return grey.astype(np.uint8)[..., None]
    cut, page = Image.fromarray(find_object(grey).astype(np.uint8)), Image.new("L", (28, 28))
    size = [max(1, round(side * 28 / max(cut.size))) for side in cut.size]  # a thread keeps its pixel
    page.paste(cut.resize(size, Image.Resampling.LANCZOS), tuple(round((28 - side) / 2) for side in size))
    return np.asarray(page)[..., None]


def _light_on_dark(image, invert) -> np.ndarray:
    """Grey [h, w], 0 to 255, negated where the image is dark on light."""
    if invert not in ("auto", "yes", "no"):
        raise unknown("value of invert", invert, ("auto", "yes", "no"))
    grey = np.asarray(image.convert("L"), np.float32)
    negate = not lighter_than_ground(grey) if invert == "auto" else invert == "yes"
    return 255 - grey if negate else grey


def _as_rgb(image):
    """8-bit RGB, or grey, from any mode."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # scaled to 16 bits by Pillow
        eight_bits = (np.arange(2**16) / 257).round().astype(np.uint8)
        return Image.fromarray(eight_bits[np.asarray(image).astype(np.uint16, copy=False)]).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float32))
        low, high = float(values.min()), float(values.max())
        scale = 255 / max(high - low, 1e-9)
        values *= scale
        values -= low * scale
        return Image.fromarray(np.round(values, out=values).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image, page = image.convert("RGBA"), Image.new("RGB", image.size, "white")
        page.paste(image, mask=image)
        return page
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _regular_file_size(path) -> int:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise _unreadable(path, "not a regular file")
    return status.st_size


def _unreadable(source, reason) -> UserError:
    return UserError(f"{'image' if isinstance(source, bytes) else Path(source)}: {reason}")


def png_of(pixels: np.ndarray) -> bytes:
    """uint8 [height, width, 1 or 3] as the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
