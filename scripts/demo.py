"""A local page to try trained networks on: demo.py [--runs runs] [--port 7860]; needs requirements-demo.txt."""

import os
import socket
import threading
import time
from functools import lru_cache
from pathlib import Path

from command_line import import_tensorflow, parse, quiet_start, run

from kerasref.errors import UserError

LARGEST_BODY = 25 * 2**20  # bytes of one request
GALLERY = 24  # test pictures


def demo(runs: Path = Path("runs"), host: str = "127.0.0.1", port: int = 7860, data_dir: str | None = None) -> None:
    """Opens a page on this machine: draw a digit or drop a picture, see what the network sees and answers.

    Args:
        runs: the folder of run directories to choose from
        host: the address to listen on; other than the default, others on the network reach the page
        port: of the page
        data_dir: where TensorFlow Datasets keeps the sets whose test pictures can be clicked
    """
    names = trained(runs)
    try:
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        import gradio as gr
    except ModuleNotFoundError:
        raise UserError("the page needs Gradio: pip install -r requirements-demo.txt, or: make demo") from None
    if ":" in host:
        host = f"[{host.strip('[]')}]"  # as addresses have it
    expect_free(host, port)
    import_tensorflow()
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    hosts = ["localhost", "127.0.0.1", "[::1]", host] if host != "0.0.0.0" else ["*"]
    page(gr, runs, names, data_dir).launch(
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=LARGEST_BODY,
        theme=gr.themes.Default(font=["sans-serif"], font_mono=["monospace"]),  # no font from elsewhere
        # A page elsewhere that resolves its name to this address is refused by the Host it sends.
        app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(LimitBody)]},
    )


def expect_free(host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), port), family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error}); give another --port or --host") from None


def trained(runs: Path) -> list[str]:
    """Names of the run directories in `runs` with a trained network, newest first; raises UserError for none."""
    found = [file.parent for file in runs.glob("*/model.keras") if (file.parent / "recipe.json").is_file()]
    if not found:
        raise UserError(f"{runs}: no trained network in it; first: python scripts/train.py mnist_cnn_fast")
    return [path.name for path in sorted(found, key=lambda path: -(path / "model.keras").stat().st_mtime)]


def page(gr, runs: Path, names: list[str], data_dir: str | None):
    from PIL import Image

    from kerasref.export.predictors import load, predict_input, read_input

    loading = threading.Lock()

    @lru_cache(maxsize=4)
    def predictor(name):
        if name not in names:
            raise gr.Error(f"no run {name!r}")
        with loading, quiet_start():  # one at a time: it closes stderr meanwhile
            return load(runs / name)

    @lru_cache(maxsize=4)
    def pictures(name):
        """The first test pictures with their class, uint8; none for digits, which are drawn."""
        from kerasref.build import load_run_data
        from kerasref.runs import RunFiles

        if predictor(name).contract.picture == "digit":
            return []
        test = load_run_data(RunFiles(runs / name), data_dir).test
        if test is None:
            return []
        images, labels = next(test.batches(GALLERY).as_numpy_iterator())
        classes = predictor(name).labels
        return [(image.astype("uint8"), classes[label]) for image, label in zip(images, labels, strict=True)]

    def choose(name):
        try:
            found = pictures(name)
        except UserError as error:
            gr.Info(str(error))
            found = []
        shown = [(as_shown(image), label) for image, label in found]
        return gr.Gallery(shown, visible=bool(shown)), None, None, "", None

    def as_shown(pixels):
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        return image.resize([side * max(1, 280 // image.height) for side in image.size], Image.Resampling.NEAREST)

    def answer(name, pixels):
        start = time.perf_counter()
        prediction = predict_input(predictor(name), pixels, top=5)
        milliseconds = 1000 * (time.perf_counter() - start)
        likely = {one["label"]: one["probability"] for one in prediction["top"]}
        named = "not sure" if prediction["sure"] is False else prediction["label"]
        return as_shown(pixels), likely, f"**{named}** in {milliseconds:.1f} ms"

    def of_drawing(name, drawing):
        if not drawing or drawing["composite"] is None:
            raise gr.Error("nothing was drawn")
        return of_file(name, png(drawing["composite"]))

    def of_file(name, file):
        if not file:
            raise gr.Error("no picture was given")
        try:
            return answer(name, read_input(predictor(name), file if isinstance(file, bytes) else Path(file)))
        except UserError as error:
            raise gr.Error(str(error).removeprefix(f"{Path(str(file)).parent}{os.sep}")) from None

    def of_gallery(name, event: gr.SelectData):
        return answer(name, pictures(name)[event.index][0])

    with gr.Blocks(title="kerasref", analytics_enabled=False) as blocks:
        gr.Markdown("# kerasref\nDraw a digit, drop a picture, or click a test picture. Nothing leaves this machine.")
        chosen = gr.Dropdown(names, value=names[0], label="network (a directory of runs)")
        with gr.Row():
            with gr.Column():
                drawing = gr.Sketchpad(
                    type="pil",
                    canvas_size=(280, 280),
                    fixed_canvas=True,
                    layers=False,
                    brush=gr.Brush(default_size=18, colors=["#000000"], color_mode="fixed"),
                    label="draw (with the brush)",
                    elem_id="drawing",
                )
                read = gr.Button("Read the drawing", variant="primary", elem_id="read")
                dropped = gr.File(label="or drop a picture", elem_id="dropped", height=120)
            with gr.Column():
                said = gr.Markdown(elem_id="answer")
                likely = gr.Label(label="probabilities", num_top_classes=5)
                seen = gr.Image(label="what the network saw", interactive=False, buttons=[], height=280, elem_id="seen")
        gallery = gr.Gallery(visible=False, label="test pictures", columns=8, allow_preview=False, elem_id="gallery")
        outputs = [seen, likely, said]
        read.click(of_drawing, [chosen, drawing], outputs)
        dropped.upload(of_file, [chosen, dropped], outputs)
        gallery.select(of_gallery, [chosen], outputs)
        for event in (chosen.change, blocks.load):
            event(choose, [chosen], [gallery, seen, likely, said, dropped])
    return blocks


def png(image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class LimitBody:
    """ASGI middleware: a request's body over LARGEST_BODY is refused with 413, said or not how long it is."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        headers = dict(scope.get("headers") or ())
        if int(headers.get(b"content-length", b"0")) > LARGEST_BODY:
            return await self._refuse(send)
        received, started = 0, False

        async def counted():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:  # nothing more is read; to the page it is as if the sender had gone
                return {"type": "http.disconnect"}
            return message

        async def answered(message):
            nonlocal started
            if started or received <= LARGEST_BODY:
                started = True
                await send(message)

        try:
            await self.app(scope, counted, answered)
        except Exception:
            if started or received <= LARGEST_BODY:
                raise
        if received > LARGEST_BODY and not started:
            await self._refuse(send)

    async def _refuse(self, send):
        text = f"the request is over {LARGEST_BODY // 2**20} MB\n".encode()
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": text})


if __name__ == "__main__":
    run(lambda args: parse(demo, args))
