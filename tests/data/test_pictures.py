import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kerasref.data.pictures import picture_to_input, prepare_digit, read_picture
from kerasref.errors import UserError


def _bytes(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_any_mode_becomes_rgb_or_stays_grey(mode):
    image = Image.new(mode, (5, 4)) if mode in ("I;16", "F") else Image.new("L", (5, 4), 255).convert(mode)
    format = "TIFF" if mode in ("CMYK", "F") else "PNG"
    picture = read_picture(_bytes(image, format))
    assert (picture.mode, picture.size) == ("L" if mode == "L" else "RGB", (5, 4))


def test_transparent_lies_on_white():
    assert read_picture(_bytes(Image.new("RGBA", (3, 3), (0, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)


def test_the_eight_orientations_are_one_picture():
    original = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    turns = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        read = read_picture(_bytes(turn(original), exif=exif))
        np.testing.assert_array_equal(np.asarray(read), np.asarray(original), err_msg=str(orientation))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture", _bytes(Image.new("RGB", (64, 64)), "JPEG")[:-200]])
def test_what_is_no_picture_is_refused(content, tmp_path):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.png"):
        read_picture(tmp_path / "file.png")


def test_a_huge_picture_is_refused_before_it_is_decoded():
    with pytest.raises(UserError, match="million pixels"):
        read_picture(_bytes(Image.new("1", (20_000, 5_001))))


@pytest.mark.parametrize("scale", [1.0, 3.0, 12.0])
@pytest.mark.parametrize("dark_on_light", [True, False])
def test_a_digit_is_found_inverted_scaled_and_centred(scale, dark_on_light):
    digit = load_digits().images[3] / 16
    side = round(8 * 3 * scale)
    strokes = np.asarray(Image.fromarray((digit * 200).astype("uint8")).resize((side, side), Image.Resampling.BICUBIC))
    canvas = np.full((3 * side, 2 * side), 20, np.uint8)
    canvas[side // 4 : side // 4 + side, side // 2 : side // 2 + side] = np.maximum(strokes, 20)
    picture = Image.fromarray(255 - canvas if dark_on_light else canvas)
    made = prepare_digit(picture)
    assert made.shape == (28, 28, 1) and made.dtype == np.uint8
    mass = made[..., 0].astype(float)
    rows, columns = np.indices(mass.shape)
    centre = (rows * mass).sum() / mass.sum(), (columns * mass).sum() / mass.sum()
    np.testing.assert_allclose(centre, 13.5, atol=1.0)
    inked = np.argwhere(mass > 30)
    assert 18 <= np.ptp(inked, axis=0).max() + 1 <= 22  # 20x20, as MNIST was made
    assert (mass[:2] == 0).all()


@pytest.mark.parametrize("invert", ["auto", "yes", "no"])
def test_an_empty_page_has_no_digit(invert):
    with pytest.raises(UserError):
        prepare_digit(Image.new("L", (100, 100), 250))
    with pytest.raises(UserError, match="nothing stands out"):
        prepare_digit(Image.new("L", (100, 100), 128), invert)


def test_a_photograph_is_cut_square_from_its_centre():
    picture = Image.new("RGB", (300, 100), "white")
    picture.paste("red", (100, 0, 200, 100))
    made = picture_to_input(picture, "photo", (32, 32, 3))
    assert (made[:, 2:-2] == (255, 0, 0)).all()
