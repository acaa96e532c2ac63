"""A sweep: many runs of one recipe, shared by any number of processes, which may be killed at any point.

DIR/sweep.json     what is varied and how
DIR/study.db       Optuna's study, a trial for each setting: state, runs that ended, value
DIR/results.csv    a row for each epoch of each run, and one with the reason for each run that failed; also .json
DIR/runs/0001      run directories

Who works on a setting holds a file lock, which the system releases when the process ends, however it ends. Optuna's
heartbeat (RDBStorage only) infers the same from time: it would make a new start wait for the grace period, would train
settings twice after a laptop slept, and needs `Study.optimize`. The study is in SQLite, not in Optuna's journal file,
which has no heartbeat either and loses the record that follows a torn line. Machines share DIR over a network folder,
with the study in a database server (`--storage`): SQLite's locks do not hold on network folders.
"""

import dataclasses
import itertools
import os
import platform
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
from filelock import AcquireReturnProxy, FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kerasref.errors import RunError, Stopped, UserError
from kerasref.lab.sweeps.plan import Job, NotReady, Outcome, Plan, read_plan, write_plan
from kerasref.lab.sweeps.results_table import add_rows, make_row
from kerasref.lab.sweeps.search_space import field_value, narrowed
from kerasref.lab.sweeps.values import shown_metric
from kerasref.provenance import mask_secrets

optuna.logging.set_verbosity(optuna.logging.WARNING)
STARTUP_TRIALS = 5  # finished before one is pruned: a median of fewer says little


