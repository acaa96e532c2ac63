"""model.html: computed by Chromium, it is the network; what is drawn goes the way of `predict`; nothing leaves it."""

import base64
import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image, ImageDraw

from kerasref.data import Preprocessing
from kerasref.data.images import Resizing, image_to_input, read_image
from kerasref.errors import RunError, UserError
from kerasref.evaluation.heat_maps import hires_cam
from kerasref.export import browser as in_browser
from kerasref.export.contract import Contract
from kerasref.export.exporting import ExportFailed, export
from kerasref.export.html import write_html
from kerasref.export.sources import Source
from kerasref.export.verification import expect, verify
from kerasref.export.verification import in_browser as thinned
from kerasref.lab.parity.comparison import randomize_weights
from kerasref.models.normalization import LocalResponseNormalization
from kerasref.models.pooling import adaptive_average_pooling
from tests.export.conftest import named, noise, source_of

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "tanh", "sigmoid", "silu", "softplus")


@pytest.fixture(scope="module")
def chromium():
    try:
        in_browser.find_browser()
    except RunError as error:
        pytest.skip(str(error))


def with_every_other_layer():
    """What kerasref's networks do not have: a model within the model, a layer that is called twice, and more."""
    x = inputs = keras.Input((14, 17, 3))
    x = layers.Rescaling((0.5, 0.7, 0.9), offset=0.1)(x)
    x = keras.Sequential([layers.Conv2D(4, 3, dilation_rate=2, padding="same"), layers.LeakyReLU(0.3)])(x)
    twice = layers.Conv2D(4, (2, 3), padding="same", activation="softplus")
    x = layers.Concatenate()([twice(twice(x)), layers.Conv2D(3, 2, padding="same")(x)])
    x = layers.Conv2D(5, (3, 2), strides=2, padding="same", use_bias=False)(x)
    x = layers.Concatenate()([layers.MaxPooling2D((3, 2), 2, "same")(x), layers.AveragePooling2D((2, 3), 2, "same")(x)])
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Add()([layers.Activation(name)(x) for name in ACTIVATIONS])
    x = layers.UpSampling2D((1, 2))(layers.ReLU(max_value=2.0, negative_slope=0.1)(x))
    x = LocalResponseNormalization(4, alpha=0.1)(x)
    x = adaptive_average_pooling(layers.SpatialDropout2D(0.5)(x), 3, name="adaptive")
    x = layers.Dense(6, activation="silu")(layers.Reshape((-1,))(x))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(4)(x)), name="every_other_layer")
    randomize_weights(model, seed=3)
    return dataclasses.replace(source_of(model), gives_probabilities=True)


SOURCES = {
    "two classes": lambda: named("logistic_regression"),
    "dense, batch norm": lambda: named("mlp", batch_norm=True, activation="gelu"),
    "tanh, average pooling, a temperature": lambda: named("lenet5", temperature=2.5),
    "max pooling, dropout": lambda: named("mnist_cnn"),
    "global max pooling, rescaling": lambda: named("airbench", units=(4, 6, 8)),
    "shortcut A around, global average": lambda: named("resnet20", shortcut="A_around"),
    "every other layer": with_every_other_layer,
}


@pytest.mark.usefixtures("chromium")
@pytest.mark.parametrize("made", SOURCES.values(), ids=SOURCES)
def test_a_browser_computes_what_keras_does(made, tmp_path):
    source, file = made(), tmp_path / "model.html"
    write_html(source, source.contract, file)
    result = verify(file, expect(source, noise(source, 20), None, "noise"), None, tmp_path)
    assert result["max_logit_difference"] < 1e-4 * result["logit_standard_deviation"]
    assert result["examples"] == 20


def test_at_most_1000_images_are_compared_in_a_browser():
    source, labels = named("logistic_regression"), np.arange(1500) % 2
    images = noise(source, 1500)
    asked = thinned(source, expect(source, images, labels, "1500 of 9000 images of a test split"))
    assert asked.what == "1000 of 9000 images of a test split" and len(asked.images) == len(asked.labels) == 1000
    np.testing.assert_array_equal(asked.images[[0, -1]], images[[0, -1]])
    few = expect(source, images[:20], None, "noise")
    assert thinned(source, few) is few


