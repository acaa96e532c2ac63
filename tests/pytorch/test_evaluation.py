"""Evaluation against torchvision's own code: its transforms, its ImageFolder, its networks."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from kerasref.data.archives import unpack
from kerasref.data.images import Resizing, prepare_photo, read_image
from kerasref.data.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def photographs(shared_data, tmp_path_factory):
    """The folder of ants and bees, photographs of 146 sizes."""
    return unpack(shared_data / "hymenoptera" / "hymenoptera_256.tar.gz", tmp_path_factory.mktemp("hymenoptera"))


def some_images(photographs):
    noise = np.random.default_rng(0)
    for size in ((1, 1), (3, 200), (223, 225), (224, 224), (255, 257), (256, 256), (500, 333), (640, 97)):
        yield Image.fromarray(noise.integers(0, 256, (*size, 3), dtype=np.uint8))
    for path in itertools.islice(sorted((photographs / "val").glob("*/*.jpg")), 0, None, 10):
        yield read_image(path)


@pytest.mark.parametrize(
    ("resize", "crop"), [(256, 224), (232, 224), (255, 225), (224, 224), (100, 131), (33, 96)], ids=str
)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_photographs_are_prepared_pixel_for_pixel_as_by_torchvision(
    resize, crop, interpolation, photographs, torchvision
):
    from torchvision import transforms

    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose([transforms.Resize(resize, mode), transforms.CenterCrop(crop)])
    for image in some_images(photographs):
        for channels in (1, 3):
            expected = theirs(image.convert("RGB" if channels == 3 else "L"))
            found = prepare_photo(image, crop, channels, Resizing(resize, interpolation))
            np.testing.assert_array_equal(found, np.array(expected).reshape(found.shape), strict=True)


def test_normalization_is_to_the_bit_that_of_torchvision(photographs, torchvision):
    from torchvision import transforms

    constants = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    theirs = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56), transforms.ToTensor(), constants])

    class Dataset:
        image_shape = (56, 56, 3)

    preprocessing = Preprocessing.for_dataset("imagenet", Dataset)
    for image in some_images(photographs):
        found = preprocessing(prepare_photo(image, 56, 3, Resizing(64))).numpy()
        np.testing.assert_array_equal(found, theirs(image).numpy().transpose(1, 2, 0), strict=True)


def test_without_antialiasing_an_image_is_sampled_as_by_torch(photographs, torchvision):
    for image in some_images(photographs):
        found = prepare_photo(image, 40, 3, Resizing(40, antialias=False)).astype(int)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        size = [40 if side == min(image.size) else int(40 * side / min(image.size)) for side in image.size[::-1]]
        whole = torch.nn.functional.interpolate(pixels, size, mode="bilinear")[0]
        expected = torchvision.transforms.functional.center_crop(whole, 40).permute(1, 2, 0).numpy()
        difference = np.abs(found - expected)
        assert difference.max() <= 1.01, (image.size, difference.max())


def test_a_strip_of_pixels_takes_no_memory():
    assert prepare_photo(Image.new("L", (1, 10_000_000), 7), 224, 3, Resizing(256)).shape == (224, 224, 3)
