"""Runs side by side: ranked rightly, and all of it on one page that loads nothing."""

import dataclasses
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kerasref.errors import UserError
from kerasref.evaluation.plot_style import COLOURS, MUTED
from kerasref.lab import compare as compare_script
from kerasref.lab.sweeps.comparison import compare, read_entries
from kerasref.lab.sweeps.comparison_plots import _scale, colour_of, plot_curves_together, plot_parallel_coordinates
from kerasref.lab.sweeps.results_table import add_rows, make_row
from kerasref.lab.sweeps.significance import significance
from kerasref.lab.sweeps.values import is_logarithmic, shown, shown_metric
from kerasref.recipe import Recipe
from kerasref.runs import RunFiles


def write_run(
    path: Path, value=None, metric="macro_f1", split="validation", finished=True, epochs=3, accuracy=None, **fields
) -> Path:
    """A run directory as training leaves it, without the training."""
    run = RunFiles(path)
    recipe = dataclasses.asdict(Recipe(**fields))
    dataset = {"name": "digits", "class_names": ["0", "1"], "image_shape": [28, 28, 1], "picture": "digit"}
    run.write_settings({"recipe": recipe, "dataset": dataset, "preprocessing": {}})
    last = value if value is not None else 0.5
    alike = {"accuracy": last, "val_accuracy": last}
    run.write_history(
        [alike | {"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "run_duration": e} for e in range(1, epochs + 1)]
    )
    if value is not None:
        write_metrics(path, split, value, metric, **({} if accuracy is None else {"accuracy": accuracy}))
    if finished:
        run.model_file.write_bytes(b"")
    return path


def write_metrics(path: Path, split="validation", value=0.5, metric="macro_f1", **others) -> None:
    run, chosen = RunFiles(path), {"name": metric, "value": value, "higher_is_better": metric != "log_loss"}
    run.write_metrics({"selection_metric": chosen, **others}, run.validation_file if split == "validation" else None)


def write_latency(path: Path, milliseconds: float) -> None:
    RunFiles(path).exports.mkdir()
    (RunFiles(path).exports / "verification.json").write_text(json.dumps({"m.onnx": {"latency_ms": milliseconds}}))


@pytest.fixture
def nine_runs(tmp_path):
    """Three learning rates, three seeds; 0.01 is the best by far, 0.1 and 0.001 are alike."""
    values = {0.1: (0.80, 0.84, 0.82), 0.01: (0.90, 0.91, 0.93), 0.001: (0.83, 0.82, 0.80)}
    return [
        write_run(tmp_path / f"{rate}-{seed}", value, learning_rate=rate, seed=seed, units=(64,))
        for rate, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]


def test_settings_are_ranked_by_the_mean_over_seeds(nine_runs):
    comparison = compare(read_entries(nine_runs))
    assert comparison.metric == "macro_f1 on validation"
    assert [setting.fields for setting in comparison.settings] == [{"learning_rate": r} for r in (0.01, 0.1, 0.001)]
    best = comparison.settings[0]
    assert best.mean == pytest.approx(np.mean([0.90, 0.91, 0.93]))
    assert best.deviation == pytest.approx(np.std([0.90, 0.91, 0.93], ddof=1))
    assert comparison.differing == {"learning_rate": [0.001, 0.01, 0.1]}
    assert comparison.common["batch_size"] == 64 and "seed" not in comparison.common


def test_less_is_better_where_the_metric_says_so(tmp_path):
    runs = [write_run(tmp_path / str(i), v, "log_loss", batch_size=i + 1) for i, v in enumerate((0.3, 0.1, 0.2))]
    comparison = compare(read_entries(runs))
    assert [setting.mean for setting in comparison.settings] == [0.1, 0.2, 0.3]


def test_runs_are_chosen_by_what_is_asked_for_within_its_limits(tmp_path):
    runs = [write_run(tmp_path / str(i), batch_size=i + 1) for i in range(3)]
    for path, accuracy, latency in zip(runs, (0.7, 0.9, 0.8), (1.0, 9.0, 4.0), strict=True):
        write_metrics(path, "test", 0.1, "log_loss", accuracy=accuracy)
        write_latency(path, latency)
    comparison = compare(read_entries(runs, "accuracy subject to latency_ms < 5"))
    assert [setting.fields["batch_size"] for setting in comparison.settings] == [3, 1]
    assert [entry.reason for entry in comparison.left_out] == ["latency_ms 9 is not < 5"]
    with pytest.raises(UserError, match=r"none of 3 runs can be ranked; the first: .*0: latency_ms 1 is not < 0\.5"):
        compare(read_entries(runs, "accuracy subject to latency_ms < 0.5"))


def test_a_run_without_a_figure_that_is_asked_for_is_left_out_by_name(tmp_path, capsys):
    runs = [write_run(tmp_path / str(i), 0.5 + i / 10, batch_size=i + 1) for i in range(2)]
    write_latency(runs[0], 1.0)
    compare_script.main([*map(str, runs), "--choose", "seconds + latency_ms", "--out", str(tmp_path / "page.html")])
    said = capsys.readouterr().out
    assert "1. -4.0" in said and "1 runs are not ranked" in said
    assert f"{runs[1]}: it has no latency_ms yet; measure it with python scripts/export.py" in said


def test_what_is_asked_for_is_measured_on_one_split(tmp_path, capsys):
    """On validation where all have it: the best there is the worst on test here."""
    runs = [write_run(tmp_path / str(i), 0.5, batch_size=i + 1) for i in range(2)]
    for i, path in enumerate(runs):
        write_metrics(path, "test", accuracy=0.9 - i / 10)
        write_metrics(path, accuracy=0.6 + i / 10)

    def best(*more):
        return compare(read_entries([*runs, *more], "accuracy")).settings[0]

    assert best().mean == 0.7
    compare_script.main([*map(str, runs), "--choose", "accuracy", "--out", str(tmp_path / "page.html")])
    assert "by accuracy (the requested sum on validation), mean" in capsys.readouterr().out
    unfinished = write_run(tmp_path / "unfinished", finished=False)
    assert best(unfinished).mean == 0.7
    RunFiles(runs[1]).validation_file.unlink()
    assert best().mean == 0.9
    assert "on test" in compare(read_entries(runs, "accuracy")).metric


ON_TEST = dict(split="test", accuracy=0.6)


@pytest.mark.parametrize(
    ("figures", "metric"),
    [
        ([dict(value=0.5), dict(value=0.6)], "macro_f1 on validation"),
        ([dict(value=0.5, split="test"), dict(value=0.6, split="test")], "macro_f1 on test"),
        ([dict(value=0.5), dict(value=0.6, split="test")], "val_accuracy of the last epoch"),
        ([dict(value=0.5), dict(value=0.6, metric="accuracy")], "val_accuracy of the last epoch"),
        ([dict(value=0.5), dict()], "val_accuracy of the last epoch"),
        ([dict(value=0.5, accuracy=0.1), dict(value=0.6, metric="accuracy", accuracy=0.6)], "accuracy on validation"),
        ([dict(value=0.5, **ON_TEST), dict(value=0.6, metric="log_loss", **ON_TEST)], "accuracy on test"),
    ],
)
def test_runs_are_compared_by_a_figure_that_all_have(tmp_path, figures, metric):
    runs = [write_run(tmp_path / str(i), batch_size=i + 1, **more) for i, more in enumerate(figures)]
    assert compare(read_entries(runs)).metric == metric


def test_the_last_resort_is_called_what_it_is(tmp_path):
    run = RunFiles(write_run(tmp_path / "run"))
    run.write_history([{"epoch": 1, "accuracy": 0.5}])
    assert compare(read_entries([run.path])).metric == "training accuracy of the last epoch"


def test_runs_of_other_data_sets_are_warned_of(tmp_path, capsys):
    runs = [str(write_run(tmp_path / name, 0.5, dataset=name)) for name in ("digits", "mnist")]
    compare_script.main([*runs, "--out", str(tmp_path / "page.html")])
    assert "warning: the runs' datasets differ (digits, mnist)" in capsys.readouterr().out
    compare_script.main([runs[0], "--out", str(tmp_path / "page.html")])
    assert "warning" not in capsys.readouterr().out


def test_importance_finds_the_field_that_matters(tmp_path):
    runs = [
        write_run(
            tmp_path / f"{rate}{size}{flip}", 0.9 - rate + size / 1e5, learning_rate=rate, batch_size=size, flip=flip
        )
        for rate in (0.5, 0.1, 0.01)
        for size in (10, 100)
        for flip in (False, True)
    ]
    importance = compare(read_entries(runs)).importance
    assert next(iter(importance)) == "learning_rate" and importance["learning_rate"] > 0.9
    assert sum(importance.values()) == pytest.approx(1)
    assert is_logarithmic([0.01, 0.5]) and not is_logarithmic([0, 1]) and not is_logarithmic([32, 64])


def test_importance_counts_what_the_finished_runs_varied(tmp_path):
    runs = [write_run(tmp_path / f"{seed}", 0.9 + seed / 100, learning_rate=0.01, seed=seed) for seed in range(3)]
    runs.append(write_run(tmp_path / "failed", finished=False, learning_rate=10.0))
    comparison = compare(read_entries(runs))
    assert "learning_rate" in comparison.differing and comparison.importance == {}


def test_significance_says_worse_where_the_common_seeds_do(tmp_path):
    first = [write_run(tmp_path / f"a{s}", (0.900, 0.9005, 0.99)[s], learning_rate=0.1, seed=s) for s in range(3)]
    second = [write_run(tmp_path / f"b{s}", (0.910, 0.911)[s], learning_rate=0.2, seed=s) for s in range(2)]
    (line,) = significance(compare(read_entries([*first, *second])))
    assert "learning_rate=0.1 is worse than learning_rate=0.2 by 0.0103 on average" in line
    assert "2 seeds that both have" in line


def test_significance_is_the_paired_test_in_words(nine_runs):
    first, second = significance(compare(read_entries(nine_runs)))
    others = ((0.80, 0.84, 0.82), (0.83, 0.82, 0.80))
    tests = [stats.ttest_rel((0.90, 0.91, 0.93), other) for other in others]
    assert "learning_rate=0.01 is better than learning_rate=0.1 by 0.0933 on average" in " ".join((first, second))
    assert "learning_rate=0.001 by 0.0967" in " ".join((first, second))
    for line, test in zip((first, second), tests, strict=True):  # two comparisons: Bonferroni's p and intervals
        low, high = test.confidence_interval(0.975)
        assert f"p = {2 * test.pvalue:.2g})" in line
        assert f"interval of the gain {low:.4f} to {high:.4f}" in line
    assert "more than chance" in first
    assert f"not told apart; a difference below {(high - low) / 2:.4f} could not have been significant" in second


@pytest.mark.parametrize("seed", range(20))
def test_interval_and_p_agree_and_stay_within_the_metrics_range(tmp_path, seed):
    """Random values of four settings over two or three seeds: wide intervals, p on both sides of 0.05."""
    rng = np.random.default_rng(seed)
    runs = []
    for setting, gap in enumerate((0.0, 0.02, 0.2, 0.8)):
        for i in range(2 + seed % 2):
            value = float(np.clip(0.95 - gap + rng.normal(0, 0.02), 0, 1))
            runs.append(write_run(tmp_path / f"{setting}-{i}", value, batch_size=setting + 1, seed=i))
    for criterion in (None, "accuracy"):
        lines = significance(compare(read_entries(runs)) if criterion is None else _chosen_by_accuracy(runs))
        assert len(lines) == 3
        for line in lines:
            low, high = map(float, re.search(r"gain (\S+) to ([^,\s]+)", line).groups())
            p = float(re.search(r"p = ([^)]+)\)", line)[1])
            assert -1 <= low < high <= 1
            assert (p < 0.05) == (low > 0 or high < 0) == ("more than chance" in line)
            assert "equal" not in line and ("not told apart" in line) == (p >= 0.05)


def _chosen_by_accuracy(runs):
    for run in runs:
        value = RunFiles(run).history()[-1]["val_accuracy"]
        write_metrics(run, value=value, accuracy=value)
    return compare(read_entries(runs, "accuracy"))


def test_a_metric_without_limit_has_intervals_without_one(tmp_path):
    values = {1: (0.2, 1.9), 2: (3.0, 7.5)}
    runs = [
        write_run(tmp_path / f"{size}-{seed}", value, "log_loss", batch_size=size, seed=seed)
        for size, losses in values.items()
        for seed, value in enumerate(losses)
    ]
    (line,) = significance(compare(read_entries(runs)))
    low, high = stats.ttest_rel((3.0, 7.5), (0.2, 1.9)).confidence_interval()
    assert f"{low:.4f} to {high:.4f}" in line and high > 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "0.0001"), (3e-4, "0.0003"), (0.12345, "0.12345"), (0.12346, "0.12346"), (0.1, "0.1"), (3e-05, "3e-05")],
)
def test_small_rates_and_near_ones_keep_their_digits(value, text):
    assert shown(value) == text
    assert shown_metric(0.00034) == "0.00034" and shown_metric(0.98765) == "0.9877" and shown_metric(0.0) == "0.0000"


