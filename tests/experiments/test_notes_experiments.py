"""The experiments of the notes: each can be run, and the page says what the results say."""

import json
import shlex

import pytest
from maintain import experiments as notes_experiments
from maintain.experiment_plots import plot
from maintain.experiments import (
    FOLDER,
    PAGE,
    Experiment,
    block,
    digest,
    keep_results,
    names,
    read_experiment,
    settings_of,
    subject_of,
    table,
)
from PIL import Image

from kerasref.errors import RunError, UserError
from kerasref.lab.sweeps import sweep_command as sweep
from kerasref.lab.sweeps.results_table import add_rows, make_row, read_rows
from kerasref.lab.sweeps.values import shown


@pytest.mark.parametrize("name", names())
def test_every_experiment_is_one_that_can_be_run(name):
    experiment = read_experiment(name)
    assert bool(experiment.sweep) != bool(experiment.script)
    if experiment.script:
        assert "def measure(folder: Path, data_dir: str | None, dataset: str | None)" in (
            FOLDER / experiment.script
        ).read_text(encoding="utf-8")
    else:
        arguments, plan = sweep.plan_of(shlex.split(experiment.sweep))  # raises where a recipe refuses a setting
        assert arguments.out is None and plan.num_runs() > 3
        for field in filter(None, (experiment.facet, experiment.best_of)):
            assert len(plan.space()[field].choices) > 1


@pytest.mark.parametrize("name", names())
def test_page_and_picture_are_those_of_the_results(name):
    experiment = read_experiment(name)
    page = PAGE.read_text(encoding="utf-8")
    assert f"<!-- experiment {name} -->\n{block(experiment)}\n<!-- /experiment {name} -->" in page
    with Image.open(experiment.plot_file) as picture:
        assert picture.info["Source"] == digest(experiment)


@pytest.mark.parametrize("name", [name for name in names() if read_experiment(name).sweep])
def test_the_results_are_those_of_the_whole_sweep(name):
    experiment = read_experiment(name)
    _, plan = sweep.plan_of(shlex.split(experiment.sweep))
    rows, torn = read_rows(experiment.results)
    assert torn == [] and {row["run"] for row in rows} == set(range(1, plan.num_runs() + 1))
    for row in rows:
        setting = plan.grid()[(row["run"] - 1) // plan.seeds]
        assert {field: shown(row[field]) for field in setting} == {field: shown(setting[field]) for field in setting}
        assert row["reason"] or row["epoch"] <= plan.base["epochs"]


def test_an_unknown_one_lists_the_others():
    with pytest.raises(UserError, match="unknown experiment 'none'; choose from batch_norm, batch_size"):
        read_experiment("none")


def _rows(run, rate, seed, losses, optimizer="sgd", reason=None):
    fields = {"learning_rate": rate, "optimizer": optimizer, "seed": seed}
    rows = [{"run": run, "epoch": i, "loss": loss, "reason": None, **fields} for i, loss in enumerate(losses, start=1)]
    return [*rows, {"run": run, "epoch": None, "loss": None, "reason": reason, **fields}] if reason else rows


ROWS = [
    *_rows(1, 0.1, 0, [3.0, 1.0]),
    *_rows(2, 0.1, 1, [3.0, 2.0]),
    *_rows(3, 0.01, 0, [3.0, 0.5]),
    *_rows(4, 0.01, 1, [3.0], reason="loss is nan"),
    *_rows(5, 0.1, 0, [], optimizer="adam", reason="loss is nan"),
]


def test_a_setting_is_its_runs_at_their_ends():
    experiment = Experiment("test", "", y=("loss",))
    settings = settings_of(experiment, ROWS)
    assert [(setting.fields["learning_rate"], setting.values("loss")) for setting in settings] == [
        (0.1, [1.0, 2.0]),
        (0.01, [0.5]),
        (0.1, []),
    ]
    assert [len(setting.reasons) for setting in settings] == [0, 1, 1]
    assert table(experiment, settings).splitlines()[2:] == [
        "| 0.1 | sgd | 1.5 ± 0.7 |",
        "| 0.01 | sgd | 0.5 (1 failed) |",
        "| 0.1 | adam | failed |",
    ]


def test_the_best_value_of_a_field_is_one_with_which_no_run_failed():
    experiment = Experiment("test", "", y=("loss",), best_of="learning_rate")
    best = settings_of(experiment, ROWS)
    assert [(setting.fields["optimizer"], setting.fields["learning_rate"]) for setting in best] == [
        ("sgd", 0.1),
        ("adam", 0.1),
    ]


def test_a_field_as_x_is_a_column_a_value():
    experiment = Experiment("test", "", y=("loss",), x="learning_rate")
    assert table(experiment, settings_of(experiment, ROWS[:6])).splitlines() == [
        "| learning_rate=0.1 | learning_rate=0.01 |",
        "| ---: | ---: |",
        "| 1.5 ± 0.7 | 0.5 |",
    ]


@pytest.mark.parametrize("rows", [ROWS, []])
def test_results_with_a_setting_that_no_run_finished_replace_none(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(notes_experiments, "EXPERIMENTS", tmp_path)
    experiment = Experiment("test", "", y=("loss",))
    experiment.results.write_text("measured")
    new = tmp_path / "new" / "results.csv"
    add_rows(new, rows)
    with pytest.raises(RunError, match=r"optimizer=adam has no finished run: loss is nan|no run was started"):
        keep_results(experiment, new, 1.0)
    assert experiment.results.read_text() == "measured" and not experiment.results.with_suffix(".json").exists()
    add_rows(new, ROWS[:4], overwrite=True)
    keep_results(experiment, new, 1.0)
    assert experiment.results.read_text() == new.read_text()


def test_a_setting_without_a_finished_run_is_drawn_as_empty_axes():
    experiment = Experiment("test", "", y=("loss",), facet="optimizer")
    figure = plot(experiment, settings_of(experiment, ROWS))
    assert [len(axes.lines) for axes in figure.axes] == [2, 0]


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("optimizers", "notes_network on fashion_mnist"),
        ("regularisation", "mlp on fashion_mnist"),
        ("degradation", "cifar10_jpeg"),  # of several networks
        ("label_noise", "lenet5 on mnist"),
    ],
)
def test_a_plot_names_network_and_dataset(name, subject):
    experiment = read_experiment(name)
    assert subject_of(experiment) == subject
    figure = plot(experiment, settings_of(experiment, read_rows(experiment.results)[0]), subject)
    assert figure.get_suptitle() == f"{experiment.title} · {subject}"


