"""What is recorded: no secret of a command, and a processor by what it can do."""

import sys

import pytest

from kerasref import provenance
from kerasref.provenance import command, mask_secrets

SECRET = "S3cr"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://me:S3cr@db.example.org:5432/trials", "postgresql://me:***@db.example.org:5432/trials"),
        ("postgresql+psycopg2://me:S3cr/S3cr@db/trials", "postgresql+psycopg2://me:***@db/trials"),
        ("postgresql://me:a@S3cr:/?#@db/trials", "postgresql://me:***@db/trials"),
        ("postgresql://me@server:S3cr@db/trials", "postgresql://me@server:***@db/trials"),
        ("redis://:S3cr@cache:6379", "redis://:***@cache:6379"),
        ("postgresql://db/trials?user=me&password=S3cr", "postgresql://db/trials?user=me&password=***"),
        ("postgresql://db/trials?password=S3cr&sslmode=require", "postgresql://db/trials?password=***&sslmode=require"),
        ("postgresql://db/trials?sslpassword=S3cr", "postgresql://db/trials?sslpassword=***"),
        ("host=db password='my S3cr' user=me", "host=db password=*** user=me"),
        ("PGPASSWORD=S3cr", "PGPASSWORD=***"),
        ("https://host/?API_KEY=S3cr", "https://host/?API_KEY=***"),
        ("two me:x postgresql://me:S3cr@db", "two me:x postgresql://me:***@db"),
        ("--epochs 3 --dataset photos/a=b", "--epochs 3 --dataset photos/a=b"),
    ],
)
def test_secrets_are_masked_and_nothing_else(text, kept, monkeypatch):
    assert mask_secrets(text) == kept
    monkeypatch.setattr(sys, "argv", ["train.py", "--storage", text])
    assert SECRET not in command() and "train.py --storage" in command()


@pytest.mark.parametrize(
    ("cpuinfo", "vector", "bfloat16"),
    [
        ("model name\t: Some\nflags\t\t: fma avx2 avx512f avx512_bf16\n", "avx512_bf16", True),
        ("model name\t: Some\nflags\t\t: fma avx avx2\n", "avx2", False),
        ("model name\t: Some\nflags\t\t: sse2\n", None, True),  # nothing is known of it
        ("Features\t: fp asimd bf16\n", None, True),
        (None, None, True),  # no /proc
    ],
)
def test_instructions_of_the_processor(cpuinfo, vector, bfloat16, monkeypatch):
    def read_text(file):
        if cpuinfo is None:
            raise FileNotFoundError(file)
        return cpuinfo

    monkeypatch.setattr(provenance.Path, "read_text", read_text)
    assert (provenance.vector_instructions(), provenance.has_bfloat16()) == (vector, bfloat16)
    assert provenance.hardware()["cpu"].endswith(f" ({vector})" if vector else "")
    assert provenance.hardware()["cpu"].startswith("Some" if "Some" in str(cpuinfo) else "")
