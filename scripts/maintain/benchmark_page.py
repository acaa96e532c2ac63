"""The tables of docs/performance.md, in Markdown, from the rows of results/benchmark.json."""

import itertools
from collections.abc import Iterable
from statistics import median

from kerasref.lab.benchmark.workloads import PASSES, WORKLOADS
from kerasref.markdown import markdown_table
from kerasref.named_recipes import named_recipe
from kerasref.provenance import machine

# Training throughput against PyTorch's best in float32; bfloat16 against our own float32; time of the MNIST program as
# a share of the notes' program's; resident bytes of a training on MNIST.
GOALS = {"mnist_cnn": 1.5, "lenet5": 1.5, "resnet20": 1.1, "alexnet": 1.15, "vgg16": 1.15, "resnet18": 1.15}
INFERENCE_GOAL = 1.0  # the faster of Keras and the exported network against PyTorch's best, in each arithmetic
BFLOAT16_GOAL = 1.7
MNIST_GOAL = 1 / 4
IMPORT = "`import tensorflow, keras`"  # what a start is held against
MEMORY_GOAL = 1.2e9
NOTHING = "Not measured yet."
COLUMNS = {
    "trials": ("network", "work", "arithmetic", "PyTorch's trials, images/s"),
    "fused": ("network", "arithmetic", "gain", "fused, images/s", "Keras' own, images/s", "gain of oneDNN"),
    "profile": ("network", "arithmetic", "a step, under the profiler", "its operations"),
    "backends": ("Keras on", "network, batch", "work", "arithmetic", "ratio", "Keras, images/s", "PyTorch, images/s"),
    "mnist": ("", "share of the notes' program's time", "goal", "ours, median of the seeds", "seeds",
              "the notes' program"),
    "startup": ("", "seconds", "CPU seconds"),
    "memory": ("", "highest resident memory", "goal"),
}  # fmt: skip
WORK = {"train": "training", "infer": "inference"}


def tables(rows: list[dict]) -> dict[str, str]:
    """Returns, by marker of the page, a table for each machine, or a line that nothing was measured."""
    machines: dict[str, list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["origin"]["date"], reverse=True):
        machines.setdefault(machine_of(row), []).append(row)
    found: dict[str, list[str]] = {}
    for name, theirs in machines.items():
        for marker, table in machine_tables(theirs).items():
            found.setdefault(marker, []).extend([f"On {name}:", table] if table != NOTHING else [])
    return {marker: "\n\n".join(lines) or NOTHING for marker, lines in found.items()}


def machine_of(row: dict) -> str:
    return machine(row["origin"]["hardware"])


def machine_tables(rows: list[dict]) -> dict[str, str]:
    """Returns the table, or a line that nothing was measured, by marker of the page; the rows are of one machine."""

    def part(name: str) -> list[dict]:
        return _select(rows, part=name)

    steps = _select(part("steps"), backend="tensorflow")
    training, inference = _select(steps, mode="train"), _select(steps, mode="infer")
    others = [row for row in part("steps") if row["backend"] != "tensorflow"]
    by_marker = {
        "glance": glance_table(rows),
        "feeding": feeding_table(part("feeding")),
        "training": training_table(training),
        "inference": inference_table(inference),
        "bfloat16": bfloat16_table(steps),
        "pipelines": pipelines_table(part("pipelines"), training),
        "streaming": streaming_table(part("streaming")),
    }
    cells = {  # of a row
        "trials": map(_trials, _ordered(steps)),
        "fused": map(_fused, _ordered(part("fused"))),
        "profile": map(_operations, _ordered(part("profile"))),
        "backends": map(_backend, _ordered(others)),
        "mnist": map(_mnist, part("mnist")),
        "startup": _startup(part("startup")),
        "memory": map(_memory, part("memory")),
    }
    return by_marker | {marker: _table(COLUMNS[marker], body) for marker, body in cells.items()}


def spread(values: list[float], digits: str = ".2f") -> str:
    """Formats median and range: `1.52 (1.47–1.60)`."""
    return f"{median(values):{digits}} ({min(values):{digits}}–{max(values):{digits}})"


def throughput(values: list[float]) -> str:
    """Formats images per second: `12,940 (11,660–13,330)`, `28.6 (27.9–29.2)`; a single value without range."""
    digits = ",.0f" if median(values) >= 1000 else ".4g"
    rounded = [float(f"{value:.4g}") for value in values]
    return spread(rounded, digits) if len(values) > 1 else f"{rounded[0]:{digits}}"


def ratios(row: dict, ours: str = "ours", other: str = "torch") -> list[float]:
    """Divides the rates of each round, which both sides shared."""
    return [mine / theirs for mine, theirs in zip(row[ours], row[other], strict=True)]


