"""A run of an image folder, used from another directory and after the folder has moved."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

import kerasref
from kerasref.cli import evaluate, main
from kerasref.errors import UserError
from tests.data.samples import make_folder


def test_a_run_whose_folder_has_moved(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path / "here" / "photos", {"dark": 20, "light": 20})
    monkeypatch.chdir(tmp_path / "here")
    run_dir, options = tmp_path / "run", {"tensorboard": False, "validation": 0.2}
    trained = kerasref.train("softmax_regression", dataset="photos", epochs=1, run_dir=run_dir, **options)
    accuracy = trained.metrics["accuracy"]

    (tmp_path / "here" / "photos").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="photos"):
        trained.evaluate()
    assert trained.evaluate(dataset="moved")["accuracy"] == accuracy
    capsys.readouterr()
    evaluate.main([str(run_dir), "--dataset", "moved"])
    assert f"accuracy {accuracy:.4f}" in capsys.readouterr().out
    main.call(["export", str(run_dir), "--dataset", str(tmp_path / "moved")])
    options |= {"run_dir": run_dir, "resume": True, "lr": trained.recipe.learning_rate}
    longer = kerasref.train("softmax_regression", dataset="moved", epochs=2, **options)
    assert longer.history["epoch"].tolist() == [1, 2]

    changed = tmp_path / "moved" / "dark" / "3.png"
    content = bytearray(changed.read_bytes())
    Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
    changed.write_bytes(changed.read_bytes()[: len(content)].ljust(len(content), b"\0"))  # of the same size
    for call in (trained.evaluate, partial(trained.export, force=True)):
        with pytest.raises(UserError, match="content of its images is different"):
            call(dataset="moved")
