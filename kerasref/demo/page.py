"""The page: a network to choose, a canvas, a drop zone, a gallery of test images; what the network saw and answers, and
where it looked."""

import contextlib
import html
import threading
import time
from abc import ABCMeta
from functools import lru_cache
from pathlib import Path

import gradio as gr
from gradio.components.base import server
from PIL import Image

from kerasref.build import load_run_data, load_trained_model
from kerasref.command_line import quiet_start
from kerasref.demo.decoding import read_input
from kerasref.errors import UserError
from kerasref.evaluation.heat_maps import heat_maps
from kerasref.evaluation.plot_style import heat_pixels
from kerasref.export.predictors import load, predict_input
from kerasref.runs import RunFiles
from kerasref.text import printable

GALLERY = 24  # test images
AT_ONCE = 4  # images of different visitors
DRAWINGS = 16  # kept until they are read
UNUSED = (60, 600)  # seconds: how often uploads that were never read are looked for, and how old they are removed


class WithoutStub(type(gr.File)):
    """Gradio's metaclass writes a .pyi file next to the source of each component; these have no events of their own."""

    def __new__(cls, name, bases, attributes):
        return ABCMeta.__new__(cls, name, bases, attributes)


class LocalFiles:
    """A component that takes uploads alone: Gradio would download an address that a request gives for a file."""

    async def async_move_resource_to_block_cache(self, url_or_file_path):
        if "://" in str(url_or_file_path):
            raise gr.Error("expected an uploaded file, found an address")
        return await super().async_move_resource_to_block_cache(url_or_file_path)


class DropZone(LocalFiles, gr.File, metaclass=WithoutStub):
    def get_block_name(self):
        return "file"


class Canvas(LocalFiles, gr.Sketchpad, metaclass=WithoutStub):
    """A sketchpad whose drawing comes as a path or as bytes: Gradio would decode it in any format that Pillow knows."""

    def get_block_name(self):
        return "imageeditor"

    @server
    def accept_blobs(self, data):
        if data.data["type"] == "composite":  # the drawing as it is seen; its layers are not used
            self.blob_storage[data.data["id"]] = data.files[0][1]
            for old in list(self.blob_storage)[:-DRAWINGS]:
                self.blob_storage.pop(old, None)

    def preprocess(self, payload) -> Path | bytes | None:
        if payload is None:
            return None
        if payload.id is not None:
            return self.blob_storage.pop(payload.id, None)
        return Path(payload.composite.path) if payload.composite else None


