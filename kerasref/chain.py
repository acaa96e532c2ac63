"""The chain of hashes of a run: chain.jsonl has one link per line, each hashed over the one before.

A link is a JSON object: `link`, its kind; what it says; and `sha256`, over the `sha256` of the link before and what it
says. Nothing in it depends on when, where or in how many parts the training ran. docs/verifying.md has the kinds.
"""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

from kerasref.atomic import write_atomically
from kerasref.errors import UserError
from kerasref.provenance import sha256
from kerasref.recipe import Recipe

MAX_BYTES = 2**28  # the chain of a hundred thousand epochs is smaller


class Chain:
    """The links of a training. They are written with each checkpoint, since a resume needs no later ones.

    file: None keeps no chain.
    """

    def __init__(self, file: Path | None):
        self.file, self.links = file, []

    @property
    def head(self) -> str:
        """The hash of the last link."""
        return self.links[-1]["sha256"] if self.links else ""

    def add(self, kind: str, **says) -> None:
        link = {"link": kind, **says}
        self.links.append({**link, "sha256": hash_of([self.head, link])})

    def write(self) -> None:
        if self.links:
            write_atomically(self.file, "".join(f"{json.dumps(link)}\n" for link in self.links))

    def continue_from(self, head: str) -> None:
        """Read the links up to the one with the hash `head`; where it is not there, keep no chain from now on."""
        with contextlib.suppress(UserError):
            self.links = read_links(self.file) if self.file and head else []
        while self.links and self.head != head:
            self.links.pop()
        if self.file and head and not self.links:
            print(f"{self.file} does not contain the links of the checkpoint, so it is not continued")
        self.file = self.file if self.links else None


def read_links(file: Path) -> list[dict]:
    """The links of a chain.jsonl, unchecked; raises UserError where they are no links, or not there."""
    if not file.is_file():
        raise UserError(
            f"{file} is not there, the chain of hashes of a training: the run was trained by an earlier version, "
            "or with --strategy; train again to have one"
        )
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes, expected at most {MAX_BYTES}")
        links = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(link, dict) and {"link", "sha256"} <= link.keys() for link in links):
            raise ValueError("a line is no link")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: not readable as a chain of hashes ({error})") from None
    return links


def hash_of(content) -> str:
    """The SHA-256 of JSON content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def recipe_hash(recipe: Recipe) -> str:
    """Of all that is not as in the default recipe, so that a field which is added later changes no hash.

    Without `epochs`, which a resume may change, and `dataset`, a folder that may move: the chain has its content.
    """
    default = dataclasses.asdict(Recipe()) | {name: getattr(recipe, name) for name in ("epochs", "dataset")}
    return hash_of({name: value for name, value in dataclasses.asdict(recipe).items() if value != default[name]})


def measured(row: dict) -> dict:
    """A row of history.csv without its durations, as a link has it."""
    return {name: float(value) for name, value in row.items() if "duration" not in name and value is not None}


def record_evaluation(run) -> None:
    """Make the files of an evaluation the last link of a finished run's chain, instead of those of the one before."""
    chain = Chain(run.chain_file)
    with contextlib.suppress(UserError):  # no chain, or none that can be read: `verify` reports it
        chain.links = [link for link in read_links(run.chain_file) if link["link"] != "evaluation"]
    if chain.links and chain.links[-1]["link"] == "end":
        files = (run.metrics_file, run.validation_file, run.predictions_file)
        chain.add("evaluation", **{file.name: sha256(file) for file in files if file.is_file()})
        chain.write()
