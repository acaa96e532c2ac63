"""What reads files from strangers gives a result or an error of ours, whatever the bytes: no traceback, no hang over
5 s, memory within 512 MB of the start. 200 cases each; `make fuzz` tries 10,000."""

import contextlib
import gzip
import io
import json
import os
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kerasref.data.idx import read_idx
from kerasref.data.images import FORMATS, image_to_input, read_image
from kerasref.errors import UserError
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.recipe import Recipe, from_dict
from kerasref.runs import RunFiles
from kerasref.training import checkpoints

fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", 200)),
    deadline=5000,
    suppress_health_check=list(HealthCheck),
)
LIMIT = 512 * 2**20


def _peak_memory() -> int:
    """Bytes resident at most since `clear_refs` was told to start again."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


@pytest.fixture(autouse=True)
def bounded_memory():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = _peak_memory()
    yield
    assert _peak_memory() - before < LIMIT


@st.composite
def damaged(draw, wholes):
    """One of the whole files, cut, lengthened, and with some bytes changed; or any bytes at all."""
    content = bytearray(draw(st.sampled_from(wholes) | st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 6))):
        if content:
            content[draw(st.integers(0, min(len(content), 400) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content) + draw(st.binary(max_size=8))


@contextlib.contextmanager
def result_or_error(name=""):
    """A UserError is of at most three lines, and has the file's name in it."""
    try:
        yield
    except UserError as error:
        assert name in str(error) and len(str(error).splitlines()) <= 3


CUBE = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(24)])


@fuzz
@given(damaged([CUBE, gzip.compress(CUBE), b"\x00\x00\x08\x03" + b"\xff" * 12]))
def test_idx(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzz.idx"
    file.write_bytes(content)
    with result_or_error("fuzz.idx"):
        assert read_idx(file, 3).ndim == 3


def _images():
    made = []
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    for format in FORMATS:
        for mode in ("RGB", "L", "P", "1", "RGBA"):
            buffer = io.BytesIO()
            try:
                picture.convert(mode).save(buffer, format)
            except OSError:  # a mode that the format does not have
                continue
            made.append(buffer.getvalue())
    return made


@fuzz
@given(damaged(_images()), st.sampled_from(["digit", "garment", "photo"]))
def test_picture(content, kind):
    with result_or_error():
        picture = read_image(content)
        assert picture.mode in ("L", "RGB")
        assert image_to_input(picture, kind, (28, 28, 1)).shape == (28, 28, 1)


ROWS = b'run,epoch,loss,reason\n1,1,0.5,\n2,1,0.25,"a ""b"", c"\n3,,,loss is nan\n'


@fuzz
@given(damaged([ROWS, b"run,epoch,loss\n1,1," + b"[" * 100_000 + b"\n", ROWS * 20]))
def test_results_file(tmp_path_factory, content):
    """Every line is a row or is named as torn; none is lost."""
    file = tmp_path_factory.getbasetemp() / "fuzz.csv"
    file.write_bytes(content)
    rows, torn = read_rows(file)
    assert 0 <= content.count(b"\n") + (not content.endswith(b"\n") and content != b"") - len(rows) - len(torn) <= 1
    assert all(isinstance(row, dict) for row in rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
RECIPE = asdict(Recipe())


@fuzz
@given(st.dictionaries(st.sampled_from(sorted(RECIPE)) | st.text(max_size=5), JSON, max_size=4))
def test_recipe(changes):
    with result_or_error():
        assert isinstance(from_dict({**RECIPE, **changes}), Recipe)


SETTINGS = {
    "recipe": RECIPE,
    "dataset": {"class_names": ["a", "b"], "image_shape": [28, 28, 1], "picture": "digit"},
    "preprocessing": {"pad": 0, "mean": [0.0], "std": [1.0]},
}


@fuzz
@given(
    damaged([json.dumps(SETTINGS).encode(), b"[" * 100_000, b'{"a":' * 50_000])
    | st.tuples(st.sampled_from(sorted(SETTINGS)), JSON).map(lambda kv: json.dumps({**SETTINGS, kv[0]: kv[1]}).encode())
    | JSON.map(
        lambda value: json.dumps({**SETTINGS, "dataset": {**SETTINGS["dataset"], "image_shape": value}}).encode()
    )
)
def test_recipe_file(tmp_path_factory, content):
    run = RunFiles(tmp_path_factory.getbasetemp() / "fuzz-run")
    run.path.mkdir(exist_ok=True)
    run.recipe_file.write_bytes(content)
    with result_or_error():
        run.recipe(), run.preprocessing(), run.class_names(), run.image_shape()


@fuzz
@given(st.data())
def test_checkpoint(tmp_path_factory, data):
    """The manifest or the arrays damaged: the one before is used, or it is as it was."""
    folder = tmp_path_factory.getbasetemp() / "fuzz-checkpoints"
    for epoch in (1, 2):
        checkpoints.save(folder, {"a": np.full(9, epoch, "f4")}, {"epoch": epoch, "step": 0, "rows": [{"loss": 0.5}]})
    file = max(folder.glob(data.draw(st.sampled_from(["*.json", "*.npz"]))))
    whole = file.read_bytes()
    broken = data.draw(damaged([whole]))
    file.write_bytes(broken)
    arrays, progress, _ = checkpoints.load_latest(folder)
    assert progress["epoch"] == (2 if broken == whole else 1)
    assert (arrays["a"] == progress["epoch"]).all()


@fuzz
@given(damaged([np.save(buffer := io.BytesIO(), np.arange(6.0)) or buffer.getvalue()]), st.booleans())
def test_arrays(content, as_member):
    """Arrays whose checksum is right but whose content is not ours."""
    if as_member:
        import zipfile

        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
            archive.writestr("a.npy", content)
        content = buffer.getvalue()
    with contextlib.suppress(ValueError):
        assert isinstance(checkpoints.read_arrays(content), dict)
