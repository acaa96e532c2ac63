"""The benchmark's tables and estimates, from rows and networks whose figures can be worked out by hand."""

import json

import keras
import pytest
from maintain import benchmark as record
from maintain import benchmark_page as page
from maintain import growth_page

from kerasref.errors import UserError
from kerasref.lab.benchmark.estimate import images_per_second, memory_of
from kerasref.named_recipes import named_recipe
from kerasref.provenance import hardware, machine
from kerasref.recipe import Recipe


def steps(workload="lenet5", precision="float32", mode="train", backend="tensorflow", ours=(200.0, 300.0, 250.0)):
    return {
        "part": "steps",
        **{"workload": workload, "mode": mode, "precision": precision, "backend": backend, "device": "CPU"},
        **{"batch_size": 64, "multiply_adds": 1000, "ours": list(ours), "torch": [100.0, 200.0, 100.0]},
        **{"torch_settings": "eager", "torch_trials": {"eager": 100.0, "compiled": "no compiler"}},
        **{"peak_flops": 6e6, "others": 0.01},
        "origin": {"hardware": {"cores": 2, "cpu": "some"}, "date": "2026-11-25"},
    }


def test_the_ratio_is_the_median_of_the_rounds_and_the_goal_is_held_against_it():
    table = page.machine_tables([steps()])["training"]
    assert "**2.00 (1.50–2.50)**" in table  # 2, 1.5 and 2.5
    assert "1.5: met" in table
    assert "| 25% | 10% |" in table  # 250 and 100 images of 3 · 2 · 1000 operations, of 6e6
    assert "1.5: missed" in page.machine_tables([steps(ours=(100.0, 200.0, 100.0))])["training"]


def test_the_faster_of_keras_and_the_export_is_held_against_the_goal():
    row = steps(mode="infer", ours=(50.0, 100.0, 75.0)) | {"exported": [100.0, 300.0, 150.0], "format": "onnx"}
    table = page.machine_tables([row])["inference"]
    assert "**0.50 (0.50–0.75)**" in table and "**1.50 (1.00–1.50)**" in table and "1.0: met" in table
    assert "| 5% | 3% |" in table  # 150 and 100 images of 2 · 1000 operations, of 6e6
    del row["exported"]
    assert "1.0: missed" in page.machine_tables([row])["inference"]


def test_the_first_table_says_what_is_slower():
    start = {"part": "startup", "cpu_seconds": [1.0]}
    rows = [
        *(
            steps(name, ours=rates)
            for name, rates in (("lenet5", (50.0, 180.0, 90.0)), ("alexnet", (200.0, 400.0, 250.0)))
        ),
        {**start, "workload": page.IMPORT, "seconds": [4.0]},
        {**start, "workload": "first step on MNIST, `lenet5`", "seconds": [5.0]},
        {"part": "streaming", "workload": "x at 1", "rates": {"ours, a": [9.0], "ours, b": [4.0], "tf.data": [6.0]}},
    ]
    table = page.machine_tables(rows)["glance"]
    assert "| training, float32 | 0.90 to 2.00 times PyTorch's best | `lenet5` 0.90 |" in table
    assert "5.0 s, 1.25 times" in table and "1.50 times" in table and "| b 0.67 |" in table


def test_bfloat16_is_held_against_our_own_float32():
    table = page.machine_tables([steps(), steps(precision="bfloat16", ours=(400.0, 500.0, 450.0))])["bfloat16"]
    assert "**1.80 (1.67–2.00)**" in table and "1.7: met" in table


def test_other_backends_and_failed_trials_have_places_of_their_own():
    tables = page.machine_tables([steps(), steps(backend="jax")])
    assert tables["training"].count("`lenet5`") == 1
    assert "| jax |" in tables["backends"]
    assert "compiled: failed" in tables["trials"]


def test_operations_are_shares_of_their_sum():
    row = {"part": "profile", "workload": "lenet5", "precision": "float32", "step": 5.0}
    table = page.machine_tables([row | {"operations": {"Conv2D": 6.0, "all others": 2.0}}])["profile"]
    assert "| 5 ms | Conv2D 75%, all others 25% |" in table


def test_fused_kernels_and_onednn_have_a_gain_each():
    row = {"part": "fused", "workload": "lenet5", "precision": "float32", "fused": [200.0], "plain": [100.0]}
    assert page.machine_tables([row])["fused"].endswith("| **2.00 (2.00–2.00)** | 200 | 100 |  |")
    assert "| **4.00 (4.00–4.00)** |" in page.machine_tables([row | {"without_onednn": [50.0]}])["fused"]


