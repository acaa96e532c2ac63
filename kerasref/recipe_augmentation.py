"""The group of recipe fields that say how training images are changed at random."""

from dataclasses import dataclass
from typing import Annotated, Literal

from kerasref import recipe_checks as limits
from kerasref.errors import UserError
from kerasref.recipe_checks import Checked, Limit, no_effect

Padding = Literal["black", "reflect"]


def _ascending(pair) -> bool:
    return len(pair) == 2 and 0 < pair[0] <= pair[1] < float("inf")


SCALE = Limit("two numbers above 0, at most 1, ascending", lambda x: _ascending(x) and x[1] <= 1)
RATIO = Limit("two numbers above 0, ascending", _ascending)
JITTER = Limit(
    "nothing, or four numbers of at least 0, the last at most 0.5",
    lambda x: not x or (len(x) == 4 and min(x) >= 0 and x[3] <= 0.5),
)
RAND_AUGMENT = Limit(
    "nothing, or two whole numbers: at least 1, and 0 to 30",
    lambda x: not x or (len(x) == 2 and x[0] >= 1 and 0 <= x[1] <= 30),
)
PROBABILITY = Limit("a probability from 0 to 1", lambda x: 0 <= x <= 1)


@dataclass(frozen=True, kw_only=True)
class AugmentationFields(Checked):
    """Augmentation."""

    crop_padding: Annotated[int, limits.AT_LEAST_0] = 0
    """Random shift by up to so many pixels (pad, then crop)."""
    crop_padding_mode: Padding = "black"
    """What crop_padding pads with: black pixels, or the image's own, mirrored at its edge."""
    flip: bool = False
    """Random horizontal flip."""
    alternating_flip: bool = False
    """Flip half of the images in even epochs and the other half in odd ones, in place of flip (Jordan 2024)."""
    cutout: Annotated[int, limits.AT_LEAST_0] = 0
    """Side in pixels of a random square that is blanked."""
    rotation: Annotated[float, limits.AT_LEAST_0] = 0.0
    """Random rotation by up to so many degrees."""
    random_resized_crop: bool = False
    """Cut a random part out of the original image and resize it to image_size (torchvision's RandomResizedCrop)."""
    crop_scale: Annotated[tuple[float, ...], SCALE] = (0.08, 1.0)
    """Least and greatest share of the image's area that random_resized_crop cuts out."""
    crop_ratio: Annotated[tuple[float, ...], RATIO] = (3 / 4, 4 / 3)
    """Least and greatest width / height of that part."""
    train_size: Annotated[int | None, limits.FROM_1] = None
    """Side in pixels of training images that are smaller than the evaluated ones (Touvron et al. 2019, FixRes);
    needs random_resized_crop and a network for any size, such as a ResNet."""
    color_jitter: Annotated[tuple[float, ...], JITTER] = ()
    """Brightness, contrast, saturation and hue as torchvision's ColorJitter, such as 0.4 0.4 0.4 0.1."""
    color_shift: Annotated[float, limits.AT_LEAST_0] = 0.0
    """Shift along the principal components of the training set's colors; AlexNet: 0.1 (Krizhevsky et al. 2012, 4.1)."""
    rand_augment: Annotated[tuple[int, ...], RAND_AUGMENT] = ()
    """Number of operations and magnitude from 0 to 30 as torchvision's RandAugment, such as 2 9."""
    trivial_augment: bool = False
    """One random operation of random magnitude per image (torchvision's TrivialAugmentWide)."""
    random_erasing: Annotated[float, PROBABILITY] = 0.0
    """Probability that a random rectangle is set to 0 after the normalization (torchvision's RandomErasing)."""
    mixup: Annotated[float, limits.AT_LEAST_0] = 0.0
    """MixUp's alpha (Zhang et al. 2018), such as 0.2; 0: none. With cutmix, one of the two is drawn per batch."""
    cutmix: Annotated[float, limits.AT_LEAST_0] = 0.0
    """CutMix's alpha (Yun et al. 2019), such as 1; 0: none."""

    def check(self):
        no_effect(self, self.random_resized_crop, "random_resized_crop", "train_size", "crop_scale", "crop_ratio")
        no_effect(self, self.crop_padding > 0, "crop_padding", "crop_padding_mode")
        for one, other in (("flip", "alternating_flip"), ("rand_augment", "trivial_augment")):
            if getattr(self, one) and getattr(self, other):
                raise UserError(f"{one} and {other} exclude each other; leave one of them out")
