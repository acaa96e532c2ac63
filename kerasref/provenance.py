"""Where a result comes from: versions, commit, hardware and command, as recipe.json and results/ hold them."""

import hashlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path


def command() -> str:
    return shlex.join(["python", *map(mask_secrets, sys.argv)])


def mask_secrets(text: str) -> str:
    """Replace passwords in URLs (`//me:PASSWORD@`) and in options (`password=`, `token=`) by ***.

    A password may contain any character, so what stands between `//me:` and the last @ of a line is replaced; of a
    value in quotes, all of it.
    """
    text = re.sub(r"(\w://[^\s:]*):.*@", r"\1:***@", text)
    option = r"(?i)(\b\w*(?:password|passwd|pwd|secret|token|api_?key)\s*=\s*)"
    return re.sub(option + r"""('[^']*'|"[^"]*"|[^&\s]*)""", r"\1***", text)


def versions(*more: str) -> dict[str, str]:
    packages = ("keras", "tensorflow", "numpy", "scikit-learn", "kerasref", *more)
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit of this package's checkout, with `+changes` where it was edited; None outside one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None  # installed, maybe inside of another checkout
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux: the platform's own word will do
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}


def sha256(path: Path) -> str:
    """Of a file; of a folder, over the names and contents of all files in it."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if path.is_dir():
            total.update(file.relative_to(path).as_posix().encode() + b"\0")
        if file.is_file():
            with open(file, "rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
