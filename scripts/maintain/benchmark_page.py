"""The tables of docs/performance.md, in Markdown, from the rows of results/benchmark.json."""

import statistics

from kerasref.lab.benchmark.workloads import PASSES, WORKLOADS
from kerasref.markdown import markdown_table
from kerasref.recipes import named_recipe

# Training throughput against PyTorch's best in float32; bfloat16 against our own float32; the MNIST program's time as a
# part of the notes' program's; resident bytes of a training on MNIST.
GOALS = {"mnist_cnn": 1.5, "lenet5": 1.5, "resnet20": 1.1, "alexnet": 1.15, "vgg16": 1.15, "resnet18": 1.15}
BFLOAT16_GOAL = 1.7
MNIST_GOAL = 1 / 4
MEMORY_GOAL = 1.2e9
NOT_MEASURED = "Not measured yet."
HOME = "tensorflow"  # the backend that everything but the networks is written for


def tables(rows: list[dict]) -> dict[str, str]:
    """Marker of the page -> table, or a line that says that this was not measured."""
    steps, others = _by_backend(_select(rows, part="steps"))
    by_marker = {
        "training": steps_table(_select(steps, mode="train"), GOALS),
        "inference": steps_table(_select(steps, mode="infer"), {}),
        "bfloat16": bfloat16_table(steps),
        "trials": trials_table(steps),
        "fused": fused_table(_select(rows, part="fused")),
        "profile": profile_table(_select(rows, part="profile")),
        "backends": backends_table(others),
        "pipelines": pipelines_table(_select(rows, part="pipelines"), _select(steps, mode="train")),
        "mnist": mnist_table(_select(rows, part="mnist")),
        "startup": startup_table(_select(rows, part="startup")),
        "memory": memory_table(_select(rows, part="memory")),
    }
    return {marker: table or NOT_MEASURED for marker, table in by_marker.items()}


def spread(values: list[float], digits: str = ".2f") -> str:
    """`1.52 (1.47–1.60)`: median and range."""
    return f"{statistics.median(values):{digits}} ({min(values):{digits}}–{max(values):{digits}})"


def throughput(values: list[float]) -> str:
    """Images a second: `12,940 (11,660–13,330)`, `28.6 (27.9–29.2)`; one alone without its range."""
    digits = ",.0f" if statistics.median(values) >= 1000 else ".4g"
    rounded = [float(f"{value:.4g}") for value in values]
    return spread(rounded, digits) if len(values) > 1 else f"{rounded[0]:{digits}}"


def ratios(row: dict) -> list[float]:
    """Of each round, which both sides shared."""
    return [ours / torch for ours, torch in zip(row["ours"], row["torch"], strict=True)]


def steps_table(rows: list[dict], goals: dict[str, float]) -> str:
    body = []
    for row in _ordered(rows):
        flops = 2 * PASSES[row["mode"]] * row["multiply_adds"]
        shares = (f"{statistics.median(row[side]) * flops / row['peak_flops']:.0%}" for side in ("ours", "torch"))
        goal = goals.get(row["workload"]) if row["precision"] == "float32" else None
        body.append(
            [
                f"`{row['workload']}`, {row['batch_size']}",
                row["precision"],
                f"**{spread(ratios(row))}**",
                *([_goal(statistics.median(ratios(row)), goal)] if goals else []),
                *(throughput(row[side]) for side in ("ours", "torch")),
                row["torch_settings"],
                *shares,
            ]
        )
    goal = ["goal"] if goals else []
    head = ["network, batch", "arithmetic", "ratio", *goal, "ours, images/s", "PyTorch, images/s", "PyTorch's best"]
    return _table([*head, "ours of peak", "PyTorch of peak"], body)


def bfloat16_table(rows: list[dict]) -> str:
    """Our bfloat16 against our float32, round by round."""
    body = []
    for low in _ordered(_select(rows, precision="bfloat16")):
        full = _select(rows, precision="float32", workload=low["workload"], mode=low["mode"])
        if full:
            found = {
                side: [b / f for b, f in zip(low[side], full[0][side], strict=False)] for side in ("ours", "torch")
            }
            goal = BFLOAT16_GOAL if low["mode"] == "train" else None
            body.append(
                [
                    f"`{low['workload']}`",
                    "training" if low["mode"] == "train" else "inference",
                    f"**{spread(found['ours'])}**",
                    _goal(statistics.median(found["ours"]), goal),
                    spread(found["torch"]),
                ]
            )
    return _table(["network", "work", "ours, bfloat16 / float32", "goal", "PyTorch, bfloat16 / float32"], body)


def trials_table(rows: list[dict]) -> str:
    body = []
    for row in _ordered(rows):
        work = "training" if row["mode"] == "train" else "inference"
        trials = (
            f"{name} {throughput([rate])}" if isinstance(rate, float) else f"{name}: failed"
            for name, rate in row["torch_trials"].items()
        )
        body.append([f"`{row['workload']}`", work, row["precision"], ", ".join(trials)])
    return _table(["network", "work", "arithmetic", "PyTorch's trials, images/s"], body)


