"""A sweep does every run once, whoever works on it and whatever kills them."""

import collections
import functools
import os
import signal
import time

import optuna
import pytest

from kerasref.errors import RunError, UserError
from kerasref.lab.sweeps import sweep_command as sweep_script
from kerasref.lab.sweeps.plan import NotReady
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.lab.sweeps.workers import Execution, run_workers
from kerasref.recipe import Recipe
from tests.experiments.stand_ins import plan, record, start_worker, trained


def states(sweep):
    """Of the settings; a trial whose process died is followed by a copy."""
    return collections.Counter(trial.state.name for trial in sweep.settings().values())


def runs(sweep):
    return [row["run"] for row in read_rows(sweep.results)[0]]


# which settings


def test_a_grid_has_the_notes_order_and_the_mean_over_seeds(tmp_path):
    sweep = Sweep.start(tmp_path, plan("grid", "lr=0.01,0.001", "batch_size=100,1000", seeds=3))
    sweep.work(record)
    rows = read_rows(sweep.results)[0]
    assert [row["run"] for row in rows] == list(range(1, 13))
    assert [(row["learning_rate"], row["batch_size"], row["seed"]) for row in rows] == [
        (rate, size, seed) for rate in (0.01, 0.001) for size in (100, 1000) for seed in range(3)
    ]
    assert [trial.value for trial in sweep.study.get_trials()] == pytest.approx([1, 1, 0.991, 0.991])
    assert "12 of 12 runs done" in sweep.summary() and "learning_rate=0.01 batch_size=100" in sweep.summary()


def test_random_settings_are_the_same_again_and_none_twice(tmp_path):
    fields = ("learning_rate=log:1e-4..1e-1", "units=int:16..256", "model=mlp")
    drawn = []
    for name in "ab":
        sweep = Sweep.start(tmp_path / name, plan("random", *fields, trials=8))
        sweep.work(record)
        drawn.append([trial.params for trial in sweep.study.get_trials()])
    assert drawn[0] == drawn[1]
    assert len({trial["learning_rate"] for trial in drawn[0]}) == 8
    assert all(1e-4 <= trial["learning_rate"] <= 1e-1 and 16 <= trial["units"] <= 256 for trial in drawn[0])
    assert {type(row["units"]) for row in read_rows(sweep.results)[0]} == {list}


@pytest.mark.parametrize("how", ["random", "search"])
def test_refining_draws_the_second_half_from_around_the_best(how, tmp_path):
    sweep = Sweep.start(tmp_path, plan(how, "learning_rate=log:1e-5..1e0", trials=16, refine=True))
    sweep.work(record)
    rates = [trial.params["learning_rate"] for trial in sweep.study.get_trials()]
    best = min(rates[:8], key=lambda rate: abs(rate - 0.01))
    reach = 10 ** (5 * 0.25 / 2)
    assert all(best / reach <= rate <= best * reach for rate in rates[8:])
    assert max(rates[:8]) / min(rates[:8]) > reach**2


def test_a_search_goes_towards_the_best(tmp_path):
    sweep = Sweep.start(tmp_path, plan("search", "learning_rate=0.0001..0.5", trials=30))
    sweep.work(record)
    rates = [trial.params["learning_rate"] for trial in sweep.study.get_trials()]
    assert sum(rates[20:]) / 10 < sum(rates[:10]) / 10 / 2


# stopped, shared, failed


def test_more_trials_extend_a_sweep_and_another_plan_is_refused(tmp_path):
    for trials in (3, 3, 5):
        sweep = Sweep.start(tmp_path, plan("random", "learning_rate=0.1..0.2", trials=trials))
        sweep.work(record)
        assert runs(sweep) == list(range(1, trials + 1))
    for other, says in (
        (plan("random", "learning_rate=0.1..0.3", trials=5), "fields is"),
        (plan("random", "learning_rate=0.1..0.2", trials=4), "the number of settings is 5 there, found 4"),
        (plan("random", "learning_rate=0.1..0.2", trials=5, seeds=2), "seeds is 1 there, found 2"),
        (plan("random", "learning_rate=0.1..0.2", trials=5, base=Recipe()), "holds another sweep"),
    ):
        with pytest.raises(UserError, match=says):
            Sweep.start(tmp_path, other)


