"""What is recorded of a command must not hold a secret."""

import sys

import pytest

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