def build_page(runs: Path, names: list[str], data_dir: str | None) -> gr.Blocks:
    """names: of the run directories in `runs` to choose from."""
    loading = threading.Lock()

    @lru_cache(maxsize=4)
    def predictor(name):
        if name not in names:
            raise gr.Error("no such run")
        with loading, quiet_start():  # one at a time: stderr is closed meanwhile
            return load(runs / name)

    @lru_cache(maxsize=4)
    def network(name):
        with loading, quiet_start():
            return load_trained_model(RunFiles(runs / name)), RunFiles(runs / name).preprocessing()

    def heat_over(name, pixels, class_id):
        """The input in grey with HiResCAM over it; None for a network without convolutions."""
        heat, below = heat_maps(*network(name), pixels[None], [class_id]), enlarged(pixels).convert("L").convert("RGBA")
        if heat is None:
            return None
        over = Image.fromarray(heat_pixels(heat[0])).resize(below.size, Image.Resampling.BILINEAR)
        return Image.alpha_composite(below, over).convert("RGB")

    @lru_cache(maxsize=4)
    def test_images(name):
        """The first test images, uint8, with their class; none for digits, which are drawn."""
        if predictor(name).contract.image_kind == "digit":
            return []
        test = load_run_data(RunFiles(runs / name), data_dir).test
        images, labels = next(test.batches(GALLERY).as_numpy_iterator()) if test else ((), ())
        classes = predictor(name).contract.class_names
        return [(image.astype("uint8"), printable(classes[i])) for image, i in zip(images, labels, strict=True)]

    def choose(name):
        images = []
        with errors_shown(warn=True):
            images = [(enlarged(image), label) for image, label in test_images(name)]
        return gr.Gallery(images, visible=bool(images)), None, None, "", None, None

    def answer(name, pixels):
        start = time.perf_counter()
        prediction = predict_input(predictor(name), pixels, top=5)
        milliseconds = 1000 * (time.perf_counter() - start)
        likely = {printable(one["label"]): one["probability"] for one in prediction["top"]}
        label = "not confident" if prediction["confident"] is False else prediction["label"]
        text = f"<p><strong>{html.escape(printable(label))}</strong> in {milliseconds:.1f} ms</p>"
        return enlarged(pixels), likely, text, heat_over(name, pixels, prediction["class_id"])

    def of_upload(name, image):
        if not image:
            raise gr.Error("no image was given")
        image = image if isinstance(image, bytes) else Path(image)
        try:
            with errors_shown():
                contract = predictor(name).contract
                return answer(name, read_input(image, contract.image_kind, contract.image_shape, contract.resizing))
        finally:
            if isinstance(image, Path):  # in a folder of its own, named after its content
                with contextlib.suppress(OSError):
                    image.unlink()
                    image.parent.rmdir()

    def of_gallery(name, event: gr.SelectData):
        with errors_shown():
            return answer(name, test_images(name)[event.index][0])

    with gr.Blocks(title="kerasref", analytics_enabled=False, delete_cache=UNUSED) as blocks:
        gr.Markdown("# kerasref\nDraw a digit or drop an image. Nothing leaves this machine.")
        chosen = gr.Dropdown(names, value=names[0], label="network (a run directory)")
        with gr.Row():
            with gr.Column():
                drawing = Canvas(
                    canvas_size=(280, 280),
                    fixed_canvas=True,
                    layers=False,
                    sources=(),
                    brush=gr.Brush(default_size=18, colors=["#000000"], color_mode="fixed"),
                    label="draw (with the brush)",
                    elem_id="drawing",
                )
                read = gr.Button("Read the drawing", variant="primary", elem_id="read")
                dropped = DropZone(label="or drop an image", elem_id="dropped", height=120)
            with gr.Column():
                result = gr.HTML(elem_id="answer")
                likely = gr.Label(label="probabilities", num_top_classes=5)
                with gr.Row():
                    shown = {"interactive": False, "buttons": [], "height": 280}
                    seen = gr.Image(label="what the network saw", elem_id="seen", **shown)
                    looked = gr.Image(label="where it looked", elem_id="looked", **shown)
        gallery = gr.Gallery(
            visible=False, label="test images: click one", columns=8, allow_preview=False, elem_id="gallery"
        )
        outputs, limit = [seen, likely, result, looked], {"concurrency_limit": AT_ONCE}
        read.click(of_upload, [chosen, drawing], outputs, **limit)
        dropped.upload(of_upload, [chosen, dropped], outputs, **limit)
        gallery.select(of_gallery, [chosen], outputs, **limit)
        for event in (chosen.change, blocks.load):
            event(choose, [chosen], [gallery, *outputs, dropped], **limit)
    return blocks


@contextlib.contextmanager
def errors_shown(warn: bool = False):
    """Show a UserError as a message of the page, without the folders of this machine; the page reads it as HTML."""
    try:
        yield
    except UserError as error:
        text = " ".join(word.rpartition("/")[2] if word.startswith("/") else word for word in str(error).split(" "))
        if not warn:
            raise gr.Error(html.escape(printable(text))) from None
        gr.Info(html.escape(printable(text)))


def enlarged(pixels) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return image.resize([side * max(1, 280 // image.height) for side in image.size], Image.Resampling.NEAREST)