def test_significance_says_when_it_can_say_nothing(tmp_path, nine_runs):
    def lines(*runs):
        return significance(compare(read_entries(runs)))

    assert lines(nine_runs[0]) == ["one setting: nothing to test"]
    assert "1 seed in common" in lines(nine_runs[0], nine_runs[3])[0]
    assert "0 seeds in common" in lines(nine_runs[0], nine_runs[4])[0]
    noise = [write_run(tmp_path / f"n{s}", (0.80, 0.84, 0.83)[s], learning_rate=0.3, seed=s) for s in range(3)]
    assert "not told apart; a difference below 0.0" in lines(*nine_runs[:3], *noise)[0]
    same = [write_run(tmp_path / f"s{s}", (0.80, 0.84, 0.82)[s], learning_rate=0.4, seed=s) for s in range(3)]
    assert "0.0000 in each of 3 seeds" in lines(*nine_runs[:3], *same)[0]


def test_the_page_of_a_sweep_has_everything_and_loads_nothing(tmp_path, nine_runs, capsys):
    sweep = tmp_path / "sweep"
    for number, rate in enumerate((0.1, 0.01, 0.001, 0.0001), start=1):
        for seed in (0, 1):
            value = 0.9 - rate + 0.01 * seed * number
            write_run(sweep / "runs" / f"{number}{seed}", value, learning_rate=rate, batch_size=number * 32, seed=seed)
    write_run(sweep / "runs" / "50", finished=False, learning_rate=9.0, epochs=1)
    write_run(sweep / "runs" / "60", finished=False, learning_rate=0.2, epochs=1)
    reason = "loss is nan at epoch 2 <b>&amp;"
    failed = make_row(number=50, params={}, seed=0, run_dir="runs/50", reason=reason)
    add_rows(sweep / "results.csv", [failed])
    (sweep / "sweep.json").write_text("{}")

    compare_script.main([str(sweep), "--significance"])
    said = capsys.readouterr().out
    assert "  1. 0.9" in said and "2 runs are not ranked" in said and str(sweep / "comparison.html") in said
    page = (sweep / "comparison.html").read_text(encoding="utf-8")
    for part in ("table", "left-out", "significance", "curves", "coordinates", "importance", "fields"):
        assert f'<section id="{part}">' in page
    assert html.escape(reason) in page and "<b>&amp;" not in page
    assert "not finished: 1 of 10 epochs" in page
    assert page.count('<img class="chart" src="data:image/svg+xml;base64,') == 3
    assert re.findall(r"""src=["'](?!data:)|url\(|<script""", page) == []
    assert "<h1>mnist_cnn on mnist</h1>" in page
    links = re.findall('href="([^"]+)"', page)
    assert links[0] == "runs/40" and len(links) == 10 and all((sweep / link).exists() for link in links)
    table = page[page.index('id="table"') : page.index('id="left-out"')]
    rows = re.findall(r'metric">([\d.]+) ±.*\s*<td class="num">\d+</td>\s*<td class="num">([\d.e-]+)</td>', table)
    assert [rate for _, rate in rows] == ["0.0001", "0.001", "0.01", "0.1"]
    assert re.findall('--colour: ([^"]+)', table) == list(COLOURS[:4])
    assert (sweep / "runs" / "11").exists() and '<a href="runs/11">runs/11</a>' in page


