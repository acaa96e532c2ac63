"""Evaluation against torchvision's own code: its transforms, its ImageFolder, its networks."""

import itertools
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from maintain.pages import read_csv
from PIL import Image

from kerasref.data.archives import unpack
from kerasref.data.images import Resizing, prepare_photo, read_image
from kerasref.data.preprocessing import Preprocessing
from tests.pytorch.test_porting import official
from tests.running import script


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


@pytest.fixture(scope="module")
def ants_and_bees(photographs, tmp_path_factory):
    """Ten photographs of each, of many sizes, one of them upright."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("ants", "bees"):
        (folder / name).mkdir()
        for path in sorted((photographs / "val" / name).iterdir())[:30:3]:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def imagenette(shared_data, tmp_path_factory):
    """Two images of each of the ten classes, in folders that are named by their WNID."""
    archive, folder = shared_data / "imagenette" / "imagenette_224.tar.gz", tmp_path_factory.mktemp("imagenette")
    if not archive.is_file():
        pytest.skip("needs Imagenette in ../shared/data, which is not here")
    found = {}
    with tarfile.open(archive) as files:
        for member in files:
            parts = Path(member.name).parts
            if member.isfile() and "val" in parts and found.setdefault(parts[-2], 0) < 2:
                found[parts[-2]] += 1
                (folder / parts[-2]).mkdir(exist_ok=True)
                (folder / parts[-2] / parts[-1]).write_bytes(files.extractfile(member).read())
    assert len(found) == 10
    return folder


def ported(torchvision, folder, classes):
    """torchvision's ResNet-18 with random weights and statistics, and its file by port-weights."""
    module = official(torchvision, "resnet18", num_classes=classes)
    torch.save(module.state_dict(), folder / "resnet18.pth")
    arguments = "--model", "resnet18", "--from", folder / "resnet18.pth", "--to", folder / "resnet18.keras"
    script("port_weights", *arguments)
    return module, folder / "resnet18.keras"


def theirs(torchvision, module, folder):
    """Logits by torchvision's transforms and ImageFolder, of each file, and its class."""
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    data = torchvision.datasets.ImageFolder(folder, transforms.Compose(steps))
    with torch.no_grad():
        logits = torch.cat([module(image[None]) for image, _ in data]).double()
    files = [Path(path).relative_to(folder).as_posix() for path, _ in data.samples]
    return dict(zip(files, logits, strict=True)), [data.classes[label] for label in data.targets]


AS_TORCHVISION = ("--resize", 256, "--image-size", 224, "--normalization", "imagenet")


def test_a_ported_network_is_evaluated_on_photographs_as_by_torchvision(torchvision, ants_and_bees, tmp_path):
    module, model = ported(torchvision, tmp_path, 2)
    arguments = ("--dataset", ants_and_bees, *AS_TORCHVISION, "--out", tmp_path / "1")
    output = script("evaluate", model, *arguments).stdout
    assert "names no classes" in output and "has no test split: all its images" in output
    logits, labels = theirs(torchvision, module, ants_and_bees)
    rows = read_csv(tmp_path / "1" / "predictions.csv")
    assert list(rows[0]) == ["index", "file", "label", "prediction", "p_ants", "p_bees"]
    assert [row["file"] for row in rows] == list(logits) and [row["label"] for row in rows] == labels
    expected = np.array([row.tolist() for row in logits.values()])
    found = [np.log(float(row["p_ants"]) / float(row["p_bees"])) for row in rows]
    np.testing.assert_allclose(found, expected[:, 0] - expected[:, 1], rtol=0, atol=1e-4 * expected.std())
    metrics = json.loads((tmp_path / "1" / "metrics.json").read_text())
    predicted = [("ants", "bees")[best] for best in expected.argmax(axis=1)]
    assert metrics["accuracy"] == np.mean(np.array(predicted) == labels)
    assert metrics["evaluation"]["resize_size"] == 256 and metrics["evaluation"]["tta"] is None


def test_a_network_of_1000_classes_needs_their_names_on_a_part_of_them(torchvision, imagenette, tmp_path):
    module, model = ported(torchvision, tmp_path, 1000)
    command = (model, "--dataset", imagenette, *AS_TORCHVISION, "--out", tmp_path / "out")
    errors = script("evaluate", *command, code=2).stderr
    assert "1000 outputs without names" in errors and "--class-index" in errors
    wnids = sorted(folder.name for folder in imagenette.iterdir())
    places = dict(zip(np.random.default_rng(0).permutation(1000)[:10].tolist(), wnids, strict=True))
    index = {str(place): [places.get(place, f"n9{place:07}"), f"word {place}"] for place in range(1000)}
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    script("evaluate", *command, "--class-index", tmp_path / "class_index.json")
    logits, labels = theirs(torchvision, module, imagenette)
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    assert [row["file"] for row in rows] == list(logits) and [row["label"] for row in rows] == labels
    for row, expected in zip(rows, logits.values(), strict=True):
        best = expected.argsort(descending=True)[:5].tolist()
        assert [row[f"top_{place}"] for place in range(1, 6)] == [index[str(one)][0] for one in best]
        found = np.log([float(row[f"p_{place}"]) for place in range(1, 6)])
        wanted = torch.log_softmax(expected, 0)[best].numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * float(expected.std()))
