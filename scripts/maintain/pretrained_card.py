"""The model card of a pretrained network: that of `export`, under the front matter that the Hugging Face Hub reads."""

from huggingface_hub import EvalResult, ModelCardData

from kerasref.export.card import model_card
from kerasref.named_recipes import RECIPES

USE = """\
```python
import keras
import kerasref

model = kerasref.load_pretrained("{name}")  # a keras.Model: images [n, {shape}], 0 to 255 -> logits
probabilities = keras.ops.softmax(model.predict(images))
```

```
kerasref predict {name} image.png
kerasref train RECIPE --init-from {name}
```

`{name}.safetensors` has Keras' weights, `{name}.onnx` the network for ONNX Runtime, which reads the weights from the
former: keep both in one folder. `{name}.json` has the recipe, the metrics and the versions."""


def card(source, settings: dict, entry: dict, data) -> str:
    """Returns the card; entry: of verification.json; data: title, id on the Hub and licence of the dataset."""
    name, accuracy, seed = source.run.path.name, settings["accuracy"], settings["weights"]["seed"]
    common = dict(task_type="image-classification", task_name="Image classification", dataset_type=data.hub)
    common |= dict(dataset_name=data.title, dataset_split="test", metric_type="accuracy")
    results, more = {f"accuracy of these weights (seed {seed})": settings["metrics"]["accuracy"]}, ""
    if len(accuracy["seeds"]) > 1:
        results[f"mean accuracy of {len(accuracy['seeds'])} seeds"] = accuracy["mean"]
        more = ": " + ", ".join(f"{value:.2%} (seed {number})" for number, value in accuracy["seeds"].items())
        lowest = "the lowest" if seed == min(map(int, accuracy["seeds"])) else "the lowest whose weights were kept"
        more += f". These are the weights of seed {seed}, {lowest}, not the best"
    front = ModelCardData(
        license="apache-2.0",
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["keras", "onnx", "kerasref", settings["recipe"]["model"]],
        datasets=[data.hub],
        metrics=["accuracy"],
        model_name=name,
        eval_results=[EvalResult(**common, metric_name=k, metric_value=round(v, 6)) for k, v in results.items()],
    )
    licence = f"{settings['licence']['weights']} for the weights and the code; {data.title}: {data.licence}"
    body = model_card(source, {f"{name}.onnx": entry}, licence).split("\n", 1)[1]
    spread = "" if accuracy["standard_deviation"] is None else f" ± {100 * accuracy['standard_deviation']:.2f}"
    text = [
        f"# {name}",
        f"{settings['recipe']['model']} trained on {data.title} by the recipe `{settings['name']}` of kerasref "
        f"({RECIPES[settings['name']].source}). Test accuracy {100 * accuracy['mean']:.2f}{spread} %{more}.",
        USE.format(name=name, shape=", ".join(map(str, source.contract.image_shape))),
    ]
    return f"---\n{front.to_yaml()}\n---\n\n" + "\n\n".join(text) + "\n" + body
