"""docs/scale.md: the memory of a training by network and batch size."""

from kerasref.command_line import import_tensorflow
from kerasref.markdown import markdown_table
from kerasref.named_recipes import RECIPES
from maintain.pages import DOCS, update_page

BATCH_SIZES = (1, 8, 32, 64, 128, 256)


def main(args: list[str]) -> None:
    import_tensorflow()
    from kerasref.lab.benchmark.estimate import memory_of, network_of
    from kerasref.models.description import count_weights

    rows = []
    for name, recipe in {entry.recipe.model: entry.recipe for entry in RECIPES.values()}.items():
        model, _ = network_of(recipe)
        memory = memory_of(model, recipe.optimizer)
        parameters = f"{count_weights(model.trainable_weights):,}"
        fixed = f"{(memory.weights + memory.optimizer) / 1e9:.3f} GB"
        totals = [f"{memory.total(size) / 1e9:.2f} GB" for size in BATCH_SIZES]
        rows.append([f"`{name}`", parameters, fixed, f"{memory.activations / 1e6:.2f} MB", *totals])
    columns = ["network", "parameters", "weights, gradients, optimizer", "activations of an image"]
    columns += [f"batch {size}" for size in BATCH_SIZES]
    update_page(DOCS / "scale.md", {"memory": markdown_table(columns, rows, "l" + "r" * (len(columns) - 1))})
