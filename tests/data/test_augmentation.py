"""Each random change of a training image against torchvision's, with the same parameters, and the draws behind it."""

import collections
import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from kerasref.build import load_data, make_augmentation
from kerasref.cli import show_data
from kerasref.data import Augmentation, MemorySplit, Preprocessing
from kerasref.data import image_operations as operations
from kerasref.data.augmentation import stream
from kerasref.data.mixing import mix, mixing_table
from kerasref.data.preprocessing import principal_components
from kerasref.errors import UserError
from kerasref.recipe import Recipe

EVERYTHING = Augmentation(
    crop_padding=2,
    crop_padding_mode="reflect",
    alternating_flip=True,
    cutout=3,
    rotation=10,
    random_resized_crop=True,
    color_jitter=(0.4, 0.4, 0.4, 0.1),
    color_shift=0.1,
    color_components=((0.1, -0.1, 0.1), (0.2, 0.1, 0.0), (0.3, 0.3, 0.3)),
    rand_augment=(2, 9),
    random_erasing=0.5,
    mixup=0.4,
    cutmix=1.0,
    num_classes=103,
)


@pytest.fixture(scope="module")
def photo():
    """61 x 47 pixels with edges, plain ground and noise, so that each operation changes it."""
    y, x = np.mgrid[:47, :61]
    plain = np.stack([4 * x, 5 * y, 128 + 90 * np.sin(x / 5)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 15, plain.shape)
    return Image.fromarray(np.clip(30 + 0.8 * plain + noise, 0, 250).astype(np.uint8))


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return MemorySplit.of(rng.integers(0, 256, (103, 12, 10, 3), dtype=np.uint8), np.arange(103))


class Queue:
    """Stands in for torch in torchvision's own code: its random numbers are those of a list."""

    def __init__(self, torch, numbers):
        self.torch, self.numbers = torch, collections.deque(numbers)

    def __getattr__(self, name):
        return getattr(self.torch, name)

    def empty(self, _):
        return self

    def uniform_(self, low, high):
        return self.torch.tensor([float(low) + (float(high) - float(low)) * self.numbers.popleft()])

    def randint(self, low, high, size):
        return self.torch.tensor(int(low + (high - low) * self.numbers.popleft()))


def _in_torchvisions_order(row, fits):
    """Our row (ten areas, ten ratios, top, left) as torchvision draws them: area, ratio, area, ratio … top, left."""
    tries = list(zip(row[:10], row[10:20], strict=True))
    pairs = tries[: next((place + 1 for place, pair in enumerate(tries) if fits(*pair)), 10)]
    return [number for pair in pairs for number in pair] + list(row[-2:])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_operations_of_randaugment_and_trivialaugment_are_torchvisions(torchvision, photo, name, mode):
    from torchvision.transforms import autoaugment

    image, place = photo.convert(mode), list(operations.OPERATIONS).index(name) + 0.5
    rand = autoaugment.RandAugment()._augmentation_space(31, (image.height, image.width))
    trivial = autoaugment.TrivialAugmentWide()._augmentation_space(31)
    assert list(rand) == list(trivial) == list(operations.OPERATIONS)
    changed = 0
    for magnitude in range(31):
        for sign, draw in ((1, 0.2), (-1, 0.7)):
            draws = place / len(rand), draw

            def expected(space, magnitude=magnitude, sign=sign):
                magnitudes, signed = space[name]
                strength = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
                nearest = torchvision.transforms.InterpolationMode.NEAREST
                return np.asarray(autoaugment._apply_op(image, name, strength * (sign if signed else 1), nearest, None))

            found = operations.rand_augment(image, [draws], magnitude)
            np.testing.assert_array_equal(np.asarray(found), expected(rand))
            found = operations.trivial_augment(image, (draws[0], (magnitude + 0.5) / 31, draws[1]))
            np.testing.assert_array_equal(np.asarray(found), expected(trivial))
            changed += (np.asarray(found) != np.asarray(image)).any()
    assert changed or name == "Identity" or (name, mode) == ("Color", "L")


def test_color_jitter_is_torchvisions(torchvision, photo, monkeypatch):
    from torchvision.transforms import ColorJitter

    rng, strengths = np.random.default_rng(0), (0.4, 0.3, 0.5, 0.1)
    for _ in range(50):
        draws = rng.random(5)
        factors = [1 + s * (2 * u - 1) for s, u in zip(strengths[:3], draws[1:4], strict=True)]
        drawn = operations.ORDERS[int(draws[0] * 24)], *factors, strengths[3] * (2 * draws[4] - 1)
        monkeypatch.setattr(ColorJitter, "get_params", staticmethod(lambda *_, drawn=drawn: drawn))
        expected = ColorJitter(*strengths)(photo)
        np.testing.assert_array_equal(np.asarray(operations.color_jitter(photo, draws, strengths)), expected)
    assert operations.color_jitter(photo, [0.5] * 5, (0, 0, 0, 0)) is photo


@pytest.mark.parametrize("size", [(61, 47), (47, 300), (500, 40)])
def test_the_random_resized_crop_is_torchvisions(torchvision, monkeypatch, size):
    import torch
    from torchvision.transforms import RandomResizedCrop, functional, transforms

    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image, scale, ratio = Image.fromarray(pixels), (0.08, 1.0), (3 / 4, 4 / 3)
    for row in np.random.default_rng(0).random((100, 22)):

        def fits(area, shape):
            area = (scale[0] + area * (scale[1] - scale[0])) * image.width * image.height
            shape = math.exp(math.log(ratio[0]) + shape * math.log(ratio[1] / ratio[0]))
            return round((area * shape) ** 0.5) <= image.width and round((area / shape) ** 0.5) <= image.height

        monkeypatch.setattr(transforms, "torch", Queue(torch, _in_torchvisions_order(row, fits)))
        top, left, height, width = RandomResizedCrop.get_params(image, scale, ratio)
        monkeypatch.undo()
        assert operations.crop_box(row, *size[::-1], scale, ratio) == (left, top, left + width, top + height)
        found = operations.random_resized_crop(image, row, (24, 32), scale, ratio, "bilinear")
        expected = functional.resized_crop(image, top, left, height, width, [24, 32])
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_random_erasing_is_torchvisions(torchvision, monkeypatch):
    import torch
    from torchvision.transforms import RandomErasing, functional, transforms

    rng = np.random.default_rng(0)
    images, draws = rng.normal(size=(60, 20, 30, 3)).astype("float32"), rng.random((60, 23))
    found = operations.erase(images, draws, 0.7)
    for image, row, erased in zip(images, draws, found, strict=True):
        expected = torch.from_numpy(image).permute(2, 0, 1)
        if row[0] < 0.7:

            def fits(area, shape):
                area, shape = 600 * (0.02 + 0.31 * area), math.exp(math.log(0.3) + shape * math.log(3.3 / 0.3))
                return round((area * shape) ** 0.5) < 20 and round((area / shape) ** 0.5) < 30

            monkeypatch.setattr(transforms, "torch", Queue(torch, _in_torchvisions_order(row[1:], fits)))
            box = RandomErasing.get_params(expected, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=[0.0])
            monkeypatch.undo()
            expected = functional.erase(expected, *box)
        np.testing.assert_array_equal(erased, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
@pytest.mark.parametrize("size", [1, 5])
def test_mixup_and_cutmix_are_torchvisions(torchvision, monkeypatch, kind, size):
    import torch
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(size, 9, 12, 3)).astype("float32"), rng.integers(0, 4, size)
    for of_pixels, of_label, top, left, bottom, right in mixing_table(
        kind == "MixUp", kind == "CutMix", lambda name: stream(name, 3, 2), 40, 9, 12
    ):
        box = tuple(int(edge) for edge in (left, top, right, bottom))
        params = {"lam": float(of_pixels), "lam_adjusted": float(of_label), "box": box}
        monkeypatch.setattr(getattr(v2, kind), "make_params", lambda *_, params=params: params)
        expected = getattr(v2, kind)(num_classes=4)(torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(labels))
        row = np.array([of_pixels, of_label, top, left, bottom, right], "float32")
        found = mix(images, labels, row, 4)
        np.testing.assert_allclose(found[0], expected[0].permute(0, 2, 3, 1), atol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
        if kind == "CutMix":
            assert of_label == pytest.approx(1 - (bottom - top) * (right - left) / 108)


def test_both_kinds_of_mixing_take_turns_and_their_shares_are_beta():
    def table(mixup, cutmix):
        return mixing_table(mixup, cutmix, lambda name: stream(name, 0, 0), 4000, 32, 32)

    both, mixed, cut = table(0.2, 1.0), table(0.2, 0), table(0, 1.0)
    cuts = stream("mix", 0, 0).random(4000) < 0.5
    assert 0.45 < cuts.mean() < 0.55
    np.testing.assert_array_equal(both[cuts], cut[cuts])
    np.testing.assert_array_equal(both[~cuts], mixed[~cuts])
    assert mixed[:, 1].mean() == pytest.approx(0.5, abs=0.03)
    assert mixed[:, 1].var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.05)


def test_the_color_shift_is_the_papers_along_the_components_of_the_training_set(split):
    from sklearn.decomposition import PCA

    found = np.array(principal_components(split))
    pca = PCA().fit(split.all_images.reshape(-1, 3) / 255)
    for component, variance, row in zip(pca.components_[::-1], pca.explained_variance_[::-1], found, strict=True):
        np.testing.assert_allclose(row, component * np.sign(component.sum()) * variance, rtol=1e-3)
    augmentation = Augmentation(color_shift=5.0, color_components=tuple(map(tuple, found)))
    images, labels = next(split.batches(103, shuffle_seed=1, augmentation=augmentation).as_numpy_iterator())
    normal = augmentation.draws(1, 0, np.arange(103))["color_shift"]
    shifted = split.all_images[labels] / 255 + (5 * normal @ found)[:, None, None]
    assert np.abs(images - 255 * np.clip(shifted, 0, 1)).max() <= 0.501
    assert np.abs(images - split.all_images[labels]).mean() > 5


def test_each_image_is_seen_both_ways_every_two_epochs(split):
    options = dict(shuffle_seed=1, augmentation=Augmentation(alternating_flip=True))
    seen = []
    for epoch in range(4):
        images, labels = next(split.batches(103, epoch=epoch, **options).as_numpy_iterator())
        mirrored = (images == split.all_images[labels][:, :, ::-1]).all(axis=(1, 2, 3))
        assert (mirrored | (images == split.all_images[labels]).all(axis=(1, 2, 3))).all()
        seen.append(mirrored[np.argsort(labels)])
    assert 30 < seen[0].sum() < 73
    np.testing.assert_array_equal(seen, [seen[0], ~seen[0]] * 2)


def test_reflected_padding(split):
    options = dict(shuffle_seed=1, augmentation=Augmentation(crop_padding=2, crop_padding_mode="reflect"))
    images, labels = next(split.batches(103, **options).as_numpy_iterator())
    padded = np.pad(split.all_images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    shape = np.random.Generator(np.random.Philox(key=[1, 0]).jumped()).random((103, 7), dtype=np.float32)
    for image, label, (down, right) in zip(images, labels, (shape[:, :2] * 5).astype(int), strict=True):
        np.testing.assert_array_equal(image, padded[label, down : down + 12, right : right + 10])


def test_what_a_dataset_does_not_allow_is_refused():
    dataset = load_data(Recipe(dataset="digits"))
    for fields, says in (
        ({"crop_padding": 28, "crop_padding_mode": "reflect"}, "less than the images' side"),
        ({"alternating_flip": True, "balanced_sampling": True}, "use flip"),
    ):
        with pytest.raises(UserError, match=says):
            make_augmentation(Recipe(dataset="digits", **fields), dataset)


OFF = [
    *({name: False} for name in ("random_resized_crop", "alternating_flip")),
    *({name: ()} for name in ("color_jitter", "rand_augment")),
    {"crop_padding": 0, "crop_padding_mode": "black"},
    *({name: 0} for name in ("cutout", "rotation", "color_shift", "random_erasing", "mixup", "cutmix")),
]


@pytest.mark.parametrize("off", OFF, ids=str)
def test_one_change_switched_off_leaves_the_draws_of_the_others(off):
    with_it, without = EVERYTHING, dataclasses.replace(EVERYTHING, **off)
    before, after = (a.draws(3, 2, np.arange(20)) for a in (with_it, without))
    assert set(before) - set(after) <= set(off)
    for name, numbers in after.items():
        kept = slice(None) if "alternating_flip" not in off else [0, 1, 3, 4, 5, 6]
        np.testing.assert_array_equal(numbers[:, kept] if name == "shape" else numbers, before[name][:, kept]
                                      if name == "shape" else before[name])  # fmt: skip
    shape = np.random.Generator(np.random.Philox(key=[3, 2]).jumped()).random((20, 7), dtype=np.float32)
    np.testing.assert_array_equal(after["shape"][:, [0, 1, 3, 4, 5, 6]], shape[:, [0, 1, 3, 4, 5, 6]])


@pytest.fixture(
    params=[Augmentation(crop_padding=2, flip=True, cutout=3, rotation=10), EVERYTHING], ids=["some", "all"]
)
def batches(request, split):
    """A function from options to the batches of an epoch."""
    options = dict(shuffle_seed=3, epoch=2, augmentation=request.param)
    return lambda **more: list(split.batches(10, **options, **more).as_numpy_iterator())


@pytest.mark.parametrize("first_step", [1, 4, 10])
def test_an_epoch_entered_at_a_step_is_the_tail_of_the_whole_one(batches, first_step):
    for whole, tail in zip(batches()[first_step:], batches(first_step=first_step), strict=True):
        np.testing.assert_array_equal(tail[0], whole[0], strict=True)
        np.testing.assert_array_equal(tail[1], whole[1], strict=True)
        if tail[1].ndim == 2:
            np.testing.assert_allclose(tail[1].sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_share_each_batch_and_no_example_is_anybodys_twice(batches, workers):
    """The last batch has 3 examples: of four workers one has none, but a batch all the same."""
    whole = batches(first_step=1)
    shares = [batches(first_step=1, share=(worker, workers)) for worker in range(workers)]
    assert {len(share) for share in shares} == {len(whole)} == {10}
    for step, (images, labels) in enumerate(whole):
        for worker in range(workers):
            np.testing.assert_array_equal(shares[worker][step][0], images[worker::workers], strict=True)
            np.testing.assert_array_equal(shares[worker][step][1], labels[worker::workers], strict=True)


@pytest.mark.parametrize("train_size", [None, 12])
def test_crops_are_cut_out_of_the_files_of_a_folder_and_not_of_their_centre(tmp_path, train_size):
    rng = np.random.default_rng(0)
    for split, kind, place in ((s, k, i) for s in ("train", "test") for k in "ab" for i in range(4)):
        file = tmp_path / split / kind / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50 + place, 3), dtype=np.uint8)).save(file)
    (tmp_path / "train" / "a" / "broken.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes()[:3000])
    recipe = Recipe(dataset=str(tmp_path), image_size=16, random_resized_crop=True, crop_scale=(0.2, 0.5))
    recipe, size = dataclasses.replace(recipe, train_size=train_size), train_size or 16
    dataset = load_data(recipe)
    assert dataset.left_out and dataset.train.num_examples == 8
    augmentation = make_augmentation(recipe, dataset)
    images, _ = next(dataset.train.batches(8, shuffle_seed=5, augmentation=augmentation).as_numpy_iterator())
    order = np.random.Generator(np.random.Philox(key=[5, 0])).permutation(8)
    draws = augmentation.draws(5, 0, order)["random_resized_crop"]
    for image, row, path in zip(images, draws, dataset.train.paths[order], strict=True):
        original = Image.open(path)
        box = operations.crop_box(row.tolist(), original.height, original.width, (0.2, 0.5), (3 / 4, 4 / 3))
        expected = np.asarray(original.crop(box).resize((size, size), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(image, expected)
    assert dataset.image_shape == (16, 16, 3)
    off = dict(random_resized_crop=False, crop_scale=(0.08, 1.0), train_size=None)
    plain = load_data(dataclasses.replace(recipe, **off))
    assert isinstance(plain.train, MemorySplit) and isinstance(dataset.test, MemorySplit)
    np.testing.assert_array_equal(dataset.test.all_images, plain.test.all_images)


def test_training_images_may_be_smaller_than_those_that_are_evaluated(split):
    options = dict(random_resized_crop=True, crop_scale=(0.2, 0.5))
    images, _ = next(split.batches(20, augmentation=Augmentation(train_size=7, **options)).as_numpy_iterator())
    draws = Augmentation(**options).draws(0, 0, np.arange(split.num_examples))["random_resized_crop"]
    for image, stored, row in zip(images, split.examples(np.arange(20)), draws, strict=False):
        box = operations.crop_box(row.tolist(), *stored.shape[:2], (0.2, 0.5), (3 / 4, 4 / 3))
        expected = Image.fromarray(stored).crop(box).resize((7, 7), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(expected))


def test_erasing_leaves_the_mean_and_comes_after_the_normalization(split):
    preprocessing = Preprocessing(1, (0.2, 0.3, 0.4), (0.5, 0.5, 0.5))
    options = dict(augmentation=Augmentation(random_erasing=1.0), preprocessing=preprocessing)
    images, _ = next(split.batches(103, shuffle_seed=0, **options).as_numpy_iterator())
    assert images.shape[1:] == (14, 12, 3)
    assert 0.02 < (images == 0).all(-1).mean() < 0.33


def test_show_data_draws_one_image_many_times(tmp_path, capsys):
    out = tmp_path / "grid.png"
    options = "mnist_best --augmented --dataset digits --mixup 0.4 --random-erasing 0.5 --image 3 --out"
    show_data.main([*options.split(), str(out)])
    assert f"unchanged and 35 times as mnist_best changes it, in {out}" in capsys.readouterr().out
    with Image.open(out) as grid:
        assert min(grid.size) > 500


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--augmented", "needs a recipe"),
        ("mnist_cnn --augmented --dataset digits", "changes no image at random"),
        ("mnist_best --augmented --dataset digits --image 5000", "image 5000 of"),
        ("mnist_best --augmented --dataset digits --epoch 3", "Unrecognized options"),
    ],
)
def test_show_data_says_what_it_needs(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        show_data.main(options.split())
