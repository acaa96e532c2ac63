"""README.md, README.zh-CN.md and docs/: commands exist with their options, Python runs, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
READMES = ("README.md", "README.zh-CN.md")


def commands(page: str) -> set[str]:
    """The lines of the unmarked blocks and the shell blocks, continued lines joined, without what follows a #."""
    blocks = [code for kind, code in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if kind in ("", "bash")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return {re.sub(r"\s+#.*", "", line).strip() for line in lines} - {""}


def options_used() -> dict[str, set[str]]:
    """Command of kerasref or script: the options that the pages give it."""
    used: dict[str, set[str]] = {}
    for page in PAGES:
        for command in commands(TEXT[page]):
            match = re.search(r"(?:^|\s)(?:(kerasref) (\S+)|python (scripts/\S+\.py))(.*)", command)
            if match:
                verb, script, rest = match[2], match[3], match[4]
                name = f"-m kerasref {verb}" if verb else script
                if verb in ("train", "find-lr"):  # the options are those of a recipe
                    name += f" {rest.split()[0]}" if re.fullmatch("[a-z0-9_]+", rest.split()[0]) else " mnist_cnn"
                elif verb == "compare" and ".keras" in rest:  # and those of a pair of models
                    name += rest.split(" --")[0]
                used.setdefault(name, set()).update(re.findall(r"(?<!\S)--[\w-]+", rest))
    return used


def test_commands_exist():
    assert min(len(commands(TEXT[page])) for page in READMES) >= 10
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {c.split()[1] for page in PAGES for c in commands(TEXT[page]) if c.startswith("make ")}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.M)] == []
    for name, used in options_used().items():
        help_ = "--help-all" if re.search(" (train|find-lr) ", name) else "--help"
        shown = subprocess.run([sys.executable, *name.split(), help_], cwd=ROOT, capture_output=True, text=True)
        missing = used - set(re.findall(r"--[\w-]+", shown.stdout)) - {"--help-all"}
        assert shown.returncode == 0 and not missing, f"{name} has no {sorted(missing)}\n{shown.stderr}"


@pytest.mark.parametrize("page", READMES)
def test_the_parts_work_in_your_own_code(page):
    (code,) = (c for c in re.findall(r"^```python\n(.*?)^```$", TEXT[page], re.M | re.S) if "residual_block" in c)
    images, labels = np.random.default_rng(0).random((2, 96, 96, 3)), np.array([0, 4])
    names = {"images": images, "labels": labels}
    exec(compile(code.replace("epochs=10,", "epochs=1, verbose=0,"), page, "exec"), names)
    assert names["model"].predict(images, verbose=0).shape == (2, 5)
    assert names["x"].shape == (None, 16, 16, 32)


def test_the_first_example_runs(tmp_path, monkeypatch):
    (code,) = (
        c for c in re.findall(r"^```python\n(.*?)^```$", TEXT["README.md"], re.M | re.S) if "kerasref.train(" in c
    )
    code = code.replace("epochs=3", 'epochs=1, dataset="digits"').replace("docs/", f"{ROOT}/docs/")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["run"].report.is_file() and (names["run"].path / "exports/model.onnx").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", TEXT[page], flags=re.S))
    ]
    folder = (ROOT / page).parent
    assert [link for link in links if link and "://" not in link and not (folder / link).exists()] == []


def test_both_readmes_have_the_same_content():
    english, chinese = (TEXT[page] for page in READMES)
    assert "](README.zh-CN.md)" in english and "](README.md)" in chinese
    assert commands(english) == commands(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")
    tables = [page.split("<!-- results -->")[1].split("<!-- /results -->")[0] for page in (english, chinese)]
    assert tables[0] == tables[1]
    assert "混淆矩阵" in chinese and "混乱矩阵" not in chinese


def test_every_requirement_has_its_reason():
    lines = (line for file in ROOT.glob("requirements*.txt") for line in file.read_text(encoding="utf-8").splitlines())
    packages = {re.split(r"[<>=\[ ]", line)[0] for line in lines if line and line[0] not in "#-"}
    cells = " ".join(line.rsplit("|", 2)[0] for line in TEXT["docs/dependencies.md"].splitlines() if line[:1] == "|")
    assert len(packages) > 20
    assert [package for package in sorted(packages) if not re.search(rf"\b{package}\b", cells)] == []


@pytest.mark.parametrize("page", PAGES)
def test_code_that_is_named_exists(page):
    named = re.findall(r"`((?:kerasref|scripts|tests)/[\w/.-]+\.\w+)(?:::(\w+))?`", TEXT[page])
    missing = [file for file, _ in named if not (ROOT / file).is_file()]
    definition = r"^(?:def|class) {0}\b|^{0}(?:: .*)? = "
    missing += [
        f"{file}::{name}"
        for file, name in named
        if name and file not in missing and not re.search(definition.format(name), (ROOT / file).read_text(), re.M)
    ]
    assert missing == []
