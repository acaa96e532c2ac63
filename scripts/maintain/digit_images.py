"""Images of single digits as users might bring them, generated from a seed, for score_pictures.py.

Half are MNIST *test* digits (real handwriting that no network was trained on), half are drawn strokes. Each lies on
a page: paper tint, shadow, noise, blur, turned by up to 15°, off centre, 20 to 2,000 pixels, dark on light or light on
dark, in one of `FILES`.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

FILES = ("colour", "JPEG", "grey", "16-bit grey", "palette", "transparent", "grey transparent", "EXIF-turned")
GREATEST_ANGLE = 15.0
SIDES = (20, 2000)  # pixels of the longer side
THICKNESS = (0.05, 0.14)  # of the digit's height

# Pen strokes in a box of 1x1, y downwards: each a curve through its points. Two that share a point make a corner.
STROKES = {
    0: [
        [[(0.5, 0), (0.12, 0.25), (0.1, 0.7), (0.5, 1), (0.88, 0.72), (0.88, 0.28), (0.5, 0)]],
        [[(0.6, 0.03), (0.2, 0.2), (0.12, 0.7), (0.5, 1), (0.88, 0.7), (0.8, 0.2), (0.45, 0.0)]],
    ],
    1: [
        [[(0.5, 0), (0.5, 1)]],
        [[(0.25, 0.25), (0.55, 0)], [(0.55, 0), (0.55, 1)]],
        [[(0.25, 0.25), (0.5, 0)], [(0.5, 0), (0.5, 1)], [(0.2, 1), (0.8, 1)]],
    ],
    2: [
        [[(0.1, 0.25), (0.45, 0), (0.85, 0.25), (0.6, 0.6), (0.08, 1)], [(0.08, 1), (0.95, 1)]],
        [[(0.12, 0.2), (0.5, 0), (0.82, 0.3), (0.45, 0.75), (0.1, 0.95), (0.2, 0.8), (0.55, 0.92), (0.95, 0.97)]],
    ],
    3: [
        [[(0.12, 0.12), (0.5, 0), (0.82, 0.22), (0.4, 0.47)], [(0.4, 0.47), (0.88, 0.72), (0.5, 1), (0.1, 0.87)]],
        [[(0.12, 0), (0.85, 0)], [(0.85, 0), (0.45, 0.4)], [(0.45, 0.4), (0.9, 0.65), (0.55, 1), (0.1, 0.88)]],
    ],
    4: [
        [[(0.2, 0), (0.1, 0.55)], [(0.1, 0.55), (0.9, 0.52)], [(0.75, 0), (0.7, 1)]],
        [[(0.65, 0), (0.05, 0.65)], [(0.05, 0.65), (0.95, 0.65)], [(0.65, 0), (0.65, 1)]],
    ],
    5: [
        [[(0.85, 0), (0.2, 0)], [(0.2, 0), (0.17, 0.45)],
         [(0.17, 0.45), (0.6, 0.38), (0.85, 0.7), (0.5, 1), (0.1, 0.9)]],
    ],
    6: [
        [[(0.7, 0), (0.25, 0.35), (0.15, 0.75), (0.5, 1), (0.85, 0.75), (0.5, 0.52), (0.17, 0.75)]],
        [[(0.45, 0), (0.15, 0.5), (0.2, 0.9), (0.6, 1), (0.8, 0.75), (0.5, 0.57), (0.17, 0.8)]],
    ],
    7: [
        [[(0.08, 0), (0.9, 0)], [(0.9, 0), (0.35, 1)]],
        [[(0.08, 0.03), (0.9, 0)], [(0.9, 0), (0.4, 1)], [(0.3, 0.5), (0.85, 0.48)]],
    ],
    8: [
        [[(0.75, 0.15), (0.5, 0), (0.2, 0.2), (0.85, 0.75), (0.5, 1), (0.15, 0.77), (0.5, 0.47), (0.75, 0.15)]],
        [[(0.5, 0), (0.2, 0.22), (0.5, 0.45), (0.8, 0.22), (0.5, 0)],
         [(0.5, 0.45), (0.12, 0.72), (0.5, 1), (0.88, 0.72), (0.5, 0.45)]],
    ],
    9: [
        [[(0.8, 0.2), (0.45, 0), (0.15, 0.25), (0.45, 0.48), (0.82, 0.2)], [(0.82, 0.2), (0.75, 1)]],
        [[(0.8, 0.2), (0.45, 0), (0.15, 0.25), (0.45, 0.5), (0.8, 0.22), (0.8, 0.75), (0.45, 1), (0.2, 0.92)]],
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """content: an encoded file; hand: "handwriting" or "strokes"; ground: "light" or "dark"; file: of `FILES`."""

    content: bytes
    label: int
    hand: str
    ground: str
    file: str
    side: int


def make_images(images: np.ndarray, labels: np.ndarray, seed: int, count: int):
    """Yields `count` samples, every second from `images` (uint8 [n, 28, 28, 1], MNIST's test set) with `labels` [n].

    Sample i depends on (seed, i) alone.
    """
    for i in range(count):
        random = np.random.default_rng((seed, i))
        side = round(np.exp(random.uniform(*np.log(SIDES))))
        # A small image is mostly digit: below 12 pixels nobody could read it.
        height = side * random.uniform(max(0.35, min(0.7, 12 / side)), 0.75)
        if i % 2:
            label = int(random.integers(10))
            ink = _written(STROKES[label][random.integers(len(STROKES[label]))], height, random)
        else:
            chosen = random.integers(len(labels))
            label = int(labels[chosen])
            ink = _enlarged(images[chosen, ..., 0], height, random)
        angle = random.uniform(-GREATEST_ANGLE, GREATEST_ANGLE)
        ink = Image.fromarray(ink).rotate(angle, Image.Resampling.BICUBIC, expand=True)
        yield _photographed(ink, side, label, ("handwriting", "strokes")[i % 2], random)


def _enlarged(digit, height, random):
    """Resizes an MNIST digit, with soft or sharp edges: float32 [h, w], 0 to 1."""
    rows, columns = np.flatnonzero(digit.max(1)), np.flatnonzero(digit.max(0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shape = max(1, round(height * digit.shape[1] / digit.shape[0])), round(height)
    ink = np.asarray(Image.fromarray(np.pad(digit, 2)).resize(shape, Image.Resampling.BICUBIC), np.float32) / 255
    return np.clip((ink - 0.5) * random.choice([1, 2, 4]) + 0.5, 0, 1) if ink.max() > 0.6 else ink


def _written(strokes, height, random):
    """A pen along `strokes`, randomly bent and slanted: float32 [h, w], 0 to 1."""
    from scipy.interpolate import make_interp_spline

    scale = max(1, 200 / height) * height
    width, slant = random.uniform(0.55, 1.0), random.uniform(-0.2, 0.2)
    phase, bend = random.uniform(0, 2 * np.pi, 4), random.uniform(0.02, 0.05)
    pen = scale * random.uniform(*THICKNESS)
    lines = []
    for stroke in strokes:
        points = np.array(stroke)
        along = np.append(0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
        curve = make_interp_spline(along, points, k=min(3, len(points) - 1))(np.linspace(0, along[-1], 80))
        x, y = curve.T
        x, y = (
            x + bend * np.sin(5 * y + phase[0]) + bend * np.sin(4 * x + phase[1]),
            y + bend * np.sin(5 * x + phase[2]) + bend * np.sin(4 * y + phase[3]),
        )
        lines.append(np.stack([(x - slant * (y - 0.5)) * width, y], 1) * scale)
    low = np.min([line.min(0) for line in lines], 0) - pen
    high = np.max([line.max(0) for line in lines], 0) + pen
    page = Image.new("L", tuple(int(side) + 1 for side in high - low))
    draw = ImageDraw.Draw(page)
    for line in lines:
        draw.line([tuple(point) for point in line - low], 255, round(pen), joint="curve")
        for x, y in (line - low)[:: len(line) - 1]:  # round ends
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    page = page.resize([max(1, round(side * height / scale)) for side in page.size], Image.Resampling.BOX)
    return np.asarray(page, np.float32) / 255


def _photographed(ink, side, label, hand, random) -> Sample:
    from scipy.ndimage import gaussian_filter

    file = FILES[random.choice(len(FILES), p=(0.25, 0.2, 0.15, 0.05, 0.05, 0.1, 0.05, 0.15))]
    transparent = "transparent" in file
    ground = "light" if transparent or random.random() < 0.6 else "dark"

    short = max(round(side * random.uniform(0.6, 1)), ink.width + 2 if ink.width < ink.height else ink.height + 2)
    width, height = (max(side, ink.width + 2), short) if ink.width > ink.height else (short, max(side, ink.height + 2))
    mask = Image.new("F", (width, height))
    mask.paste(ink, (int(random.integers(1, width - ink.width)), int(random.integers(1, height - ink.height))))
    blur = ink.height * max(0, random.uniform(-0.03, 0.03))  # none for half of them
    mask = np.clip(gaussian_filter(np.asarray(mask), blur), 0, 1)[..., None]

    light, dark = random.uniform(170, 255) * _tint(random), random.uniform(0, 110) * _tint(random)
    paper, pen = (light, dark) if ground == "light" else (dark, light)
    if transparent:
        pen = np.broadcast_to(pen, (height, width, 3))
        picture = Image.fromarray(np.concatenate([pen, 255 * mask], -1).round().astype(np.uint8), "RGBA")
        picture = picture if file == "transparent" else picture.convert("LA")
    else:
        pixels = paper * (1 - mask) + pen * mask
        if random.random() < 0.7:  # the rest are screenshots
            pixels = pixels * _shadow(height, width, random) + random.normal(
                0, random.uniform(1, 12), (height, width, 1)
            )
        picture = Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))
    return Sample(_encoded(picture, file, random), label, hand, ground, file, side)


def _tint(random):
    """A colour whose brightest channel is 1."""
    colour = random.uniform(0.8, 1, 3)
    return colour / colour.max()


def _shadow(height, width, random):
    """Returns the light on the page, [h, w, 1]: a gradient, or the soft edge of a hand's shadow."""
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    angle, depth = random.uniform(0, 2 * np.pi), random.uniform(0, 0.5)
    away = x * np.cos(angle) + y * np.sin(angle)
    if random.random() < 0.5:
        return (1 - depth * (0.5 + away / 1.5))[..., None]
    return (1 - depth / (1 + np.exp(-(away - random.uniform(-0.3, 0.3)) / random.uniform(0.05, 0.2))))[..., None]


def _encoded(picture, file, random) -> bytes:
    options = {"format": "PNG"}
    if file == "JPEG":
        options = {"format": "JPEG", "quality": int(random.integers(40, 96))}
    elif file == "grey":
        picture = picture.convert("L")
    elif file == "16-bit grey":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif file == "palette":
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    elif file == "EXIF-turned":
        # Orientation 6: to be shown, turn the stored pixels by 90° clockwise; 3: by 180°; 8: by 90° counterclockwise.
        orientation, undo = ((6, "ROTATE_90"), (3, "ROTATE_180"), (8, "ROTATE_270"))[random.integers(3)]
        picture = picture.transpose(Image.Transpose[undo])
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"format": "JPEG", "quality": 85, "exif": exif}
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def sklearn_digits():
    """Yields scikit-learn's 1,797 digits (8x8, 0 to 16) enlarged to 160 pixels, as ink on a page of 220x200."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for image, label in zip(digits.images, digits.target, strict=True):
        ink = Image.fromarray((250 - 14 * image).astype(np.uint8)).resize((160, 160), Image.Resampling.BICUBIC)
        page = Image.new("RGB", (220, 200), (250, 250, 250))
        page.paste(ink, (30, 20))
        yield Sample(_encoded(page, "colour", None), int(label), "scikit-learn", "light", "colour", 220)
