"""kerasref demo [--runs runs] [--port 7860]: a local page to try trained networks on; needs requirements-demo.txt."""

import os
import signal
import socket
import tempfile
import time
from pathlib import Path

from kerasref.command_line import import_tensorflow, invocation
from kerasref.errors import Stopped, UserError
from kerasref.text import printable


def demo(runs: Path = Path("runs"), host: str = "127.0.0.1", port: int = 7860, data_dir: str | None = None) -> None:
    """Open a page on this machine: draw a digit or drop an image, see what the network sees and answers.

    Args:
        runs: the folder of run directories to choose from
        host: the address to listen on; with any but the default, others on the network reach the page
        port: of the page
        data_dir: directory of TensorFlow Datasets with the datasets whose test images can be clicked
    """
    names = trained(runs)
    host = f"[{host.strip('[]')}]" if ":" in host else host  # as addresses have it
    with tempfile.TemporaryDirectory(prefix="kerasref-demo-") as uploads:  # that only this user can read
        os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False")
        import gradio as gr

        expect_free(host, port)
        import_tensorflow()
        serve(gr, runs, names, host, port, data_dir)


def serve(gr, runs: Path, names: list[str], host: str, port: int, data_dir: str | None) -> None:
    """Run the page until SIGINT or SIGTERM."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from kerasref.demo.page import build_page
    from kerasref.demo.server import LARGEST_BODY, OwnPageOnly

    hosts = ["localhost", "127.0.0.1", "[::1]", host] if host != "0.0.0.0" else ["*"]
    # A page elsewhere that resolves its name to this address is refused by the Host it sends.
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(OwnPageOnly)]
    build_page(runs, names, data_dir).launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,  # it would advertise public links
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        max_file_size=LARGEST_BODY,
        theme=gr.themes.Default(font=["sans-serif"], font_mono=["monospace"]),  # no font from elsewhere
        app_kwargs={"middleware": middleware},
    )
    print(f"open http://{host}:{port} (Ctrl-C ends the page)", flush=True)
    signal.signal(signal.SIGTERM, _stop)  # so that the folder of the uploads is removed
    while True:
        time.sleep(1)


def _stop(number, frame):
    raise Stopped("stopped", number)


def expect_free(host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), port), family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error}); give another --port or --host") from None


def trained(runs: Path) -> list[str]:
    """Return the names of the run directories in `runs` with a trained network, newest first."""
    folders = [file.parent for file in runs.glob("*/model.keras") if (file.parent / "recipe.json").is_file()]
    folders = [folder for folder in folders if folder.name == printable(folder.name)]
    if not folders:
        raise UserError(f"{runs}: no trained network in it; first: {invocation('train')} mnist_cnn_fast")
    return [path.name for path in sorted(folders, key=lambda path: -(path / "model.keras").stat().st_mtime)]
