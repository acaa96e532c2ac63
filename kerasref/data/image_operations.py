"""Random changes of one image, as torchvision makes them, from uniform numbers in [0, 1) that the caller draws.

torchvision computes them with Pillow too: with the same parameters every pixel is the same.
"""

import itertools
import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

TRIES = 10  # torchvision's, for a rectangle that fits
BINS = 30  # the greatest magnitude of RandAugment and TrivialAugmentWide; the least is 0
ORDERS = list(itertools.permutations(range(4)))  # of ColorJitter's changes
ERASED_SCALE, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)  # torchvision's RandomErasing


def _affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def _shear(magnitude):
    return math.tan(math.radians(math.degrees(math.atan(magnitude))))  # torchvision's way: the last bit decides ties


def _enhance(kind):
    return lambda image, magnitude: kind(image).enhance(1 + magnitude)


OPERATIONS = {  # function of (image, magnitude); greatest magnitude of RandAugment, TrivialAugmentWide; either sign
    "Identity": (lambda image, m: image, 0, 0, False),
    "ShearX": (lambda image, m: _affine(image, 1, _shear(m), 0, 0, 1, 0), 0.3, 0.99, True),
    "ShearY": (lambda image, m: _affine(image, 1, 0, 0, _shear(m), 1, 0), 0.3, 0.99, True),
    "TranslateX": (lambda image, m: _affine(image, 1, 0, -int(m), 0, 1, 0), 150 / 331, 32, True),  # 150 of 331 pixels
    "TranslateY": (lambda image, m: _affine(image, 1, 0, 0, 0, 1, -int(m)), 150 / 331, 32, True),
    "Rotate": (lambda image, m: image.rotate(m), 30, 135, True),
    "Brightness": (_enhance(ImageEnhance.Brightness), 0.9, 0.99, True),
    "Color": (_enhance(ImageEnhance.Color), 0.9, 0.99, True),
    "Contrast": (_enhance(ImageEnhance.Contrast), 0.9, 0.99, True),
    "Sharpness": (_enhance(ImageEnhance.Sharpness), 0.9, 0.99, True),
    "Posterize": (lambda image, m: ImageOps.posterize(image, 8 - round(m)), 4, 6, False),
    "Solarize": (lambda image, m: ImageOps.solarize(image, 255 - m), 255, 255, False),
    "AutoContrast": (lambda image, m: ImageOps.autocontrast(image), 0, 0, False),
    "Equalize": (lambda image, m: ImageOps.equalize(image), 0, 0, False),
}


def changed(images: np.ndarray, change, side: int | None = None) -> np.ndarray:
    """uint8 [b, H, W, C] -> the same of change(Pillow image, its place in the batch) for each of them.

    side: height and width of what `change` returns, where they are not H and W.
    """
    height, width = (side, side) if side else images.shape[1:3]
    result = np.empty((len(images), height, width, images.shape[-1]), images.dtype)
    for place, image in enumerate(images[..., 0] if images.shape[-1] == 1 else images):
        result[place] = np.asarray(change(Image.fromarray(image), place)).reshape(result.shape[1:])
    return result


def rand_augment(image: Image.Image, draws, magnitude: int) -> Image.Image:
    """One operation for each row of draws [operations, 2]: which one, and its sign (Cubuk et al. 2020)."""
    for which, sign in draws:
        name = list(OPERATIONS)[int(which * len(OPERATIONS))]
        operation, greatest, _, signed = OPERATIONS[name]
        if name.startswith("Translate"):
            greatest *= image.width if name.endswith("X") else image.height
        image = operation(image, _strength(magnitude, greatest) * (-1 if signed and sign >= 0.5 else 1))
    return image


def trivial_augment(image: Image.Image, draws) -> Image.Image:
    """One operation by draws [3]: which one, its magnitude and its sign (Müller and Hutter 2021)."""
    which, strength, sign = draws
    operation, _, greatest, signed = list(OPERATIONS.values())[int(which * len(OPERATIONS))]
    strength = _strength(int(strength * (BINS + 1)), greatest)
    return operation(image, -strength if signed and sign >= 0.5 else strength)


def _strength(magnitude: int, greatest: float) -> float:
    """magnitude / BINS of the greatest, as torch.linspace in float32 has it: the last bits decide a few pixels."""
    step, greatest = float(np.float32(greatest) / np.float32(BINS)), float(np.float32(greatest))
    return float(np.float32(step * magnitude if magnitude < BINS / 2 else greatest - step * (BINS - magnitude)))


def color_jitter(image: Image.Image, draws, strengths) -> Image.Image:
    """Brightness, contrast, saturation and hue by up to `strengths`, in an order that is drawn too; draws [5]."""
    order, *draws = draws
    for which in ORDERS[int(order * len(ORDERS))]:
        strength, draw = strengths[which], draws[which]
        if which == 3 and strength:
            image = shift_hue(image, strength * (2 * draw - 1))
        elif strength:
            low = max(0, 1 - strength)
            kind = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[which]
            image = kind(image).enhance(low + draw * (1 + strength - low))
    return image


def shift_hue(image: Image.Image, turns: float) -> Image.Image:
    """Turn the hue by a part of the circle, -0.5 to 0.5; a grey image stays as it is."""
    if image.mode == "L":
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray(np.asarray(hue) + np.int32(turns * 255).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert(image.mode)


def crop_box(draws, height: int, width: int, scale, ratio) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of torchvision's RandomResizedCrop; draws [22].

    ratio: of width to height. Where none of ten tries fits, the centre of the nearest ratio.
    """
    for w, h in _sides(draws, height * width, scale, ratio):
        if 0 < w <= width and 0 < h <= height:
            top, left = int(draws[-2] * (height - h + 1)), int(draws[-1] * (width - w + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def random_resized_crop(image: Image.Image, draws, size: tuple[int, int], scale, ratio, interpolation) -> Image.Image:
    """The part of `crop_box`, resized to (height, width), antialiased."""
    part = image.crop(crop_box(draws, image.height, image.width, scale, ratio))
    return part.resize(size[::-1], Image.Resampling[interpolation.upper()])


def erase(images: np.ndarray, draws: np.ndarray, probability: float) -> np.ndarray:
    """Images [b, H, W, C] with a rectangle of 0 in some (Zhong et al. 2020); draws [b, 23]."""
    images = images.copy()
    height, width = images.shape[1:3]
    for image, row in zip(images, draws.tolist(), strict=True):
        if row[0] < probability:
            for h, w in _sides(row[1:], height * width, ERASED_SCALE, ERASED_RATIO):
                if h < height and w < width:
                    top, left = int(row[-2] * (height - h + 1)), int(row[-1] * (width - w + 1))
                    image[top : top + h, left : left + w] = 0
                    break
    return images


def _sides(draws, whole, scale, ratio):
    """Ten rectangles (a, b): area by draws[:10], from scale[0] to scale[1] of `whole`; log(a / b) by draws[10:20]."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for of_area, of_ratio in zip(draws[:TRIES], draws[TRIES : 2 * TRIES], strict=True):
        area = whole * (scale[0] + of_area * (scale[1] - scale[0]))
        shape = math.exp(low + of_ratio * (high - low))
        yield round(math.sqrt(area * shape)), round(math.sqrt(area / shape))


def in_numpy(function, images, *more, shape=None, dtype=None):
    """function(images, *more) within a graph; not stateful, so that batches are made in parallel all the same.

    shape, dtype: of the result, where they are not those of `images`.
    """
    import tensorflow as tf

    result = tf.numpy_function(function, [images, *more], dtype or images.dtype, stateful=False)
    return tf.ensure_shape(result, shape or images.shape)