@pytest.mark.parametrize("how", ["grid", "random"])
def test_two_processes_on_one_study_share_the_trials(how, tmp_path):
    fields = "batch_size=1,2,3,4,5,6,7,8,9,10,11,12" if how == "grid" else "batch_size=1..1000"
    sweep = Sweep.start(tmp_path, plan(how, fields, trials=None if how == "grid" else 12))
    workers = [start_worker(tmp_path, name, others=2) for name in "ab"]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert sorted(number for _, number in trained(tmp_path)) == list(range(1, 13))
    assert {name for name, _ in trained(tmp_path)} == {"a", "b"}
    assert sorted(runs(sweep)) == list(range(1, 13))
    assert states(sweep) == {"COMPLETE": 12}


def test_a_killed_process_leaves_its_setting_to_the_next(tmp_path):
    """Killed between two seeds: the first is not trained again."""
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=10,20", seeds=2))
    worker = start_worker(tmp_path, "a", stuck_at="2")
    while ("a", 2) not in trained(tmp_path):
        time.sleep(0.02)
    worker.kill()
    worker.wait()
    sweep.work(record)
    assert sorted(runs(sweep)) == [1, 2, 3, 4]
    assert [trial.value for trial in sweep.settings().values()] == pytest.approx(
        [(1.0 + 0.991) / 2, (-0.009 + 0.991) / 2]
    )
    assert trained(tmp_path) == [("a", 1), ("a", 2)]


def test_a_sweep_of_an_earlier_version_is_continued(tmp_path):
    """Its trials have no setting among their attributes: the whole grid waited from the start."""
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2,3,4", seeds=2))
    for size in (1, 2, 3, 4):
        sweep.study.enqueue_trial({"batch_size": size})
    for reached in (2, 1):  # of two seeds; the second trial's process died after its first run
        trial = sweep.study.ask()
        trial.suggest_categorical("batch_size", [1, 2, 3, 4])
        for seed in range(reached):
            outcome = {"value": 0.5, "reason": "", "hopeless": False}
            trial.set_user_attr(f"run {2 * trial.number + seed + 1}", outcome)
        if reached == 2:
            sweep.study.tell(trial, 0.5)
    done = []
    sweep.work(lambda job: done.append((job.number, job.params["batch_size"])) or record(job))
    assert done == [(5, 3), (6, 3), (7, 4), (8, 4), (4, 2)] and states(sweep) == {"COMPLETE": 4}
    assert "8 of 8 runs done" in sweep.summary()


def test_killed_between_the_two_steps_of_taking_over_a_setting_is_one_copy(tmp_path, monkeypatch):
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2"))
    _, lock = sweep.claim()
    lock.lock.release()  # its process died
    tell = sweep.study.tell
    monkeypatch.setattr(sweep.study, "tell", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sweep.claim()
    monkeypatch.setattr(sweep.study, "tell", tell)
    sweep.work(record)
    assert runs(sweep) == [1, 2] and states(sweep) == {"COMPLETE": 2}
    assert [trial.state.name for trial in sweep.study.get_trials()] == ["FAIL", "COMPLETE", "COMPLETE"]


def fail(job):
    if job.number == 2:
        raise RunError("loss is nan at epoch 1, step 3, learning rate 0.1; try a lower one\nlast good checkpoint: none")
    if job.number == 3:
        raise MemoryError("cannot allocate 3 GiB")
    if job.number == 4:
        raise UserError("softmax_regression has no dropout")
    return record(job)


def test_a_failed_run_is_a_row_with_its_reason_and_not_the_end(tmp_path):
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2,3,4,5"))
    sweep.work(fail)
    reasons = {row["run"]: row["reason"] for row in read_rows(sweep.results)[0]}
    assert reasons == {
        1: None,
        2: "loss is nan at epoch 1, step 3, learning rate 0.1; try a lower one",
        3: "MemoryError: cannot allocate 3 GiB",
        4: "softmax_regression has no dropout",
        5: None,
    }
    assert states(sweep) == {"COMPLETE": 2, "PRUNED": 1, "FAIL": 2}
    assert "3 of them before their last epoch" in sweep.summary()
    sweep.work(fail)
    assert len(runs(sweep)) == 5


def die(job, execution):
    if job.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return record(job)


def test_a_run_that_kills_its_process_is_a_row_too(tmp_path, capsys):
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2,3", seeds=2))
    run_workers(sweep, 2, None, Execution(), die)
    reasons = {row["run"]: row["reason"] for row in read_rows(sweep.results)[0]}
    assert sorted(reasons) == [1, 2, 3, 4, 5, 6]
    assert "SIGKILL" in reasons.pop(2) and set(reasons.values()) == {None}
    assert states(sweep) == {"FAIL": 1, "COMPLETE": 2}
    assert len(capsys.readouterr().out.splitlines()) == 6


def raise_error(error, job, execution):
    raise error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "runs/0001"), "No space left on device"),
        (
            NotReady("mnist is not prepared\nwithout download: --dataset digits"),
            "prepared; without download: --dataset",
        ),
    ],
)
def test_a_full_disk_or_a_dataset_that_is_gone_ends_the_sweep_and_costs_no_run(error, says, tmp_path):
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2,3"))
    with pytest.raises(RunError, match=says):
        run_workers(sweep, 1, None, Execution(), functools.partial(raise_error, error))
    assert runs(sweep) == [] and not sweep.has_failed()
    sweep.work(record)
    assert runs(sweep) == [1, 2, 3] and not sweep.has_failed()


