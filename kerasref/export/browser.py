"""Ask a model.html for its answers, in Chromium or Chrome without a window."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from kerasref.errors import RunError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = ("headless", "disable-gpu", "no-first-run", "disable-background-networking", "disable-dev-shm-usage")
IMAGES = "<!-- images -->"  # in model.html: where a copy of it has the images to answer for
PAGE_BYTES = 2**25  # of images in one page
HOUR = 3600


def find_browser() -> str:
    """Return the path of the first of `BROWSERS`; raise RunError where there is none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise RunError(
        "model.html is compared with Keras in Chromium or Chrome, and neither is on the PATH; this file was not "
        "written\ninstall one, such as Debian's package chromium, or leave html out of --format"
    )


def answers(file: Path, images: np.ndarray, work: Path) -> dict:
    """Return the page's answers for raw images uint8 [n, height, width, channels], as a predictor has them: arrays
    probabilities, logits, class_id and label; and seconds, of one image. work: a folder for temporary files.

    Raises RunError where no browser is there, or the page fails in it.
    """
    size = max(1, PAGE_BYTES // images[0].nbytes)
    parts = [_of_page(file, images[i : i + size], work) for i in range(0, len(images), size)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "seconds"}
    return joined | {"seconds": parts[0]["seconds"]}


def _of_page(file: Path, images: np.ndarray, work: Path) -> dict:
    copy = work / f"asked_{file.name}"
    block = f'<script type="text/plain">{base64.b64encode(images.tobytes()).decode()}</script>'
    copy.write_text(file.read_text(encoding="utf-8").replace(IMAGES, block), encoding="utf-8")
    flags = [*FLAGS, f"user-data-dir={work.resolve() / 'browser'}", "dump-dom"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium's sandbox refuses root; the page is our own
        flags.append("no-sandbox")
    command = [find_browser(), *(f"--{flag}" for flag in flags), copy.resolve().as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HOUR)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{file.name} cannot be read back: {error}\nthis file was not written") from None
    if not (found := re.search(r"ANSWERS ([\w+/=]+) END", done.stdout)):
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RunError(f"{file.name} cannot be read back: no answers in the page ({reason})\nthis file was not written")
    page = json.loads(base64.b64decode(found[1]))
    count, numbers = len(images), {name: base64.b64decode(page[name]) for name in ("probabilities", "logits")}
    return {
        **{name: np.frombuffer(bytes, "<f4").reshape(count, -1) for name, bytes in numbers.items()},
        "class_id": np.array(page["class_id"], np.int64),
        "label": np.array(page["label"], dtype=str),
        "seconds": page["milliseconds"] / 1e3,
    }
