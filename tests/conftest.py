import os
import shutil
from pathlib import Path

import pytest

import kerasref  # noqa: F401 (turns oneDNN on, before a test imports TensorFlow)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


# Files whose tests train, start processes, or build large networks: marked slow, so that `make check` leaves them out.
SLOW = {
    *("api/test_wheel.py", "benchmark/test_benchmark.py", "crash/test_crash.py", "fuzz/test_fuzz.py"),
    *("hostile/test_hostile.py", "models/test_backends.py", "models/test_networks.py", "notes/test_training.py"),
    *("export/test_export.py", "export/test_kill.py", "export/test_networks.py", "export/test_sources.py"),
    *("explain/test_against_pytorch.py", "explain/test_explain_command.py"),
    *("experiments/test_notes_experiments.py", "experiments/test_postgresql.py", "experiments/test_strategies.py"),
    *("experiments/test_sweep.py", "experiments/test_sweep_trainings.py", "experiments/test_run_manager.py"),
    *("pytorch/test_parity.py", "pytorch/test_trajectories.py", "pytorch/test_comparison.py"),
    *("pytorch/test_differences.py", "pytorch/test_pair_differences.py", "pytorch/test_pairs.py"),
    *("scripts/test_demo.py", "scripts/test_menu.py", "scripts/test_scripts.py", "training/test_distribution.py"),
    *(
        "training/test_extension.py",
        "training/test_training_options.py",
        "training/test_tensorboard.py",
        "training/test_tensorboard_browser.py",
    ),
    *(
        "training/test_averages.py",
        "training/test_training.py",
        "training/test_transfer.py",
        "training/test_disk_faults.py",
    ),
    *("pytorch/test_porting.py", "pytorch/test_published_weights.py", "pytorch/test_initializers.py"),
    *("docs/test_readme.py", "docs/test_pytorch_to_keras.py", "models/test_weight_files.py", "export/test_damaged.py"),
    *(
        "pretrained/test_pretrained.py",
        "api/test_moved.py",
        "data/test_foreign_files.py",
        "data/test_sources.py",
        "training/test_old_runs.py",
    ),
    *("export/test_evaluating.py", "pytorch/test_evaluation.py", "evaluation/test_evaluate.py"),
    *("export/test_foreign.py", "export/test_html.py"),
    *("experiments/test_results_table.py", "data/test_pictures.py", "notes/test_errata_pytorch.py"),
    *("experiments/test_rates_and_folds.py", "forgery/test_forgery.py", "training/test_chain.py"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.relative_to(ROOT / "tests").as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def mnist_data_dir(shared_data, tmp_path_factory) -> Path:
    """A folder where TensorFlow Datasets finds the whole of MNIST, imported from its four files."""
    from kerasref.data.importing import import_dataset

    data_dir = tmp_path_factory.mktemp("tfds")
    import_dataset("mnist", shared_data / "mnist", data_dir)
    return data_dir


@pytest.fixture(scope="session")
def torchvision():
    from kerasref.pytorch.installed import import_torchvision

    try:
        return import_torchvision()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Debian's chromium, with a profile of its own and a log of what it requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs requirements-test.txt")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync "
    flags += "disable-component-update disable-dev-shm-usage window-size=1500,1100"
    for flag in (*flags.split(), f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def float64():
    """Keras in float64 for one test, and back afterwards."""
    from kerasref.lab.float_type import float_type

    with float_type("float64"):
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """The index of checked folders goes to a folder of the tests, also in the processes that they start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
