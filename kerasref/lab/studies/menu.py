"""kerasref menu: the menu of the notes (手写数字识别): train, or test images until 0; Chinese or English by locale."""

import locale
import os
import signal
import subprocess
import sys
from pathlib import Path

from kerasref.command_line import import_tensorflow, parse, quiet_start
from kerasref.errors import UserError
from kerasref.text import printable

TEXTS = {
    "zh": {
        "start": "1. 训练  2. 测试\n",
        "test": "手写数字识别\n测试: 1, 结束: 0\n",
        "path": "输入图片路径:",
        "answer": "识别结果: {}",
        "not sure": "不确定, 可能是: {}",
        "unreadable": "无法识别这张图片: {}",
        "untrained": "还没有训练好的模型, 请先训练 (1)",
    },
    "en": {
        "start": "1 train  2 test\n",
        "test": "Handwritten digits\ntest: 1, end: 0\n",
        "path": "path of an image: ",
        "answer": "it is a {}",
        "not sure": "not sure, perhaps: {}",
        "unreadable": "{}",
        "untrained": "no trained network yet; train first (1)",
    },
}


def menu(recipe: str = "mnist_cnn", dataset: str | None = None, run_dir: Path = Path("runs/menu")) -> int:
    """Ask what to do, as the program of the notes does: 1 trains, 2 classifies images until 0.

    Args:
        recipe: recipe to train (`kerasref train --help` lists them)
        dataset: another dataset than the recipe's, such as digits, which needs no download
        run_dir: run directory of the network
    """
    texts = TEXTS["zh" if language().startswith(("zh", "Chinese")) else "en"]
    while (chosen := _asked(texts["start"])) not in ("0", "1", "2"):
        pass
    if chosen == "1":
        return wait_for(train_command(recipe, dataset, run_dir))
    if chosen == "0":
        return 0
    if not (run_dir / "model.keras").is_file():
        raise UserError(texts["untrained"])
    import_tensorflow()
    from kerasref.export.predictors import load, predict_input, read_input

    with quiet_start():
        predictor = load(run_dir)
    while _asked(texts["test"]) == "1":
        try:
            prediction = predict_input(predictor, read_input(predictor, Path(_asked(texts["path"]).strip("\"'"))))
        except UserError as error:
            print(printable(texts["unreadable"].format(error)))
            continue
        if prediction["confident"] is False:
            print(texts["not sure"].format(printable(", ".join(one["label"] for one in prediction["top"]))))
        else:
            print(texts["answer"].format(printable(prediction["label"])))
        print("----------")
    return 0


def train_command(recipe: str, dataset: str | None, run_dir: Path) -> list[str]:
    """The command that trains, with its own progress and messages; a run that is there is resumed."""
    command = [sys.executable, "-m", "kerasref", "train", recipe, "--run-dir", str(run_dir)]
    command += ["--validation", "0.1"] + (["--dataset", dataset] if dataset else [])
    return command + (["--resume"] if (run_dir / "recipe.json").exists() else [])


def wait_for(command: list[str]) -> int:
    """Run `command` until it ends; a signal is passed on, so that a training saves first. Return its exit code."""
    child = subprocess.Popen(command)
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            try:
                code = child.wait()
                return code if code >= 0 else 128 - code  # as in a shell: 128 + the signal that ended it
            except KeyboardInterrupt:  # the terminal sent Ctrl-C to the child, too
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def language() -> str:
    """As the C library looks for it: LC_ALL, then LC_MESSAGES, then LANG; Windows has only the locale."""
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next((name for name in named if name), None) or locale.getlocale()[0] or "en"


def _asked(question: str) -> str:
    """The answer; the input's end counts as 0."""
    try:
        return input(question).strip()
    except EOFError:
        return "0"


def main(args: list[str]) -> None:
    sys.exit(parse(menu, args, "menu"))
