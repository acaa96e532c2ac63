"""The processes of a sweep: they train, the parent watches them and shows the table."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from kerasref.errors import RunError, Stopped, UserError
from kerasref.lab.sweeps.live_table import LiveTable
from kerasref.lab.sweeps.plan import Job, NotReady, Outcome
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.sweep import Sweep, worker_name
from kerasref.provenance import mask_secrets
from kerasref.training.stopping import StopSignals


@dataclass(frozen=True)
class Execution:
    """How the processes train; does not affect what is compared."""

    data_dir: str | None = None
    device: str = "auto"


def run_workers(sweep: Sweep, jobs: int, storage: str | None, execution: Execution, train) -> None:
    """Works on `sweep` with `jobs` processes until nothing is left. The run of a process that dies counts as failed.

    Raises Stopped after a signal, once the runs in progress are saved; RunError if a process failed outside of a run.
    """
    context = multiprocessing.get_context("spawn")
    logs = sweep.folder / "logs"
    logs.mkdir(exist_ok=True)

    def start():
        process = context.Process(target=_work, args=(sweep.folder, storage, train, execution), daemon=True)
        process.start()
        return process

    with _Signals() as signals, contextlib.closing(LiveTable()) as table:
        processes = [start() for _ in range(jobs)]
        while processes:
            wait([process.sentinel for process in processes], timeout=0.5)
            signals.forward(processes)
            _show(sweep, table)
            for process in [process for process in processes if not process.is_alive()]:
                processes.remove(process)
                code = process.exitcode
                if code - 128 in (signal.SIGINT, signal.SIGTERM):  # somebody stopped this one: stop all
                    signals.note(code - 128)
                if signals.received or code == 0:
                    continue
                if code > 0:
                    raise RunError(f"a process of the sweep failed: {_last_line(logs / f'{process.pid}.log')}")
                name = signal.Signals(-code).name
                sweep.record_death(
                    worker_name(process.pid), f"the process was killed ({name}): out of memory, or by somebody"
                )
                processes.append(start())
        _show(sweep, table)
    if signals.received:
        raise Stopped(f"stopped; the same command continues the sweep in {sweep.folder}", signals.received)


def train_run(job: Job, execution: Execution) -> Outcome:
    """Trains a run, or continues it, and evaluates it on its validation split."""
    import keras

    from kerasref.evaluation.evaluate import measure_validation
    from kerasref.lab.sweeps.run_manager import RunManager
    from kerasref.training import train

    keras.utils.clear_session()  # of the run before
    dataset = _load(job, execution)
    run_dir = job.results.parent / job.run_dir
    manager = RunManager(job.results.with_suffix(""), show=False)
    manager.begin_run(job.params, number=job.number, seed=job.recipe.seed, run_dir=job.run_dir)
    callbacks = [manager, *([_pruning(job)] if job.trial else [])]
    options = dict(name=job.name, dataset=dataset, device=execution.device, resume=True, callbacks=callbacks)
    run = train(job.recipe, run_dir, **options)
    epochs = len(run.history())
    if epochs < job.recipe.epochs:
        return Outcome(reason=f"pruned after epoch {epochs}: below the median of the runs before", hopeless=True)
    if dataset.validation is None:
        if job.trial:
            raise UserError(f"validation {job.recipe.validation} of this dataset is no example; give more, such as 0.1")
        return Outcome(run.history()[-1]["accuracy"])
    return Outcome(measure_validation(run, dataset)["selection_metric"]["value"])


def _load(job: Job, execution: Execution):
    from kerasref.build import load_data
    from kerasref.data import check_available
    from kerasref.training.execution import choose_device

    try:
        choose_device(execution.device)
        check_available(job.recipe.dataset, execution.data_dir)
    except UserError as error:
        raise NotReady(str(error)) from None
    try:
        return load_data(job.recipe, execution.data_dir)
    except RunError as error:  # a download that failed
        raise NotReady(str(error)) from None


def _pruning(job: Job):
    import keras

    def report(epoch, logs):
        higher = job.trial.study.direction.name == "MAXIMIZE"
        job.trial.report(logs["val_accuracy" if higher else "val_loss"], epoch + 1)
        if epoch + 1 < job.recipe.epochs and job.trial.should_prune():
            callback.model.stop_training = True  # the run directory is complete, with fewer epochs

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    return callback


def _work(folder: Path, storage: str | None, train, execution: Execution) -> None:
    """Runs in each process of the sweep."""
    os.setpgrp()  # Ctrl-C goes to the parent alone, which forwards it once
    log = os.open(folder / "logs" / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        Sweep.open(folder, storage).work(lambda job: train(job, execution))
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except NotReady as error:
        sys.exit(mask_secrets(str(error)).replace("\n", "; "))  # the log's last line, code 1
    except Exception:
        sys.exit(mask_secrets(traceback.format_exc()))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)  # exit with the parent process, so that a restart can reclaim the trials


class _Signals(StopSignals):
    """SIGINT and SIGTERM, forwarded to the children: the first makes them save, the second ends them."""

    to_forward = False

    def note(self, number, _frame=None):
        self.received, self.to_forward = number, True

    def forward(self, processes) -> None:
        if self.to_forward:
            self.to_forward = False
            for process in processes:
                process.terminate()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"{lines[-1] if lines else 'no message'} (see {log})"


def _show(sweep: Sweep, table: LiveTable) -> None:
    """Shows a row for each run: its newest epoch, or the reason why it ended."""
    rows = {row["run"]: row for row in read_rows(sweep.results)[0]}
    rows = [rows[number] for number in sorted(rows)]
    ended = [row for row in rows if row["reason"] or row["epoch"] == row.get("epochs", sweep.plan.base["epochs"])]
    table.update(rows if table.in_place else ended, f"{len(ended)} of {sweep.plan.num_runs()} runs ended")
