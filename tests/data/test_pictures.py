import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kerasref.data import load_dataset
from kerasref.data.images import PHOTO_FORMATS, image_to_input, prepare_digit, read_image
from kerasref.errors import UserError


def _bytes(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_any_mode_becomes_rgb_or_stays_grey(mode):
    image = Image.new(mode, (5, 4)) if mode in ("I;16", "F") else Image.new("L", (5, 4), 255).convert(mode)
    format = "TIFF" if mode in ("CMYK", "F") else "PNG"
    picture = read_image(_bytes(image, format))
    assert (picture.mode, picture.size) == ("L" if mode == "L" else "RGB", (5, 4))


def test_transparent_lies_on_white():
    assert read_image(_bytes(Image.new("RGBA", (3, 3), (0, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)


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
        read = read_image(_bytes(turn(original), exif=exif))
        np.testing.assert_array_equal(np.asarray(read), np.asarray(original), err_msg=str(orientation))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture", _bytes(Image.new("RGB", (64, 64)), "JPEG")[:-200]])
def test_what_is_no_picture_is_refused(content, tmp_path):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.png"):
        read_image(tmp_path / "file.png")


def test_a_huge_picture_is_refused_before_it_is_decoded():
    with pytest.raises(UserError, match="million pixels"):
        read_image(_bytes(Image.new("1", (20_000, 5_001))))


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
    made = image_to_input(picture, "photo", (32, 32, 3))
    assert (made[:, 2:-2] == (255, 0, 0)).all()


@pytest.mark.parametrize("hand", ["handwriting", "strokes"])
def test_every_kind_of_file_gives_back_what_was_written(shared_data, hand):
    """Images of MNIST's digits (maintain/digit_images.py) come back looking like the digits they were made of."""
    from maintain import digit_images

    from kerasref.data.idx import read_idx

    images = read_idx(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz", 3)[..., None]
    made, files = [], set()
    for sample in digit_images.make_images(images, np.arange(len(images)), seed=11, count=60):
        if sample.hand != hand:
            continue
        files.add(sample.file)
        found = prepare_digit(read_image(sample.content))[..., 0]
        assert 0.03 < (found > 127).mean() < 0.35, sample  # a digit's share of ink, neither specks nor the page
        if hand == "handwriting":
            made.append(np.corrcoef(found.ravel(), images[sample.label].ravel())[0, 1])
    assert len(files) >= 6
    if hand == "handwriting":  # turned by up to 15° and thinned, so never the same; of another digit the median is 0.35
        assert np.median(made) > 0.6 and np.mean(np.array(made) > 0.4) >= 0.9, made


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "blue")]
    assert read_image(_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])).getpixel((3, 3)) == (
        255,
        0,
        0,
    )


def test_sixteen_bits_become_eight_without_clipping():
    assert read_image(_bytes(Image.new("I;16", (2, 2), 32896))).getpixel((0, 0)) == (128, 128, 128)


def test_sixteen_bits_of_a_pgm_are_those_of_a_png():
    pixels = np.array([[1000, 2000], [3000, 40000]], ">u2")
    pgm = read_image(b"P5 2 2 65535 " + pixels.tobytes())
    png = read_image(_bytes(Image.fromarray(pixels.astype("uint16"))))
    np.testing.assert_array_equal(np.asarray(pgm), np.asarray(png))


def test_a_small_light_digit_on_a_clean_dark_page_is_found():
    page = np.zeros((1000, 1000), np.uint8)
    page[450:550, 500:510] = 255  # a thousandth of the page
    for picture in (page, 255 - page):
        made = prepare_digit(Image.fromarray(picture))[..., 0]
        assert 0.02 < (made > 127).mean() < 0.2 and made[13:15, 12:16].max() > 200


def test_an_empty_picture_of_mnists_size_has_no_digit():
    with pytest.raises(UserError, match="nothing stands out"):
        prepare_digit(Image.new("L", (28, 28)))


def test_a_thread_is_a_garment_too():
    page = Image.new("L", (600, 600))
    page.paste(255, (50, 300, 550, 304))
    made = image_to_input(page, "garment", (28, 28, 1))
    assert made.shape == (28, 28, 1) and 20 <= (made > 127).sum() <= 60


def test_one_pixel_is_a_photograph_but_no_digit():
    pixel = read_image(_bytes(Image.new("RGB", (1, 1), "red")))
    assert (image_to_input(pixel, "photo", (4, 4, 3)) == (255, 0, 0)).all()
    with pytest.raises(UserError, match="nothing stands out"):
        image_to_input(pixel, "digit", (28, 28, 1))


def test_a_fifo_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(UserError, match=r"fifo\.png: not a regular file"):
        read_image(tmp_path / "fifo.png")


def test_400_million_pixels_are_refused_from_the_header():
    header = _bytes(Image.new("L", (1, 1)))
    size = struct.pack(">II", 20_000, 20_000)
    content = header[:16] + size + header[24:29] + struct.pack(">I", zlib.crc32(header[12:16] + size + header[24:29]))
    with pytest.raises(UserError, match="million pixels"):
        read_image(content + header[33:])


@pytest.mark.parametrize(
    ("size", "scans", "limit"),
    [((300, 300), 400, None), ((300, 300), 600, 500), ((5000, 4999), 20, None), ((5000, 4999), 60, 40)],
)
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(size, scans, limit):
    content = _bytes(Image.new("L", size, 99), "JPEG", progressive=True)
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    content = content[:start] + content[start:end] * scans + content[end:]
    begun = time.process_time()
    if limit is None:
        assert read_image(content).size == size
    else:
        with pytest.raises(UserError, match=f"a JPEG of more than {limit} scans"):
            read_image(content)
        assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_bytes(Image.new("P", (9, 9)), "GIF"), "a GIF, which predict reads and training does not"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC image, which Pillow does not read"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"%PDF-1.4", "not a JPEG, PNG, WEBP, BMP, TIFF, PPM or AVIF image"),
    ],
)
def test_a_format_that_training_does_not_read_is_named(content, says):
    with pytest.raises(UserError, match=says):
        read_image(content, PHOTO_FORMATS)


@pytest.mark.parametrize("format", PHOTO_FORMATS)
def test_training_reads_the_photo_formats(tmp_path, format):
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / name).mkdir()
        for i in range(5):
            (tmp_path / name / str(i)).write_bytes(_bytes(Image.new("RGB", (16, 16), colour), format))
    train = load_dataset(tmp_path, validation=0.0).train
    means = train.examples(slice(None)).mean((1, 2))
    expected = np.array([[255, 0, 0], [0, 0, 255]])[train.labels]
    np.testing.assert_allclose(means, expected, atol=6)