@pytest.mark.usefixtures("chromium")
def test_its_row_of_verification_json(source, tmp_path):
    entry = export(source, ("html",), tmp_path / "exports", quantize="float16", plain=True, input="nchw")["model.html"]
    assert entry["numbers"] == "float32" and entry["max_probability_difference"] <= 1e-5
    assert entry["accuracy_exported"] == entry["accuracy_keras"] > 0.8
    assert json.loads((tmp_path / "exports" / "verification.json").read_text())["model.html"] == entry
    assert sorted(path.name for path in (tmp_path / "exports").iterdir() if not path.name.startswith(".")) == [
        *("labels.txt", "model.html", "model_card.md", "verification.json")
    ]


@pytest.mark.usefixtures("chromium")
@pytest.mark.parametrize("allowed", [True, False], ids=["other weights", "a script of another checksum"])
def test_a_page_that_is_not_the_network_is_not_written(allowed, source, monkeypatch, tmp_path):
    def spoilt(source, contract, file):
        write_html(source, contract, file)
        page = file.read_text().replace("WEIGHTS.subarray", "WEIGHTS.slice().fill(0.1).subarray")
        policy = page[page.index("script-src '") : page.index("; style-src")]
        file.write_text(page.replace(policy, "script-src 'unsafe-inline'") if allowed else page)

    monkeypatch.setattr("kerasref.export.exporting.write_html", spoilt)
    with pytest.raises(ExportFailed, match=r"is not the network" if allowed else "cannot be read back: no answers"):
        export(source, ("html",), tmp_path, examples=20)
    assert not (tmp_path / "model.html").exists()