def test_the_report_of_a_run_is_a_link_wherever_the_page_is(tmp_path, nine_runs):
    RunFiles(nine_runs[0]).report_file.write_text("")
    (tmp_path / "pages & more").mkdir()
    compare_script.main([*map(str, nine_runs), "--out", str(tmp_path / "pages & more" / "page.html")])
    page = (tmp_path / "pages & more" / "page.html").read_text(encoding="utf-8")
    assert f'href="../{nine_runs[0].name}/report.html"' in page and f'href="../{nine_runs[1].name}"' in page


def test_a_setting_has_one_colour_in_all_plots(tmp_path):
    runs = [write_run(tmp_path / str(i), 0.9 - i / 100, batch_size=i + 1) for i in range(12)]
    comparison = compare(read_entries(runs))
    colours = [*COLOURS, MUTED, MUTED]
    assert [colour_of(rank) for rank in range(12)] == colours
    for axes in (*plot_curves_together(comparison).axes, *plot_parallel_coordinates(comparison).axes):
        drawn = [line.get_color() for line in axes.lines if line.get_color() != MUTED or len(line.get_xdata()) != 2]
        assert drawn[::-1][: len(COLOURS)] == colours[: len(COLOURS)]


def test_one_run_and_runs_that_differ_in_nothing_are_a_page_too(tmp_path, nine_runs, capsys):
    out = tmp_path / "page.html"
    compare_script.main([str(nine_runs[0]), "--out", str(out)])
    assert "The runs differ only in the seed" in out.read_text(encoding="utf-8")
    compare_script.main([*map(str, nine_runs[:3]), "--out", str(out), "--significance"])
    assert "3 runs, 1 setting," in out.read_text(encoding="utf-8")