def fused_table(rows: list[dict]) -> str:
    """Training with our fused kernels against the same without, round by round."""
    body = []
    for row in _ordered(rows):
        gains = [fused / plain for fused, plain in zip(row["fused"], row["plain"], strict=True)]
        rates = (throughput(row[side]) for side in ("fused", "plain"))
        body.append([f"`{row['workload']}`", row["precision"], f"**{spread(gains)}**", *rates])
    return _table(["network", "arithmetic", "gain", "fused, images/s", "Keras' own, images/s"], body)


def profile_table(rows: list[dict]) -> str:
    """Each kind of operation's share of the sum over all of them."""
    body = []
    for row in _ordered(rows):
        total = sum(row["operations"].values())
        shares = (f"{kind} {value / total:.0%}" for kind, value in row["operations"].items())
        body.append([f"`{row['workload']}`", row["precision"], f"{row['step']:,.4g} ms", ", ".join(shares)])
    return _table(["network", "arithmetic", "a step, under the profiler", "its operations"], body)


def backends_table(rows: list[dict]) -> str:
    body = [
        [
            row["backend"],
            f"`{row['workload']}`, {row['batch_size']}",
            "training" if row["mode"] == "train" else "inference",
            row["precision"],
            f"**{spread(ratios(row))}**",
            throughput(row["ours"]),
            throughput(row["torch"]),
        ]
        for row in _ordered(rows)
    ]
    head = ["Keras on", "network, batch", "work", "arithmetic", "ratio", "Keras, images/s", "PyTorch, images/s"]
    return _table(head, body)


def pipelines_table(rows: list[dict], steps: list[dict]) -> str:
    body = []
    for row in rows:
        ours = statistics.median(row["rates"]["ours"])
        used = [statistics.median(s["ours"]) for s in steps if _network(row) == s["workload"]]
        body.append(
            [
                f"`{row['workload']}` on {row['dataset']}",
                *(throughput(values) for values in row["rates"].values()),
                f"{ours / max(used):.1f} times" if used else "",
            ]
        )
    head = ["recipe", *(rows[0]["rates"] if rows else ()), "ours feeds the fastest training of that network"]
    return _table(head, body)


def mnist_table(rows: list[dict]) -> str:
    body = []
    for row in rows:
        notes = [run["seconds"] for run in row["notes"]]
        accuracies = ", ".join(f"{run['accuracy']:.2%}" for run in row["notes"])
        reached = [run["seconds"] for run in row["ours"] if run["seconds"] is not None]
        missed = len(row["ours"]) - len(reached)
        # A seed that never got there counts as slower than all the others.
        seconds = sorted(reached)[(len(row["ours"]) - 1) // 2] if (len(row["ours"]) - 1) // 2 < len(reached) else None
        share = None if seconds is None else seconds / statistics.median(notes)
        verdict = "" if share is None else f"{MNIST_GOAL:.2f}: {'met' if share <= MNIST_GOAL else 'missed'}"
        body.append(
            [
                f"`{row['workload']}` to {row['target']:.1%}",
                "never" if share is None else f"**{share:.2f}**",
                verdict or "missed",
                "" if share is None else f"{seconds:.1f} s ({min(reached):.1f}–{max(reached):.1f})",
                f"{len(row['ours'])}, {missed} of them never there",
                f"{spread(notes, '.0f')} s to {accuracies}",
            ]
        )
    head = [
        "",
        "share of the notes' program's time",
        "goal",
        "ours, median of the seeds",
        "seeds",
        "the notes' program",
    ]
    return _table(head, body)


def startup_table(rows: list[dict]) -> str:
    return _table(["", "seconds"], [[row["workload"], spread(row["seconds"])] for row in rows])


def memory_table(rows: list[dict]) -> str:
    body = [
        [row["workload"], f"{row['resident'] / 1e9:.2f} GB", f"{'≤' if row['resident'] <= MEMORY_GOAL else '>'} 1.2 GB"]
        for row in rows
    ]
    return _table(["", "highest resident memory", "goal"], body)


def _goal(found: float, goal: float | None) -> str:
    return "" if goal is None else f"{goal}: {'met' if found >= goal else 'missed'}"


def _network(row: dict) -> str:
    return named_recipe(row["workload"]).recipe.model


def _ordered(rows: list[dict]) -> list[dict]:
    names = list(WORKLOADS)

    def place(row):
        return row.get("mode") == "infer", names.index(row["workload"]), row["precision"] != "float32"

    return sorted(rows, key=place)


def _by_backend(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    return [row for row in rows if row["backend"] == HOME], [row for row in rows if row["backend"] != HOME]


def _table(head: list[str], body: list[list[str]]) -> str:
    return markdown_table(head, body) if body else ""


def _select(rows: list[dict], **wanted) -> list[dict]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
