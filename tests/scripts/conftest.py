import pytest

from tests.running import script


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run directory, whose name a shell would split, and what `kerasref train` printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "the first; run"
    options = ("--dataset", "digits", "--validation", "0.1", "--epochs", "6")
    return run_dir, script("train", "mnist_cnn", *options, "--run-dir", run_dir).stdout