def test_what_cannot_be_compared_is_said(tmp_path, nine_runs):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "sweep.json").write_text("{}")
    rows = [make_row(number=n, params={}, seed=0, run_dir=f"r/{n}", reason="mnist is not prepared") for n in (1, 2)]
    add_rows(tmp_path / "failed" / "results.csv", rows)
    unfinished = write_run(tmp_path / "unfinished", finished=False)
    for folders, says in (
        ([tmp_path / "nothing"], "no folder"),
        ([tmp_path / "empty"], "recipe.json"),
        ([tmp_path / "sweep"], "no runs to compare"),
        ([unfinished], "none of 1 runs can be ranked; .*not finished: 3 of 10 epochs"),
        ([tmp_path / "failed"], "no runs to compare: 2 × mnist is not prepared"),
    ):
        with pytest.raises(UserError, match=says):
            compare_script.main(list(map(str, folders)))
    (nine_runs[0] / "validation.json").write_text(json.dumps({"selection_metric": None})[:-5])
    with pytest.raises(UserError, match=r"validation\.json"):
        compare_script.main([str(nine_runs[0])])


@pytest.mark.parametrize("values", [[0.5 + i / 1e6 for i in range(9)], [10.0**-i for i in range(9)], [0.5] * 2, "ab"])
def test_ticks_of_near_small_and_equal_values_differ(values):
    _, ticks = _scale(list(values))
    assert len({text for _, text in ticks}) == len(ticks) == min(5, len(set(values)))
