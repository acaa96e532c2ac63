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

BFLOAT16 = ("amx_bf16", "avx512_bf16")  # as /proc/cpuinfo has them
VECTORS = (*BFLOAT16, "avx512f", "avx2")  # the latest first


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
    """The processor with its vector instructions, since one model name may stand for several generations, and cores."""
    model = _cpuinfo("model name") or platform.processor() or platform.machine()
    if vector := vector_instructions():
        model += f" ({vector})"
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}


def machine(hardware: dict) -> str:
    """What `hardware` returned, as tables have it."""
    return f"{hardware['cores']} cores of {hardware['cpu']}"


def vector_instructions() -> str | None:
    """The latest of VECTORS that the processor has; None for another processor than x86, or without /proc."""
    flags = _cpuinfo("flags").split()
    return next((name for name in VECTORS if name in flags), None)


def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; of one without VECTORS this is not known: True."""
    return vector_instructions() in (*BFLOAT16, None)


def _cpuinfo(name: str) -> str:
    """The first value of a name in /proc/cpuinfo, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""  # not Linux
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


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