def test_the_page_names_the_data_set_that_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(notes_experiments, "EXPERIMENTS", tmp_path / "kept")
    experiment = Experiment("test", "", y=("loss",), sweep="lenet5 --grid lr=0.1,0.01")
    rows = [make_row(number=n, epoch=1, params={"learning_rate": 1 / n}, seed=0, run_dir="r", loss=n) for n in (1, 2)]
    add_rows(tmp_path / "results.csv", rows)
    keep_results(experiment, tmp_path / "results.csv", 1.0, "/data/cifar10_jpeg")
    for line in (
        "python scripts/experiment.py test --dataset cifar10_jpeg\n",
        "python scripts/sweep.py lenet5 --grid lr=0.1,0.01 --dataset cifar10_jpeg    # the same\n",
    ):
        assert line in block(experiment)
    assert "/data" not in json.loads(experiment.results.with_suffix(".json").read_text())["command"]


def test_a_sweep_is_started_with_the_words_of_its_file(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(sweep, "main", started.append)
    experiment = Experiment("test", "", y=("loss",), sweep="lenet5 --grid lr=0.1,0.01 dataset=mnist")
    options = notes_experiments.Options("test", dataset="digits", out=tmp_path)
    assert notes_experiments._run(experiment, options) == tmp_path / "results.csv"
    words = ["lenet5", "--grid", "lr=0.1,0.01", "--dataset", "digits", "--jobs", "1", "--out"]
    assert started == [[*words, str(tmp_path)]]


@pytest.mark.parametrize("dataset", [[], ["--dataset", "cifar10"]])
def test_what_reads_files_says_that_it_needs_a_folder(dataset):
    with pytest.raises(UserError, match="needs an image folder of CIFAR-10, found no folder cifar10"):
        notes_experiments.main(["parallel_input", *dataset])
