"""The page in Debian's chromium: draw, upload, read the answer; and what the page must refuse."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasref.cli.demo import expect_free
from kerasref.data.images import png_of
from kerasref.demo.decoding import read_input
from kerasref.errors import UserError
from tests.digits import on_paper

ROOT = Path(__file__).resolve().parent.parent.parent
pytest.importorskip("gradio", reason="needs requirements-demo.txt")
MARKUP = "![x](http://markdown.example/a.png)<img src=http://html.example/b.png>"  # after the digit, in each class name


@pytest.fixture(scope="module")
def served(tmp_path_factory, trained):
    """A page over one quickly trained network whose classes have hostile names: its port, its temporary folder."""
    runs, port, temporary = tmp_path_factory.mktemp("runs"), _free_port(), tmp_path_factory.mktemp("temporary")
    shutil.copytree(trained[0], runs / "digits")
    recipe = runs / "digits" / "recipe.json"
    settings = json.loads(recipe.read_text())
    settings["dataset"]["class_names"] = [f"{digit}{MARKUP}" for digit in range(10)]
    recipe.write_text(json.dumps(settings))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [sys.executable, ROOT / "scripts" / "demo.py", "--runs", runs, "--port", str(port)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    page = subprocess.Popen(command, cwd=runs, env=environment, **options)
    try:
        assert page.stdout.readline() == f"open http://127.0.0.1:{port} (Ctrl-C ends the page)\n"  # no public link
        yield port, temporary
    finally:
        page.terminate()
        assert page.wait(timeout=30) == 143
        assert list(temporary.glob("kerasref-demo-*")) == [] == list((ROOT / "kerasref").rglob("*.pyi"))


@pytest.fixture
def port(served):
    return served[0]


def test_draw_a_one_and_a_zero_and_upload_a_picture(port, browser, tmp_path):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def read(after=None):
        """The label that the page shows next to the time, once it is another text than `after`."""

        def text(_):
            found = browser.find_element(By.CSS_SELECTOR, "#answer p").text  # not the progress beside it
            return found if " ms" in found and found != after else None

        redrawn = [StaleElementReferenceException]  # between finding the element and asking for its text
        return WebDriverWait(browser, 30, ignored_exceptions=redrawn).until(text)

    browser.implicitly_wait(30)
    strokes = [(0, -80), (0, 160)], [(45, 0), *_circle()]  # a one, a zero
    answers, last = [], None
    for moves in strokes:
        browser.get(f"http://127.0.0.1:{port}/")
        canvas = browser.find_element(By.CSS_SELECTOR, "#drawing canvas")
        browser.find_element(By.CSS_SELECTOR, "#drawing button[aria-label=Brush]").click()
        time.sleep(1)  # the canvas takes its size after it is there
        pen = ActionChains(browser, duration=30).move_to_element_with_offset(canvas, *moves[0]).click_and_hold()
        for x, y in moves[1:]:
            pen.move_by_offset(x, y)
        pen.release().perform()
        time.sleep(0.5)
        browser.find_element(By.ID, "read").click()
        last = read()
        answers.append(last.split(" in ")[0])
    assert answers == [f"1{MARKUP}", f"0{MARKUP}"]  # as text

    browser.find_element(By.CSS_SELECTOR, "#dropped input[type=file]").send_keys(str(_three(tmp_path)))
    assert read(after=last).startswith(f"3{MARKUP} in ")
    (tmp_path / "no.png").write_text("no picture")
    browser.get(f"http://127.0.0.1:{port}/")
    browser.find_element(By.CSS_SELECTOR, "#dropped input[type=file]").send_keys(str(tmp_path / "no.png"))
    refused = browser.find_element(By.CSS_SELECTOR, ".toast-body").get_attribute("textContent")
    assert "no.png: not a JPEG" in refused

    requested = list(_requested(browser))
    assert len(requested) > 10
    allowed = (f"http://127.0.0.1:{port}/", "data:", "blob:", "about:", "chrome")  # the last: its own new tab
    assert [url for url in requested if not url.startswith(allowed)] == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/", {"Host": "attacker.example"}, 400),
        ("GET", "/", {"Origin": "http://attacker.example"}, 403),
        ("GET", "/", {"Origin": "null"}, 403),
        ("POST", "/gradio_api/upload", {"Origin": "http://attacker.example"}, 403),
        ("POST", "/gradio_api/upload", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/gradio_api/upload", {"Content-Length": str(10**10)}, 413),
        ("POST", "/gradio_api/upload", {"Content-Length": "-1"}, 400),
        ("GET", "/gradio_api/file=/etc/passwd", {}, 403),
        ("GET", "/gradio_api/file=../../../../etc/passwd", {}, 403),
        ("GET", "/static/../../../../../etc/passwd", {}, 403),
    ],
)
def test_what_the_page_refuses(port, method, path, headers, status):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    assert b"root:" not in answer.read()
    if status == 200:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self' data: blob:;" in policy and "http" not in policy and "*" not in policy


def test_a_body_of_unsaid_length_is_refused_where_it_grows_too_large(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    begin = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = iter([begin, *[bytes(2**20)] * 30])
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer came before all was sent
        connection.request("POST", "/gradio_api/upload", body, headers, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_the_drawing_is_read_by_the_rules_for_images_and_removed(served, tmp_path):
    """What is not a known format is refused although Pillow reads it; EPS would be given to Ghostscript."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    port, temporary = served
    client, image = Client(f"http://127.0.0.1:{port}", verbose=False), Image.open(_three(tmp_path))
    (uploads,) = temporary.glob("kerasref-demo-*")

    def read(file, api_name="/of_upload"):
        drawing = {"background": None, "layers": [], "composite": file}
        return client.predict("digits", drawing if api_name == "/of_upload" else file, api_name=api_name)

    seen, _, answer, looked = read(handle_file(tmp_path / "three.png"))
    assert "<strong>3![x](http://markdown.example/a.png)&lt;img src=" in answer
    with Image.open(seen) as below, Image.open(looked) as over:  # orange over grey
        assert below.size == over.size and np.ptp(np.asarray(over.convert("RGB"), int), axis=2).max() > 50
    large = tmp_path / "88-megapixels.png"
    Image.new("1", (11_000, 8_000)).save(large)
    for name in ("drawing.tga", "drawing.ico", "drawing.jp2", "drawing.eps"):
        image.save(tmp_path / name)
    for path in (large, *tmp_path.glob("drawing.*")):
        for api_name in ("/of_upload", "/of_upload_1"):
            with pytest.raises(AppError, match=r"million pixels|not a JPEG"):
                read(handle_file(path), api_name)
    for api_name in ("/of_upload", "/of_upload_1"):  # the server would ask this host
        with pytest.raises(AppError, match=r"found an address|error"):
            read({"path": "http://asked.example/x.png", "meta": {"_type": "gradio.FileData"}}, api_name)
    left = [file for file in uploads.rglob("*") if file.suffix in (".tga", ".ico", ".jp2", ".eps")]
    assert left == [] and not list(uploads.rglob(large.name)) and not list(uploads.rglob("three.png"))
    assert uploads.stat().st_mode & 0o077 == 0  # no other user enters


