"""The wheel as a user has it: built, installed outside the checkout, called from another directory."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from kerasref import pretrained

ROOT = Path(__file__).resolve().parent.parent.parent
API = """
import sys
import kerasref
assert "keras" not in sys.modules and "train" in dir(kerasref)
run = kerasref.train("softmax_regression", dataset="digits", epochs=1, lr=0.01, tensorboard=False)
again = kerasref.Run(run.path)
assert 0.1 < again.evaluate()["accuracy"] == again.metrics["accuracy"] <= 1
assert again.history["epoch"].tolist() == [1] and again.history["loss"].notna().all()
assert again.report.stat().st_size > 10_000 and again.model().count_params() == 7850
one, many = again.predict(sys.argv[1]), again.predict([sys.argv[1]] * 2)
assert [each["label"] for each in many] == [one["label"]] * 2 and one["label"] in again.class_names
assert all(abs(each["probability"] - one["probability"]) < 1e-6 for each in many)  # rounding depends on the batch
assert again.export("saved_model")["saved_model"].is_dir()
assert kerasref.build_model("lenet5").count_params() == 61_706
assert kerasref.load_dataset("digits").test.num_examples == 359
assert kerasref.recipes()["lenet5"].recipe.model == "lenet5"
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with the wheel, and what kerasref needs from the one that runs the tests, but not its checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    copy = folder / "source"  # the build leaves folders in the source
    for name in ("kerasref", "pyproject.toml", "README.md", "LICENSE", *map(str, ROOT.glob("requirements*.txt"))):
        copy.mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / name, copy], check=True)
    subprocess.run([*build, copy], check=True, timeout=200)
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", wheel], check=True, timeout=200, env=clean_environment())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    return folder / "venv" / "bin"


def clean_environment():
    """Without the variables that show the checkout to Python or pip."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def call(environment, *command, cwd):
    command = [str(environment / command[0]), *map(str, command[1:])]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=clean_environment(), timeout=280)


def test_the_command_and_the_api(environment, tmp_path):
    package = next((environment.parent / "lib").glob("python*")) / "site-packages" / "kerasref"
    before = {file: file.stat().st_mtime_ns for file in package.rglob("*") if "__pycache__" not in str(file)}
    assert {"py.typed", "report.html"} <= {file.name for file in before}

    files = {file.name for file in pretrained.FOLDER.iterdir() if file.is_file()}
    assert files == {file.name for file in (package / "pretrained").iterdir() if file.is_file()}
    for name in pretrained.names()[:1]:
        predicted = call(environment, "kerasref", "predict", name, ROOT / "docs" / "images" / "digit.png", cwd=tmp_path)
        assert predicted.returncode == 0 and "digit.png: " in predicted.stdout, predicted.stderr

    where = call(environment, "python", "-c", "import kerasref; print(kerasref.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).parent == package and str(environment) in (environment / "kerasref").read_text()
    listed = call(environment, "kerasref", cwd=tmp_path)
    assert listed.returncode == 0 and "show-data" in listed.stdout, listed.stderr
    train = ("train", "mnist_cnn", "--dataset", "digits", "--epochs", "1")
    trained = call(environment, "kerasref", *train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert f"next:   kerasref export runs/{run.name} --format saved_model" in trained.stdout
    assert (run / "report.html").exists()
    done = call(environment, "python", "-c", API, ROOT / "docs" / "images" / "digit.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    maintenance = call(environment, "kerasref", "results", cwd=tmp_path)
    assert maintenance.returncode == 2 and "expected a checkout" in maintenance.stderr
    after = {file: file.stat().st_mtime_ns for file in package.rglob("*") if "__pycache__" not in str(file)}
    assert after == before, "something was written next to the installed package"