def glance_table(rows: list[dict]) -> str:
    """What is fast, by how much, and what is not: a row for each of the tables below."""
    body = []
    for mode, precision in itertools.product(WORK, ("float32", "bfloat16")):
        chosen = _select(rows, part="steps", backend="tensorflow", mode=mode, precision=precision)
        if chosen:
            against = {_network(row): max(_medians(row).values()) for row in _ordered(chosen)}
            slower = ", ".join(f"{name} {value:.2f}" for name, value in against.items() if value < 1)
            figure = f"{min(against.values()):.2f} to {max(against.values()):.2f} times PyTorch's best"
            body.append([f"{WORK[mode]}, {precision}", figure, slower or "none"])
    for row in _select(rows, part="mnist"):
        cells = _mnist(row)
        body.append([f"{cells[0]}, whole process", f"{cells[1]} of the notes' program's time", ""])
    starts = {row["workload"]: median(row["seconds"]) for row in _select(rows, part="startup")}
    for name in ("first step on MNIST, `mnist_cnn`", "first step on MNIST, `lenet5`"):
        if {name, IMPORT} <= {*starts}:
            share = starts[name] / starts[IMPORT]
            body.append([name, f"{starts[name]:.1f} s, {share:.2f} times the import of TensorFlow and Keras", ""])
    for row in _select(rows, part="streaming"):
        rates = {name: median(values) for name, values in row["rates"].items()}
        ours = {name: rate for name, rate in rates.items() if name.startswith("ours")}
        others = max(rate for name, rate in rates.items() if name not in ours)
        slower = [f"{name.removeprefix('ours, ')} {rate / others:.2f}" for name, rate in ours.items() if rate < others]
        best = f"{max(ours.values()) / others:.2f} times the faster of tf.data and a DataLoader"
        body.append([f"streaming, {row['workload']}", best, ", ".join(slower) or "none"])
    return _table(["", "figure", "slower"], body)


def _medians(row: dict) -> dict[str, float]:
    """The ratio to PyTorch of Keras and, where it was measured, of the exported network."""
    return {side: median(ratios(row, side)) for side in ("ours", "exported") if side in row}


def training_table(rows: list[dict]) -> str:
    body = []
    for row in _ordered(rows):
        goal = GOALS.get(row["workload"]) if row["precision"] == "float32" else None
        cells = [f"{_network(row)}, {row['batch_size']}", row["precision"], f"**{spread(ratios(row))}**"]
        cells += [_goal(median(ratios(row)), goal), throughput(row["ours"]), throughput(row["torch"])]
        body.append([*cells, row["torch_settings"], _of_peak(row, "ours"), _of_peak(row, "torch")])
    head = ["network, batch", "arithmetic", "ratio", "goal", "ours, images/s", "PyTorch, images/s", "PyTorch's best"]
    return _table([*head, "ours of peak", "PyTorch of peak"], body)


def inference_table(rows: list[dict]) -> str:
    """Keras and the exported network, each against PyTorch; the faster of the two is held against the goal."""
    body = []
    for row in _ordered(rows):
        against = _medians(row)
        cells = [f"{_network(row)}, {row['batch_size']}", row["precision"]]
        cells += [f"**{spread(ratios(row, side))}**" if side in row else "" for side in ("ours", "exported")]
        cells += [_goal(max(against.values()), INFERENCE_GOAL), throughput(row["ours"])]
        cells += [f"{throughput(row['exported'])} {row['format']}" if "exported" in row else ""]
        cells += [throughput(row["torch"]), row["torch_settings"]]
        body.append([*cells, _of_peak(row, max(against, key=against.get)), _of_peak(row, "torch")])
    head = ["network, batch", "arithmetic", "Keras / PyTorch", "export / PyTorch", "goal", "Keras, images/s"]
    head += ["export, images/s", "PyTorch, images/s", "PyTorch's best", "our faster of peak", "PyTorch of peak"]
    return _table(head, body)


def _of_peak(row: dict, side: str) -> str:
    return f"{median(row[side]) * 2 * PASSES[row['mode']] * row['multiply_adds'] / row['peak_flops']:.0%}"


def bfloat16_table(rows: list[dict]) -> str:
    """Compares bfloat16 with float32 of the same side, round by round."""
    body = []
    for low in _ordered(_select(rows, precision="bfloat16")):
        for full in _select(rows, precision="float32", workload=low["workload"], mode=low["mode"]):
            ours, torch = ([b / f for b, f in zip(low[side], full[side], strict=False)] for side in ("ours", "torch"))
            goal = _goal(median(ours), BFLOAT16_GOAL if low["mode"] == "train" else None)
            body.append([_network(low), WORK[low["mode"]], f"**{spread(ours)}**", goal, spread(torch)])
    return _table(["network", "work", "ours, bfloat16 / float32", "goal", "PyTorch, bfloat16 / float32"], body)


def _trials(row: dict) -> list[str]:
    trials = [
        f"{name} {throughput([rate])}" if isinstance(rate, float) else f"{name}: failed"
        for name, rate in row["torch_trials"].items()
    ]
    return [_network(row), WORK[row["mode"]], row["precision"], ", ".join(trials)]