class Sweep:
    """A sweep directory. Any number of processes may call `work` on the same one."""

    def __init__(self, folder: Path, plan: Plan, study: optuna.Study):
        self.folder, self.plan, self.study = folder, plan, study
        self.results = folder / "results.csv"

    @classmethod
    def start(cls, folder: Path, plan: Plan, storage: str | None = None) -> "Sweep":
        """Starts a sweep in `folder`, or continues the one there; raises UserError if that is a different one."""
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            database = _storage(folder, storage)  # fails before sweep.json is written
            write_plan(folder, plan, storage and mask_secrets(storage))
            sweep = cls._of(folder, database)
        for line in add_rows(sweep.results, []):
            print(line)
        return sweep

    @classmethod
    def open(cls, folder: Path, storage: str | None = None) -> "Sweep":
        """Opens the sweep that `start` made; raises UserError if there is none."""
        return cls._of(folder, _storage(folder, storage))

    @classmethod
    def _of(cls, folder: Path, storage: optuna.storages.RDBStorage) -> "Sweep":
        plan, study_name = read_plan(folder)
        study = optuna.create_study(
            storage=storage,
            study_name=study_name,
            direction="maximize" if plan.higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS),
            load_if_exists=True,
        )
        return cls(folder, plan, study)

    def settings(self) -> dict[int, FrozenTrial]:
        """Returns the newest trial of each setting: one whose process died is followed by a copy."""
        return {_setting(trial): trial for trial in self.study.get_trials(deepcopy=False)}

    def work(self, train: Callable[[Job], Outcome]) -> None:
        """Trains every run that no other process trains, until none is left."""
        for trial, lock in iter(self.claim, None):
            with lock:
                self._train_setting(trial, train)

    def summary(self) -> str:
        outcomes = [outcome for trial in self.settings().values() for outcome in _outcomes(trial).values()]
        failed = [outcome for outcome in outcomes if outcome.reason]
        lines = [f"{len(outcomes)} of {self.plan.num_runs()} runs done, {len(failed)} of them before their last epoch"]
        lines += [f"{count} × {reason}" for reason, count in Counter(run.reason for run in failed).most_common(3)]
        if any(trial.state == TrialState.COMPLETE for trial in self.settings().values()):
            best = self.study.best_trial
            params = " ".join(f"{field}={value}" for field, value in best.params.items())
            recipe = self.plan.recipe(best.params)
            metric = f"validation {recipe.selection_metric}" if recipe.validation else "training accuracy"
            lines.append(f"best: {params} with {metric} {shown_metric(best.value)}")
        return "\n".join(lines)

    def has_failed(self) -> bool:
        """Whether nothing is left to do, and no run reached its last epoch."""
        trials = self.settings().values()
        if any(outcome.value is not None for trial in trials for outcome in _outcomes(trial).values()):
            return False
        return len(trials) == self.plan.num_settings() and all(trial.state.is_finished() for trial in trials)

    def record_death(self, worker: str, reason: str) -> None:
        """Records the run during which a process died as failed, so that one that needs too much memory is not
        repeated forever. The other seeds of its setting remain to be done."""
        with FileLock(self.folder / ".lock"):  # nobody claims it meanwhile
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get("worker") == worker:
                    jobs = itertools.islice(self.unfinished(trial), 1)
                    self._requeue(trial, dict(_record(job, Outcome(reason=reason)) for job in jobs))

    def claim(self) -> tuple[Trial, AcquireReturnProxy] | None:
        """Returns a setting to train and its lock, or None; those of dead processes come first."""
        with FileLock(self.folder / ".lock"):
            self._requeue_dead()
            settings = self.settings()
            waiting = [trial for trial in settings.values() if trial.state == TrialState.WAITING]
            if waiting:
                number = _setting(min(waiting, key=lambda trial: trial.number))  # the one that `ask` returns
            elif len(settings) < self.plan.num_settings():
                number = next(number for number in itertools.count() if number not in settings)
                params = self.plan.grid()[number] if self.plan.how == "grid" else {}
                self.study.enqueue_trial(params, user_attrs={"setting": number})
            else:
                return None
            self.study.sampler = _sampler(self.plan, number)
            trial = self.study.ask(self._space(number))  # a copy keeps the values that it has
            trial.set_user_attr("worker", worker_name())
            return trial, self._lock(trial.number)

    def _requeue_dead(self) -> None:
        states = (TrialState.RUNNING,)
        dead = {}
        for trial in self.study.get_trials(deepcopy=False, states=states):
            if lock := self._lock(trial.number):
                dead[trial.number] = lock
        for trial in self.study.get_trials(deepcopy=False, states=states):  # one may have finished since
            if trial.number in dead:
                self._requeue(trial, {})
        for lock in dead.values():
            lock.lock.release()

    def _requeue(self, trial: FrozenTrial, outcomes: dict[str, dict]) -> None:
        """Ends a trial whose process died, after adding a copy that waits, with the outcomes of its runs."""
        number = _setting(trial)
        if self.settings()[number].number == trial.number:  # else killed here, between the two steps
            copy = optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**trial.user_attrs, "setting": number, **outcomes},
                intermediate_values=trial.intermediate_values,
            )
            self.study.add_trial(copy)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _lock(self, number: int) -> AcquireReturnProxy | None:
        """The lock of a trial, or None if a process holds it."""
        folder = self.folder / ".locks"
        folder.mkdir(exist_ok=True)
        try:
            return FileLock(folder / f"{number:04d}").acquire(timeout=0)
        except Timeout:
            return None

    def _space(self, number: int) -> dict:
        """The whole space; with `refine`, after half of the settings, the part of it around the best so far."""
        space = self.plan.space()
        if not self.plan.refine or number < self.plan.trials // 2:
            return space
        best = self.study.user_attrs.get("refined_around")
        if best is None:
            if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                return space
            best = self.study.best_params
            self.study.set_user_attr("refined_around", best)  # the same for all settings that follow
        return {field: narrowed(distribution, best[field]) for field, distribution in space.items()}

    def _train_setting(self, trial: Trial, train: Callable[[Job], Outcome]) -> None:
        for job in self.unfinished(trial):
            try:
                outcome = train(job)
            except (Stopped, NotReady, OSError):
                raise  # not the run's fault: the next process continues it
            except Exception as error:
                reason = str(error) if isinstance(error, (RunError, UserError)) else f"{type(error).__name__}: {error}"
                reason = mask_secrets(reason.partition("\n")[0][:300])
                outcome = Outcome(reason=reason, hopeless=isinstance(error, RunError))
            trial.set_user_attr(*_record(job, outcome))
        outcomes = list(_outcomes(trial).values())
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        if len(values) == self.plan.seeds:
            self.study.tell(trial.number, statistics.mean(values))
        else:
            # TPE learns from a pruned trial; a failed one it ignores, and would try the same range again.
            hopeless = any(outcome.hopeless for outcome in outcomes)
            self.study.tell(trial.number, state=TrialState.PRUNED if hopeless else TrialState.FAIL)

    def unfinished(self, trial: Trial | FrozenTrial) -> Iterator[Job]:
        """Yields the runs of a setting that are left to train. A search skips the other seeds of a hopeless setting."""
        searching, setting = self.plan.how == "search", _setting(trial)
        for index in range(self.plan.seeds):
            number = setting * self.plan.seeds + index + 1
            outcomes = _outcomes(trial)
            if searching and any(outcome.hopeless for outcome in outcomes.values()):
                return
            if number not in outcomes:
                params = {field: field_value(field, choice) for field, choice in trial.params.items()}
                recipe = self.plan.recipe(trial.params, index)
                pruned = trial if searching and index == 0 else None
                yield Job(number, self.plan.name, params, recipe, self.results, f"runs/{number:04d}", pruned)