def test_any_database_of_optuna_holds_the_study(tmp_path):
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    sweep = Sweep.start(tmp_path / "sweep", plan("grid", "batch_size=1,2"), url)
    sweep.work(record)
    assert len(optuna.load_study(study_name=sweep.study.study_name, storage=url).trials) == 2
    assert not (tmp_path / "sweep" / "study.db").exists()
    with pytest.raises(UserError, match="storage is"):
        Sweep.start(tmp_path / "sweep", plan("grid", "batch_size=1,2"))
    for wrong in ("no/url", "nothing://host/db"):
        with pytest.raises(UserError, match="expected a database URL"):
            Sweep.start(tmp_path / "other", plan("grid", "batch_size=1,2"), wrong)
    with pytest.raises((UserError, RunError), match=r"//me:\*\*\*@nowhere"):
        Sweep.start(tmp_path / "secret", plan("grid", "batch_size=1,2"), "postgresql://me:secret@nowhere/db")
    assert not (tmp_path / "secret" / "sweep.json").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("", "unknown recipe"),
        ("lenet6 --grid lr=1", "unknown recipe 'lenet6'"),
        ("lenet5 lr=0.1", "found none of --grid"),
        ("lenet5 --grid --random 3 lr=0.1", "found grid and random"),
        ("lenet5 --grid", "nothing to vary"),
        ("lenet5 --grid lr=0.1..0.2", "is a range"),
        ("lenet5 --grid colour=red", "unknown recipe field"),
        ("lenet5 --grid lr=-1", "learning_rate is -1"),
        ("lenet5 --grid lr=0.1 --seeds 0", "--seeds is 0"),
        ("lenet5 --grid lr=0.1 --refine", "--refine narrows"),
        ("lenet5 --search 3 lr=0.1..0.2 validation=0", "give validation=0.1"),
        ("lenet5 --search 3 lr=0.1..0.2 validation=7:0:3", "give validation=0.1"),
        ("lenet5 --grid lr=0.1 validation=0 selection_metric=log_loss", "log_loss needs a validation split"),
        ("lenet5 --grid lr=0.1 selection_metric=loss", "unknown selection metric 'loss'"),
        ("lenet5 --random many lr=0.1..0.2", "--random"),
        ("lenet5 --grid lr=0.1 --dataset no/such/folder", "no/such/folder"),
        ("lenet5 --grid dataset=digits,no/such/folder", "no/such/folder"),
        ("lenet5 --grid lr=0.1 --epochs 0", "--epochs is 0, expected at least 1"),
        ("lenet5 --random 0 lr=0.1..0.2", "--random is 0, expected at least 1"),
        ("lenet5 --search -1 lr=0.1..0.2", "--search is -1, expected at least 1"),
    ],
)
def test_wrong_arguments_are_said_before_anything_is_made(args, says, tmp_path):
    with pytest.raises(UserError, match=says):
        sweep_script.main([*args.split(), *(["--out", str(tmp_path / "out")] if args else [""])])
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_a_metric_of_which_less_is_better_is_minimized():
    plan = sweep_script.plan_of(["lenet5", "--search", "3", "lr=0.1..0.2", "selection_metric=log_loss"])[1]
    assert (plan.base["selection_metric"], plan.higher_is_better) == ("log_loss", False)
    assert plan.fields == ("lr=0.1..0.2",)
