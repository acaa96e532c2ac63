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
from tests.data.samples import image_bytes


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_any_mode_becomes_rgb_or_stays_grey(mode):
    image = Image.new(mode, (5, 4)) if mode in ("I;16", "F") else Image.new("L", (5, 4), 255).convert(mode)
    format = "TIFF" if mode in ("CMYK", "F") else "PNG"
    picture = read_image(image_bytes(image, format))
    assert (picture.mode, picture.size) == ("L" if mode == "L" else "RGB", (5, 4))


@pytest.mark.parametrize(
    ("content", "pixel"),
    [
        pytest.param(image_bytes(Image.new("RGBA", (2, 2), (0, 0, 0, 0))), (255, 255, 255), id="transparent on white"),
        pytest.param(image_bytes(Image.new("I;16", (2, 2), 32896)), (128, 128, 128), id="16 bits without clipping"),
        pytest.param(
            image_bytes(
                Image.new("RGB", (2, 2), "red"), "GIF", save_all=True, append_images=[Image.new("RGB", (2, 2), "blue")]
            ),
            (255, 0, 0),
            id="first frame",
        ),
    ],
)
def test_any_content_becomes_eight_bits(content, pixel):
    assert read_image(content).getpixel((1, 1)) == pixel


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
        read = read_image(image_bytes(turn(original), exif=exif))
        np.testing.assert_array_equal(np.asarray(read), np.asarray(original), err_msg=str(orientation))


def _header_of(width, height):
    """A PNG of one pixel whose header says otherwise."""
    whole = image_bytes(Image.new("L", (1, 1)))
    header = whole[12:16] + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"GIF89a", "not a JPEG", id="header alone"),
        pytest.param(b"no picture", "not a JPEG", id="text"),
        pytest.param(image_bytes(Image.effect_noise((64, 64), 50), "JPEG")[:-200], "damaged or cut short", id="cut"),
        pytest.param(None, "not a regular file", id="FIFO"),
        pytest.param(_header_of(5_001, 5_000), "5001x5000 is over 25 million pixels", id="25 Mpx"),
        pytest.param(_header_of(20_000, 5_001), "million pixels", id="100 Mpx"),  # of which Pillow warns
        pytest.param(_header_of(20_000, 20_000), "million pixels", id="400 Mpx"),  # which Pillow refuses
    ],
)
def test_what_is_no_picture_is_refused(content, says, tmp_path):
    if content is None:
        os.mkfifo(tmp_path / "file.png")
    else:
        (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.png: .*{says}"):
        read_image(tmp_path / "file.png")


@pytest.mark.parametrize(
    ("mode", "size", "seen"),
    [("RGB", (6000, 4166), (6000, 4166)), ("CMYK", (6001, 4167), (3001, 2084)), ("L", (8000, 6000), (4000, 3000))],
)
def test_a_large_photograph_is_decoded_at_half_its_size(mode, size, seen):
    ramp = Image.linear_gradient("L").convert(mode).resize(size, Image.Resampling.BILINEAR)
    image = read_image(image_bytes(ramp, "JPEG"))
    assert image.size == seen
    small = [np.asarray(each.convert("L").resize((60, 40)), int) for each in (image, ramp)]
    assert np.abs(small[0] - small[1]).max() <= 2
    with pytest.raises(UserError, match="10000x8001 is over 80 million pixels"):
        read_image(image_bytes(ramp, "JPEG").replace(struct.pack(">HH", *size[::-1]), struct.pack(">HH", 8001, 10000)))


@pytest.mark.parametrize(
    ("mode", "format", "size", "seen"),
    [
        ("RGB", "PNG", (5000, 5000), ("RGB", (5000, 5000))),
        ("L", "PNG", (5001, 5001), ("L", (2501, 2501))),
        ("RGBA", "PNG", (6000, 5000), ("RGB", (3000, 2500))),
        ("P", "PNG", (6000, 5000), ("RGB", (3000, 2500))),
        ("I;16", "PNG", (6000, 5000), ("RGB", (3000, 2500))),
        ("F", "TIFF", (6000, 5000), ("RGB", (3000, 2500))),
        ("RGB", "PPM", (10_000, 7_000), ("RGB", (5000, 3500))),
    ],
)
def test_predict_halves_large_images_of_other_formats(mode, format, size, seen):
    content = image_bytes(Image.new(mode, size, 128 if mode != "RGBA" else (128, 128, 128, 255)), format)
    image = read_image(content, large=True)
    assert (image.mode, image.size) == seen
    if size != (5000, 5000):
        with pytest.raises(
            UserError, match=f"{size[0]}x{size[1]} is over 25 million pixels; make it smaller, or a JPEG"
        ):
            read_image(content)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((8401, 8400), "8401x8400 is over 70 million pixels; make it smaller"),
        ((20_000, 5_001), "million pixels; make it smaller"),
    ],
)
def test_larger_images_are_refused_from_the_header(size, says):
    with pytest.raises(UserError, match=says):
        read_image(_header_of(*size), large=True)


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
    for size, grey in ((100, 128), (28, 0)):
        with pytest.raises(UserError, match="nothing stands out"):
            prepare_digit(Image.new("L", (size, size), grey), invert)


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