def test_an_image_that_takes_too_long_is_given_up(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4000, 5000), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png", compress_level=1)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"not decoded in 0\.05 seconds"):
        read_input(tmp_path / "large.png", "digit", (28, 28, 1), seconds=0.05)
    assert time.monotonic() - begun < 10
    assert read_input(_three(tmp_path), "digit", (28, 28, 1)).shape == (28, 28, 1)
    with pytest.raises(UserError, match="no digit"):
        read_input(png_of(np.full((50, 50, 1), 255, np.uint8)), "digit", (28, 28, 1))


def test_a_port_or_host_that_cannot_be_had_is_said(port):
    for host, number in (("127.0.0.1", port), ("no.such.host.invalid", 7860), ("127.0.0.1", 99999)):
        with pytest.raises(UserError, match="give another --port or --host"):
            expect_free(host, number)


def test_it_listens_on_loopback_only(port):
    with pytest.raises(ConnectionRefusedError):  # on Linux all of 127/8 is this machine's own
        socket.create_connection(("127.0.0.2", port), timeout=3)


def _requested(browser):
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def _circle():
    from math import cos, pi, sin

    points = [(45 * cos(2 * pi * i / 24), 75 * sin(2 * pi * i / 24)) for i in range(25)]
    return [(round(x1) - round(x0), round(y1) - round(y0)) for (x0, y0), (x1, y1) in pairwise(points)]


def _three(folder):
    on_paper(3)[0].save(folder / "three.png")
    return folder / "three.png"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