def test_a_seed_that_never_arrives_counts_as_the_slowest():
    def row(*seconds):
        ours = [{"seed": i, "seconds": value, "epochs": []} for i, value in enumerate(seconds)]
        notes = [{"seed": 0, "seconds": 100.0, "accuracy": 0.988}]
        return {"part": "mnist", "workload": "mnist_cnn_fast", "target": 0.99, "ours": ours, "notes": notes}

    assert "**0.24**" in page.machine_tables([row(20.0, 24.0, None)])["mnist"]
    assert "missed" in page.machine_tables([row(20.0, 26.0, None)])["mnist"]
    assert "never" in page.machine_tables([row(20.0, None, None)])["mnist"]


def test_growth_is_what_each_further_image_adds():
    def row(images, cpu, resident):
        start = {"seconds": cpu / 2, "cpu_seconds": cpu, "resident": resident, "images_per_second": 1000.0}
        starts = dict.fromkeys(("first", "next", "resumed"), start)
        return {"images": images, "classes": 10, "pixels": images * 3072, "starts": starts}

    table = growth_page.growth_table([row(1_000, 6.0, 1e9), row(11_000, 8.0, 2e9)]).splitlines()
    assert "| 3.0 s, CPU 6.0 s | 3.0 s, CPU 6.0 s |" in table[2] and "1.00 GB: met" in table[2]
    assert "| 4.0 s, CPU 8.0 s, 200 µs an image |" in table[3]  # 2 s of 10,000
    assert "| 2.00 GB | 1.97 GB: missed |" in table[3]


def test_pipelines_of_a_stream_have_a_column_each():
    rates = {"ours, image folder": [300.0, 500.0, 400.0], "tf.data": [100.0, 100.0, 100.0]}
    table = page.machine_tables([{"part": "streaming", "workload": "imagenette at 128", "rates": rates}])["streaming"]
    assert "| images | ours, image folder | tf.data |" in table and "| 400 (300–500) | 100 (100–100) |" in table


def test_a_row_replaces_its_predecessor_only(tmp_path):
    file = tmp_path / "benchmark.json"
    record.add([steps(), steps("alexnet")], file)
    record.add([steps(ours=(1.0, 1.0, 1.0))], file)
    found = record.read(file)
    assert [row["workload"] for row in found] == ["lenet5", "alexnet"]
    assert found[0]["ours"] == [1.0, 1.0, 1.0] and found[0]["origin"]["hardware"]["cores"]


def test_each_machine_keeps_its_rows_of_training_and_has_tables_of_its_own(tmp_path):
    file = tmp_path / "benchmark.json"
    elsewhere = {"hardware": {"cores": 9, "cpu": "other"}, "date": "2000-01-01"}
    file.write_text(json.dumps([steps(precision="bfloat16") | {"origin": elsewhere}]))
    record.add([steps(), steps(precision="bfloat16", ours=(400.0, 500.0, 450.0))], file)
    tables = page.tables(record.read(file))
    here = machine(hardware())
    assert tables["training"].split("\n\n")[::2] == [f"On {here}:", "On 9 cores of other:"]
    assert tables["bfloat16"].startswith(f"On {here}:")
    assert "other" not in tables["bfloat16"]  # float32 is missing there
    assert tables["memory"] == page.NOTHING


def test_memory_counts_weights_gradients_slots_and_every_output():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))  # 15 weights
    memory = memory_of(model, "adam")
    assert (memory.weights, memory.optimizer) == (2 * 15 * 4, 2 * 15 * 4)
    assert memory.activations == (4 + 3) * 4
    assert memory.total(10) == 240 + 10 * 28
    assert memory_of(model, "sgd", "mixed_bfloat16").activations == (4 + 3) * 2


def test_throughput_is_the_measured_one_or_scaled_by_work():
    from kerasref.models import build_model
    from kerasref.models.description import multiply_adds

    lenet5 = build_model("lenet5")
    work = multiply_adds(lenet5)
    rate, source = images_per_second([steps() | {"multiply_adds": work}], lenet5, named_recipe("lenet5").recipe)
    assert (rate, source) == (250.0, "measured on CPU, 2 cores of some")
    rate, source = images_per_second([steps() | {"multiply_adds": 2 * work}], lenet5, Recipe())
    assert rate == 500.0 and source.startswith("extrapolated")
    with pytest.raises(UserError, match="no throughput of a training in float32"):
        images_per_second([], lenet5, Recipe())