def test_sixteen_bits_of_a_pgm_are_those_of_a_png():
    pixels = np.array([[1000, 2000], [3000, 40000]], ">u2")
    pgm = read_image(b"P5 2 2 65535 " + pixels.tobytes())
    png = read_image(image_bytes(Image.fromarray(pixels.astype("uint16"))))
    np.testing.assert_array_equal(np.asarray(pgm), np.asarray(png))


def test_a_small_light_digit_on_a_clean_dark_page_is_found():
    page = np.zeros((1000, 1000), np.uint8)
    page[450:550, 500:510] = 255  # a thousandth of the page
    for picture in (page, 255 - page):
        made = prepare_digit(Image.fromarray(picture))[..., 0]
        assert 0.02 < (made > 127).mean() < 0.2 and made[13:15, 12:16].max() > 200


def test_a_thread_is_a_garment_too():
    page = Image.new("L", (600, 600))
    page.paste(255, (50, 300, 550, 304))
    made = image_to_input(page, "garment", (28, 28, 1))
    assert made.shape == (28, 28, 1) and 20 <= (made > 127).sum() <= 60


def test_one_pixel_is_a_photograph_but_no_digit():
    pixel = read_image(image_bytes(Image.new("RGB", (1, 1), "red")))
    assert (image_to_input(pixel, "photo", (4, 4, 3)) == (255, 0, 0)).all()
    with pytest.raises(UserError, match="nothing stands out"):
        image_to_input(pixel, "digit", (28, 28, 1))


@pytest.mark.parametrize(
    ("size", "scans", "limit"),
    [((300, 300), 400, None), ((300, 300), 600, 500), ((5000, 4999), 20, None), ((5000, 4999), 60, 40)],
)
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(size, scans, limit):
    content = image_bytes(Image.new("L", size, 99), "JPEG", progressive=True)
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
        (image_bytes(Image.new("P", (9, 9)), "GIF"), "a GIF, which predict reads and training does not"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC image, .* pip install pillow-heif, or convert it to JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"%PDF-1.4", f"not a {', '.join(PHOTO_FORMATS[:-1])} or {PHOTO_FORMATS[-1]} image"),
    ],
)
def test_a_format_that_training_does_not_read_is_named(content, says):
    with pytest.raises(UserError, match=says):
        read_image(content, PHOTO_FORMATS)


@pytest.mark.parametrize(
    ("magic", "formats", "says"),
    [
        (b"ftypavif", ("JPEG", "PNG"), "an AVIF image, which this Pillow was built without: pip install"),
        (b"ftypavif", ("JPEG", "AVIF"), "not a JPEG or AVIF image"),  # damaged, since the reader is there
        (b"ftypheic", ("JPEG", "PNG"), "a HEIC image, .* pip install pillow-heif"),
        (b"ftypmif1", ("JPEG", "HEIF"), "not a JPEG or HEIF image"),
    ],
)
def test_a_reader_is_missing_only_where_it_is(magic, formats, says):
    Image.OPEN.setdefault("HEIF", (lambda *_: None, lambda _: False))
    with pytest.raises(UserError, match=says):
        read_image(b"\0\0\0\x18" + magic + bytes(20), formats)


@pytest.mark.parametrize("format", PHOTO_FORMATS)
def test_training_reads_the_photo_formats(tmp_path, format):
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / name).mkdir()
        for i in range(5):
            (tmp_path / name / str(i)).write_bytes(image_bytes(Image.new("RGB", (16, 16), colour), format))
    train = load_dataset(tmp_path, validation=0.0).train
    means = train.examples(slice(None)).mean((1, 2))
    expected = np.array([[255, 0, 0], [0, 0, 255]])[train.labels]
    np.testing.assert_allclose(means, expected, atol=6)