def test_without_a_browser_it_is_not_written(source, monkeypatch, tmp_path):
    monkeypatch.setattr(in_browser, "BROWSERS", ())
    with pytest.raises(ExportFailed, match="neither is on the PATH; this file was not written\ninstall one"):
        export(source, ("html",), tmp_path, examples=20)
    assert not (tmp_path / "model.html").exists()


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.DepthwiseConv2D(3, name="deep"), r"layer deep \(DepthwiseConv2D\)"),
        (layers.Conv2D(4, 3, groups=2, name="apart"), r"layer apart \(Conv2D in 2 groups\)"),
        (
            layers.Conv2D(4, 3, activation="hard_sigmoid", name="hard"),
            r"layer hard \(Conv2D with the activation hard_sigmoid\)",
        ),
        (layers.ReLU(threshold=1.0, name="above"), r"layer above \(ReLU with a threshold\)"),
        (layers.Dense(3, name="of_maps"), r"layer of_maps \(Dense of maps\)"),
    ],
)
def test_an_unknown_layer_is_named(layer, named, tmp_path):
    inputs = keras.Input((8, 8, 4))
    nested = keras.Sequential([keras.Input((8, 8, 4)), layer])
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(nested(inputs))))
    source = Source(model, Preprocessing(0, (0.0,), (1.0,)), Contract("m", (8, 8, 4), ("a", "b", "c"), "photo"), None)
    named = named.replace("layer ", f"layer {nested.name}/")
    with pytest.raises(UserError, match=rf"{named} is unknown to html; use saved_model, onnx or litert"):
        write_html(source, source.contract, tmp_path / "model.html")


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A LeNet-5 of digits, opened without a network; the log holds what it requests."""
    file = tmp_path_factory.mktemp("page") / "model.html"
    source = named("lenet5", "digit", input_shape=(30, 30, 1))
    write_html(source, source.contract, file)
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    browser.get_log("performance")
    browser.get(file.as_uri())
    return browser, source


def test_it_answers_a_drawing_without_a_network(page):
    from selenium.webdriver.common.action_chains import ActionChains

    browser, source = page
    stage = browser.find_element("id", "stage")
    assert not browser.find_element("id", "bars").is_displayed()
    drawing = ActionChains(browser, duration=0).move_to_element_with_offset(stage, -40, -60).click_and_hold()
    drawing.move_to_element_with_offset(stage, 40, -60).move_to_element_with_offset(stage, -10, 60).release().perform()
    answer = browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done({"
        "pixels: [...answer.pixels], probabilities: answer.probabilities, heat: [...heatMap(answer, 1)],"
        "shown: $('best').textContent, maps: document.querySelectorAll('#list canvas').length})))"
    )
    image = source.preprocessing(np.array(answer["pixels"], np.uint8).reshape(1, 28, 28, 1))
    expected = keras.ops.softmax(source.model(image)).numpy()[0]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    assert answer["shown"] == source.contract.class_names[expected.argmax()] and answer["maps"] == 7
    heat = hires_cam(source.model, image, np.array([1]))
    np.testing.assert_allclose(np.reshape(answer["heat"], heat.shape), heat, atol=1e-5 * heat.max())

    before = browser.find_element("id", "stage-title").text
    browser.find_element("id", "language").click()
    assert {before, browser.find_element("id", "stage-title").text} == {"Draw here", "在这里写"}


def test_it_requests_nothing_and_may_not(page):
    browser, _ = page
    refused = browser.execute_async_script(
        "const done = arguments[0], seen = [];"
        "document.addEventListener('securitypolicyviolation', (event) => seen.push(event.violatedDirective));"
        "new Image().src = 'https://example.com/a.png';"
        "fetch('https://example.com').catch(() => setTimeout(() => done(seen.sort()), 0))"
    )
    assert refused == ["connect-src", "img-src"]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # Chromium's own start page loads things, too.
    requests = {m["request"]["url"] for m in sent if m["documentURL"].startswith("file:")}
    others = {url for url in requests if not url.startswith("file:")}
    assert requests and others <= {"https://example.com/", "https://example.com/a.png"}


def drawing(number, size=(196, 196), colour=0, paper=255, width=13):
    """A curve of its own for each number, as RGB on paper with a shadow and noise."""
    random = np.random.default_rng(number)
    image = Image.new("L", size, paper)
    points = [tuple(point) for point in (random.uniform(0.2, 0.8, (5, 2)) * size).tolist()]
    ImageDraw.Draw(image).line(points, colour, width, joint="curve")
    shadow = np.linspace(0, 20 * (number % 2), size[0])[None, :] + random.normal(0, number % 3, image.size[::-1])
    grey = np.clip(np.asarray(image) + shadow - 10 * (number % 2), 0, 255)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def prepared(browser, image, **contract):
    """What prepare() of ink.js makes of an image, with other values in the contract."""
    rgba = base64.b64encode(image.convert("RGBA").tobytes()).decode()
    return np.array(
        browser.execute_script(
            "Object.assign(MODEL.contract, arguments[3]);"
            "return [...prepare({data: bytesOf(arguments[0]), width: arguments[1], height: arguments[2]})]",
            *(rgba, *image.size, contract),
        )
    ).reshape(contract["image_shape"])


def test_a_chosen_file_is_prepared_as_predict_does(page, tmp_path):
    browser, file = page[0], tmp_path / "transparent.png"
    image = drawing(2)
    image.putalpha(Image.fromarray((255 - np.asarray(image.convert("L")) // 2).astype(np.uint8)))  # paper behind
    image.save(file)
    browser.execute_script("Object.assign(MODEL.contract, {image_kind: 'digit', image_shape: [28, 28, 1]}); clear()")
    browser.find_element("id", "file").send_keys(str(file))
    wait = "const done = arguments[0], look = () => (answer ? done([...answer.pixels]) : setTimeout(look, 10)); look()"
    found = np.reshape(browser.execute_async_script(wait), (28, 28, 1))
    assert (
        np.abs(found - image_to_input(read_image(file), "digit", (28, 28, 1))).max() <= 8
    )  # blending rounds otherwise


@pytest.mark.parametrize(
    "options", [{}, {"size": (301, 420), "width": 25}, {"colour": 230, "paper": 40}, {"size": (90, 60), "width": 4}]
)
@pytest.mark.parametrize("number", range(3))
def test_a_drawn_digit_is_prepared_as_predict_does(page, number, options):
    image, shape = drawing(number, **options), (28, 28, 1)
    expected = image_to_input(image, "digit", shape)
    found = prepared(page[0], image, image_kind="digit", image_shape=shape)
    assert np.abs(found - expected).max() <= 1 and expected.max() > 200  # float32 there, float64 here


RESIZINGS = (Resizing(), Resizing(interpolation="bilinear"), Resizing(40, "bicubic"), Resizing(20, "bilinear"))


@pytest.mark.parametrize(
    ("kind", "shape", "resizing"),
    [*(("photo", (24, 32, 3), resizing) for resizing in RESIZINGS), ("garment", (28, 28, 1), Resizing())],
    ids=str,
)
def test_a_photograph_and_a_garment_are_prepared_as_predict_does(page, kind, shape, resizing):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 81, 3), dtype=np.uint8)
    image = Image.fromarray(pixels) if kind == "photo" else drawing(4, width=40)
    expected = image_to_input(image, kind, shape, resizing=resizing)
    changed = {"image_kind": kind, "image_shape": shape, "resizing": dataclasses.asdict(resizing)}
    found = prepared(page[0], image, **changed)
    assert np.abs(found - expected).max() <= 1  # Pillow's weights have 22 bits