def _setting(trial: Trial | FrozenTrial) -> int:
    """The number of the trial's setting, from 0 on; sweeps of earlier versions have one trial for each."""
    return trial.user_attrs.get("setting", trial.number)


def _outcomes(trial: Trial | FrozenTrial) -> dict[int, Outcome]:
    """The outcomes of the setting's runs that have ended, by run number."""
    attributes = trial.user_attrs.items()
    return {int(key[4:]): Outcome(**value) for key, value in attributes if key.startswith("run ")}


def _record(job: Job, outcome: Outcome) -> tuple[str, dict]:
    """Adds the row of a run that failed; returns the trial's user attribute for any run."""
    if outcome.reason:
        columns = dict(number=job.number, params=job.params, seed=job.recipe.seed, run_dir=job.run_dir)
        add_rows(job.results, [make_row(**columns, reason=outcome.reason)])
    return f"run {job.number}", dataclasses.asdict(outcome)


def worker_name(pid: int | None = None) -> str:
    return f"{platform.node()}:{pid or os.getpid()}"


def _sampler(plan: Plan, number: int) -> optuna.samplers.BaseSampler:
    """Seeded by the setting's number, so that no two processes draw the same, nor one that continues after a stop."""
    seed = (plan.base["seed"] * 100_003 + number) % 2**32
    if plan.how == "search":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # considers running trials
    return optuna.samplers.RandomSampler(seed=seed)


def _storage(folder: Path, url: str | None) -> optuna.storages.RDBStorage:
    url = url or f"sqlite:///{(folder / 'study.db').resolve()}"
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}  # seconds to wait for a writer
    expected = "expected a database URL whose driver is installed, special characters of the password as %40"
    if url.count("@") > 1:  # parsed as part of the host, it would be in the driver's messages
        raise UserError(f"--storage {mask_secrets(url)}: more than one @; {expected}")
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (ImportError, ArgumentError, ValueError) as error:
        why = type(error).__name__ if isinstance(error, ValueError) else error  # its text holds parts of the URL
        raise UserError(mask_secrets(f"--storage {url}: {why}; {expected}")) from None
    except SQLAlchemyError as error:
        raise RunError(mask_secrets(f"--storage {url}: {str(error).partition(chr(10))[0]}")) from None
