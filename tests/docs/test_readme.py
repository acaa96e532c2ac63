"""README.md and README.zh-CN.md: commands exist with their options, Python runs, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def commands(page: str) -> set[str]:
    """The lines of the unmarked blocks, without what follows a #."""
    blocks = [code for kind, code in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if not kind]
    lines = (re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def test_commands_exist():
    assert min(len(commands(ENGLISH)), len(commands(CHINESE))) >= 10
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options: dict[str, set[str]] = {}
    for command in sorted(commands(ENGLISH) | commands(CHINESE)):
        program, *words = command.split()
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.M), f"no target for {command!r}"
        elif program == "python":
            name = " ".join(words[:2]) if "train.py" in command else words[0]  # train.py's options are a recipe's
            options.setdefault(name, set()).update(re.findall(r"--[\w-]+", command))
    for name, used in options.items():
        shown = subprocess.run([sys.executable, *name.split(), "--help"], cwd=ROOT, capture_output=True, text=True)
        missing = used - set(re.findall(r"--[\w-]+", shown.stdout))
        assert shown.returncode == 0 and not missing, f"{name} has no {sorted(missing)}"


def test_the_parts_work_in_your_own_code():
    (code,) = (code for code in re.findall(r"^```python\n(.*?)^```$", ENGLISH, re.M | re.S) if "build_model" in code)
    images, labels = np.random.default_rng(0).random((2, 96, 96, 3)), np.array([0, 4])
    names = {"images": images, "labels": labels}
    exec(compile(code.replace("epochs=10,", "epochs=1, verbose=0,"), "README.md", "exec"), names)
    assert names["model"].predict(images, verbose=0).shape == (2, 5)
    assert names["x"].shape == (None, 16, 16, 32)


def test_scripts_in_the_text_exist():
    for script in re.findall(r"python (scripts/\w+\.py)", ENGLISH + CHINESE):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["README.md", "README.zh-CN.md"])
def test_links_lead_somewhere(page):
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page, flags=re.S))]
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_each_leads_to_the_other_and_chinese_is_no_longer():
    assert "](README.zh-CN.md)" in ENGLISH and "](README.md)" in CHINESE
    assert len(CHINESE.splitlines()) <= len(ENGLISH.splitlines())
