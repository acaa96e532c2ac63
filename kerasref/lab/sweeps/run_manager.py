"""The notes' RunManager as a Keras callback: a row for each epoch of each run, shown live, saved after every epoch."""

import time
from pathlib import Path

import keras

from kerasref.errors import UserError
from kerasref.lab.sweeps.live_table import LiveTable
from kerasref.lab.sweeps.results_table import RESERVED, add_rows, make_row, write_table


class RunManager(keras.callbacks.Callback):
    """Collects the rows of many runs:

        manager = RunManager("results")
        for run in RunBuilder.get_runs(params):
            manager.begin_run(run)
            model = …
            model.fit(…, callbacks=[manager])

    `results`: name of a CSV and a JSON file that every epoch is written to. The first row overwrites them, as the
    notes' `save` does; with a `number` for each run rows are added, also by many processes. None keeps the rows in
    `run_data` only, for `save`. `show`: show the table in the terminal or the notebook.
    Loss and accuracy are Keras' means over examples. The notes multiply each batch's mean by `loader.batch_size`, also
    that of the last, smaller batch, so that their sum is too large.
    """

    def __init__(self, results: str | Path | None = None, show: bool = True):
        super().__init__()
        self.results = Path(f"{results}.csv") if results else None
        self.table = LiveTable() if show else None
        self.run_data: list[dict] = []
        self.run_count = 0
        self.overwrite = True

    def begin_run(self, run: tuple = (), *, number: int | None = None, seed: int | None = None, run_dir=None) -> None:
        """Begins a run with the `Run` of a RunBuilder, or any mapping of hyperparameters; `number` counts from 1.

        Raises UserError for a hyperparameter with the name of a column.
        """
        params = run._asdict() if hasattr(run, "_asdict") else dict(run)
        for name in params.keys() & set(RESERVED):
            raise UserError(f"hyperparameter {name!r}: a column of the results has that name; choose another")
        self.overwrite = self.overwrite and number is None
        self.run_count = number or self.run_count + 1
        self.columns = {"params": params, "seed": seed, "run_dir": run_dir and str(run_dir)}
        self.run_duration = 0.0

    def get_state(self) -> dict:
        return {"run_duration": self.run_duration}

    def set_state(self, state: dict) -> None:
        self.run_duration = state["run_duration"]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start_time = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}  # `train` logs the duration, also of an epoch that was interrupted
        epoch_duration = logs.get("duration", time.monotonic() - self.epoch_start_time)
        self.run_duration += epoch_duration  # a sum: a resumed run keeps its time
        row = make_row(
            number=self.run_count,
            epoch=epoch + 1,
            **{name: logs.get(name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
            **{"epoch duration": round(epoch_duration, 3), "run duration": round(self.run_duration, 3)},
            **self.columns,
        )
        self.run_data.append(row)
        for line in add_rows(self.results, [row], self.overwrite) if self.results else ():
            print(line)
        self.overwrite = False
        if self.table:
            self.table.update(self.run_data)

    def save(self, file_name: str | Path) -> None:
        """The notes' `save`: the rows as file_name.csv and file_name.json."""
        write_table(Path(f"{file_name}.csv"), self.run_data)