def _fused(row: dict) -> list[str]:
    """Compares training with and without our fused kernels, and oneDNN's, round by round."""
    gains = f"**{spread(ratios(row, 'fused', 'plain'))}**"
    onednn = f"**{spread(ratios(row, 'fused', 'without_onednn'))}**" if "without_onednn" in row else ""
    return [_network(row), row["precision"], gains, throughput(row["fused"]), throughput(row["plain"]), onednn]


def _operations(row: dict) -> list[str]:
    """Shows each kind of operation's share of the sum over all of them."""
    total = sum(row["operations"].values())
    shares = ", ".join(f"{kind} {value / total:.0%}" for kind, value in row["operations"].items())
    return [_network(row), row["precision"], f"{row['step']:,.4g} ms", shares]


def _backend(row: dict) -> list[str]:
    what = [row["backend"], f"{_network(row)}, {row['batch_size']}", WORK[row["mode"]], row["precision"]]
    return [*what, f"**{spread(ratios(row))}**", throughput(row["ours"]), throughput(row["torch"])]


def pipelines_table(rows: list[dict], steps: list[dict]) -> str:
    body = []
    for row in rows:
        network = named_recipe(row["workload"]).recipe.model
        used = [median(step["ours"]) for step in steps if step["workload"] == network]
        feeds = f"{median(row['rates']['ours']) / max(used):.1f} times" if used else ""
        body.append([f"{_network(row)} on {row['dataset']}", *map(throughput, row["rates"].values()), feeds])
    head = ["recipe", *(rows[0]["rates"] if rows else ()), "ours feeds the fastest training of that network"]
    return _table(head, body)


def streaming_table(rows: list[dict]) -> str:
    head = ["images", *(rows[0]["rates"] if rows else ())]
    return _table(head, [[row["workload"], *map(throughput, row["rates"].values())] for row in rows])


def feeding_table(rows: list[dict]) -> str:
    body = []
    for row in rows:
        pipelines = dict(row["rates"])
        steps = [pipelines.pop(precision) for precision in ("float32", "bfloat16") if precision in pipelines]
        fastest = [max(pair) for pair in zip(*steps, strict=True)]
        for name, rates in pipelines.items():
            times = [rate / step for rate, step in zip(rates, fastest, strict=True)]
            goal = _goal(median(times), row["goal"])
            body.append([f"{_network(row)} on {row['dataset']}", name, f"**{spread(times, '.1f')}**", goal])
    return _table(["network", "augmentation", "times that the pipeline feeds the network", "goal"], body)


def _mnist(row: dict) -> list[str]:
    notes = [run["seconds"] for run in row["notes"]]
    accuracies = ", ".join(f"{run['accuracy']:.2%}" for run in row["notes"])
    reached = sorted(run["seconds"] for run in row["ours"] if run["seconds"] is not None)
    middle, missed = (len(row["ours"]) - 1) // 2, len(row["ours"]) - len(reached)
    cells = ["never", "missed", ""]
    if middle < len(reached):  # a seed that never reached the target counts as slower than all others
        share = reached[middle] / median(notes)
        verdict = f"{MNIST_GOAL:.2f}: {'met' if share <= MNIST_GOAL else 'missed'}"
        cells = [f"**{share:.2f}**", verdict, f"{reached[middle]:.1f} s ({reached[0]:.1f}–{reached[-1]:.1f})"]
    seeds = f"{len(row['ours'])}, {missed} of them never there"
    return [f"{_network(row)} to {row['target']:.1%}", *cells, seeds, f"{spread(notes, '.0f')} s to {accuracies}"]


def _startup(rows: list[dict]) -> list[list[str]]:
    """The help of all verbs is one row."""
    helps = [row for row in rows if row["workload"].endswith("--help`")]
    shown = [(row["workload"], row["seconds"], row["cpu_seconds"]) for row in rows if row not in helps]
    if helps:
        times = ([second for row in helps for second in row[kind]] for kind in ("seconds", "cpu_seconds"))
        shown.append((f"`kerasref VERB --help`, {len(helps)} verbs", *times))
    return [[name, spread(wall), spread(cpu)] for name, wall, cpu in shown]


def _memory(row: dict) -> list[str]:
    goal = f"{'≤' if row['resident'] <= MEMORY_GOAL else '>'} 1.2 GB"
    return [row["workload"], f"{row['resident'] / 1e9:.2f} GB", goal]


def _network(row: dict) -> str:
    return f"`{row['workload']}`"


def _goal(value: float, goal: float | None) -> str:
    return "" if goal is None else f"{goal}: {'met' if value >= goal else 'missed'}"


def _ordered(rows: list[dict]) -> list[dict]:
    names = list(WORKLOADS)

    def order(row):
        return row.get("mode") == "infer", names.index(row["workload"]), row["precision"] != "float32"

    return sorted(rows, key=order)


def _table(head: list[str], body: Iterable[list[str]]) -> str:
    body = list(body)
    return markdown_table(head, body) if body else NOTHING


def _select(rows: list[dict], **wanted) -> list[dict]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
