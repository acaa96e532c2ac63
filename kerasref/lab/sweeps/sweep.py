"""A sweep: many runs of one recipe, shared by any number of processes, killed and gone on with at any point.

DIR/sweep.json     what is varied and how
DIR/study.db       Optuna's study, a trial a setting: what is done, what each reached
DIR/results.csv    a row an epoch and a run, and one with the reason for each run that failed; results.json the same
DIR/runs/0001      run directories

The study is SQLite, not Optuna's journal file: that one is appended to, and a record written after a torn line is lost
together with it. Processes on one machine share DIR; machines share it over a network folder, with the study in a
database server (`--storage`), since SQLite's locks do not hold on network folders.
"""

import dataclasses
import itertools
import os
import platform
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
from filelock import AcquireReturnProxy, FileLock, Timeout
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kerasref.errors import RunError, Stopped, UserError
from kerasref.lab.sweeps.plan import Job, NotReady, Outcome, Plan, read_plan, write_plan
from kerasref.lab.sweeps.results_table import add_rows, make_row
from kerasref.lab.sweeps.search_space import field_value, narrowed, suggest

optuna.logging.set_verbosity(optuna.logging.WARNING)
STARTUP_TRIALS = 5  # finished before one is pruned: a median of fewer says little


class Sweep:
    """A sweep directory. Any number of processes may call `work` on the same one."""

    def __init__(self, folder: Path, plan: Plan, study: optuna.Study):
        self.folder, self.plan, self.study = folder, plan, study
        self.results = folder / "results.csv"

    @classmethod
    def start(cls, folder: Path, plan: Plan, storage: str | None = None) -> "Sweep":
        """Begins a sweep in `folder`, or goes on with the one that is there; UserError if that is another one."""
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            opened = _storage(folder, storage)  # before sweep.json names it
            write_plan(folder, plan, _shown(storage))
            sweep = cls._of(folder, opened)
            if plan.how == "grid":
                for params in plan.grid()[len(sweep.study.get_trials(deepcopy=False)) :]:
                    sweep.study.enqueue_trial(params)
        for line in add_rows(sweep.results, []):
            print(line)
        return sweep

    @classmethod
    def open(cls, folder: Path, storage: str | None = None) -> "Sweep":
        """The sweep that `start` left there; raises UserError where there is none."""
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

    def work(self, train: Callable[[Job], Outcome]) -> None:
        """Trains what nobody else trains until nothing is left."""
        for trial, lock in iter(self._claim, None):
            with lock:
                self._carry_out(trial, train)

    def summary(self) -> str:
        """What came of it, in a few lines."""
        trials = self.study.get_trials(deepcopy=False)
        outcomes = [outcome for trial in trials for outcome in self._outcomes(trial).values()]
        failed = [outcome for outcome in outcomes if outcome.reason]
        lines = [f"{len(outcomes)} of {self.plan.num_runs()} runs done, {len(failed)} of them before their last epoch"]
        reasons = Counter(outcome.reason for outcome in failed).most_common(3)
        lines += [f"{count} × {reason}" for reason, count in reasons]
        if any(trial.state == TrialState.COMPLETE for trial in trials):
            best = self.study.best_trial
            params = " ".join(f"{field}={value}" for field, value in best.params.items())
            recipe = self.plan.recipe(best.params)
            metric = f"validation {recipe.selection_metric}" if recipe.validation else "training accuracy"
            lines.append(f"best: {params} with {metric} {best.value:.4f}")
        return "\n".join(lines)

    def has_failed(self) -> bool:
        """Whether nothing is left to be done, and no run came to its end."""
        trials = self.study.get_trials(deepcopy=False)
        reached = any(o.value is not None for trial in trials for o in self._outcomes(trial).values())
        return not reached and all(trial.state.is_finished() for trial in trials)

    def record_death(self, worker: str, reason: str) -> None:
        """The run in which a process died counts as failed: one that needs too much memory is not tried for ever.

        The seeds that are left of its setting stay to be done.
        """
        with FileLock(self.folder / ".lock"):  # nobody takes it over meanwhile
            for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if frozen.user_attrs.get("worker") == worker:
                    trial = optuna.Trial(self.study, frozen._trial_id)
                    for job in itertools.islice(self._unfinished(trial), 1):
                        self._record(trial, job, Outcome(reason=reason))

    def _claim(self) -> tuple[optuna.Trial, AcquireReturnProxy] | None:
        """A trial whose process has died, else one that waits, else a new one; None where there is none to be had."""
        with FileLock(self.folder / ".lock"):
            trials = self.study.get_trials(deepcopy=False)
            for frozen in trials:
                if frozen.state != TrialState.RUNNING or not (lock := self._lock(frozen.number)):
                    continue
                trial = optuna.Trial(self.study, frozen._trial_id)
                if self.study.get_trials(deepcopy=False)[frozen.number].state == TrialState.RUNNING:
                    break
                lock.lock.release()  # it was finished since `trials` was read
            else:
                waiting = any(trial.state == TrialState.WAITING for trial in trials)
                if not waiting and len(trials) >= (self.plan.trials or 0):
                    return None
                self.study.sampler = _sampler(self.plan, len(trials))
                trial = self.study.ask()
                lock = self._lock(trial.number)
            trial.set_user_attr("worker", worker_name())
            for field, distribution in self._space(trial.number).items():
                suggest(trial, field, distribution)  # of a trial taken over: what it had before
            return trial, lock

    def _lock(self, number: int) -> AcquireReturnProxy | None:
        """Held while a process works on a trial; the system frees it with its owner, however that one ended."""
        folder = self.folder / ".locks"
        folder.mkdir(exist_ok=True)
        try:
            return FileLock(folder / f"{number:04d}").acquire(timeout=0)
        except Timeout:
            return None

    def _space(self, number: int) -> dict:
        """The whole space; with `refine`, once half of the trials were begun, the part of it around the best so far."""
        space = self.plan.space()
        if not self.plan.refine or number < self.plan.trials // 2:
            return space
        best = self.study.user_attrs.get("refined_around")
        if best is None:
            if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                return space
            best = self.study.best_params
            self.study.set_user_attr("refined_around", best)  # one narrowing for all that follow
        return {field: narrowed(distribution, best[field]) for field, distribution in space.items()}

    def _carry_out(self, trial: optuna.Trial, train: Callable[[Job], Outcome]) -> None:
        for job in self._unfinished(trial):
            try:
                outcome = train(job)
            except (Stopped, NotReady, OSError):
                raise  # not the run's fault: the next process goes on with it
            except Exception as error:
                reason = str(error) if isinstance(error, (RunError, UserError)) else f"{type(error).__name__}: {error}"
                outcome = Outcome(reason=reason.partition("\n")[0][:300], hopeless=isinstance(error, RunError))
            self._record(trial, job, outcome)
        outcomes = list(self._outcomes(trial).values())
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        if len(values) == self.plan.seeds:
            self.study.tell(trial.number, statistics.mean(values))
        else:
            # TPE learns from a pruned trial; a failed one it would forget, and try the same range again.
            hopeless = any(outcome.hopeless for outcome in outcomes)
            self.study.tell(trial.number, state=TrialState.PRUNED if hopeless else TrialState.FAIL)

    def _unfinished(self, trial: optuna.Trial) -> Iterator[Job]:
        """What is left to train of a setting. A search leaves the other seeds of a hopeless one undone."""
        searching = self.plan.how == "search"
        for index in range(self.plan.seeds):
            number = trial.number * self.plan.seeds + index + 1
            outcomes = self._outcomes(trial)
            if searching and any(outcome.hopeless for outcome in outcomes.values()):
                return
            if number not in outcomes:
                params = {field: field_value(field, choice) for field, choice in trial.params.items()}
                yield Job(
                    number,
                    self.plan.name,
                    params,
                    self.plan.recipe(trial.params, index),
                    self.results,
                    f"runs/{number:04d}",
                    trial if searching and index == 0 else None,
                )

    def _outcomes(self, trial: optuna.Trial) -> dict[int, Outcome]:
        """Of the setting's runs that have ended, by their number; the study keeps them."""
        attributes = trial.user_attrs.items()
        return {int(key[4:]): Outcome(**value) for key, value in attributes if key.startswith("run ")}

    def _record(self, trial: optuna.Trial, job: Job, outcome: Outcome) -> None:
        if outcome.reason:
            columns = dict(number=job.number, params=job.params, seed=job.recipe.seed, run_dir=job.run_dir)
            add_rows(job.results, [make_row(**columns, reason=outcome.reason)])
        trial.set_user_attr(f"run {job.number}", dataclasses.asdict(outcome))


def worker_name(pid: int | None = None) -> str:
    return f"{platform.node()}:{pid or os.getpid()}"


def _sampler(plan: Plan, number: int) -> optuna.samplers.BaseSampler:
    """Seeded by the trial's number: no two processes draw the same, nor does one that goes on after a stop."""
    seed = (plan.base["seed"] * 100_003 + number) % 2**32
    if plan.how == "search":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # counts with what others are at
    return optuna.samplers.RandomSampler(seed=seed)


def _storage(folder: Path, url: str | None) -> optuna.storages.RDBStorage:
    url = url or f"sqlite:///{(folder / 'study.db').resolve()}"
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}  # seconds to wait for a writer
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (ImportError, ArgumentError) as error:
        raise UserError(
            f"--storage {_shown(url)}: {error}; expected a database URL whose driver is installed"
        ) from None
    except SQLAlchemyError as error:
        raise RunError(f"--storage {_shown(url)}: {str(error).partition(chr(10))[0]}") from None


def _shown(url: str | None) -> str | None:
    """Without the password."""
    return re.sub(r"(//[^:/@]*):[^@/]*@", r"\1:***@", url) if url else None
