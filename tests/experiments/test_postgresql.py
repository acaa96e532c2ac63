"""A sweep whose study is in a real PostgreSQL, started here: two workers, one of which is killed."""

import collections
import contextlib
import dataclasses
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pytest

from kerasref.lab.sweeps.plan import Plan
from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.recipe import Recipe

PROGRAMS = [Path(found).parent for found in [shutil.which("initdb")] if found]
PROGRAMS += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@pytest.fixture
def url():
    """Of an empty database of a server that is this test's own, which another user has where we are root."""
    pytest.importorskip("psycopg", reason="psycopg is absent: pip install -r requirements-test.txt")
    programs = next((folder for folder in PROGRAMS if (folder / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is absent: apt-get install postgresql")
    user = ("postgres" if _exists("postgres") else "nobody") if os.getuid() == 0 else None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if user:
        shutil.chown(folder, user)
    try:
        options = dict(user=user, cwd=folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
        initdb = [programs / "initdb", "-D", folder / "data", "-U", "me", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, **options)
        server = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:
            try:
                _wait(lambda: _answers(port))
                yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)  # at once, though connections are open
    finally:
        shutil.rmtree(folder)


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def _answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=me dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _wait(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


WORKER = """
import sys, time
from pathlib import Path
from kerasref.lab.sweeps.sweep import Sweep
from kerasref.lab.sweeps.results_table import add_rows, make_row
from kerasref.lab.sweeps.plan import Outcome
folder, me, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def train(job):
    (folder / f"worker-{me}").touch()
    while len(list(folder.glob("worker-*"))) < 2:
        time.sleep(0.01)
    with open(folder / "begun", "a") as file:
        file.write(f"{me} {job.number}\\n")
    time.sleep(999 if me == "a" else 0.05)  # a is killed at its first run
    add_rows(job.results, [make_row(number=job.number, epoch=1, params=job.params, seed=0, run_dir=job.run_dir)])
    return Outcome(float(job.number))
Sweep.open(folder, url).work(train)
"""


@pytest.mark.timeout(600)
def test_a_password_is_in_no_file_and_no_line(url, tmp_path):
    """One with the characters that end a password elsewhere; the server trusts everybody, so it is not looked at."""
    out, password = tmp_path / "sweep", "pa/ss:w?rd#1"
    with_password = url.replace("//me@", f"//me:{password}@")
    command = [sys.executable, "-m", "kerasref", "sweep", "mnist_cnn", "--grid", "lr=0.1", "model=softmax_regression"]
    command += ["--dataset", "digits", "--epochs", "1", "--out", str(out), "--storage"]
    done = subprocess.run([*command, with_password], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrong = [with_password.replace("127.0.0.1", "127.0.0.1:1"), with_password.replace("psycopg", "nothing")]
    wrong += [with_password.replace("me:", "me:@x"), f"{url}?password={password}&sslmode=never"]
    said = [done.stdout, done.stderr]
    for bad in wrong:
        refused = subprocess.run([*command, bad], capture_output=True, text=True)
        assert refused.returncode in (1, 2) and refused.stderr.startswith("error:")
        said += [refused.stdout, refused.stderr]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"sweep.json", "recipe.json", "results.csv"} <= {path.name for path in files}
    assert not [path for path in files if b"pa/ss" in path.read_bytes() or b"w?rd" in path.read_bytes()]
    assert not [text for text in said if "pa/ss" in text or "w?rd" in text]
    assert "***" in (out / "sweep.json").read_text() and "***" in (out / "runs/0001/recipe.json").read_text()


def test_two_workers_share_a_sweep_in_postgresql_and_one_is_killed(url, tmp_path):
    plan = Plan(
        name="test",
        base=dataclasses.asdict(dataclasses.replace(Recipe(), dataset="digits", validation=0.1)),
        how="grid",
        fields=("batch_size=1,2,3,4,5,6,7,8",),
    )
    sweep, begun = Sweep.start(tmp_path, plan, url), tmp_path / "begun"

    def start(me):
        return subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), me, url])

    a, b = start("a"), start("b")
    _wait(lambda: begun.exists() and "a " in begun.read_text())
    a.kill()
    a.wait()
    assert b.wait(60) == 0
    assert start("c").wait(60) == 0  # what was a's, should b have been done before a's death
    assert sorted(row["run"] for row in read_rows(sweep.results)[0]) == list(range(1, 9))
    assert optuna.load_study(study_name=sweep.study.study_name, storage=url).trials
    trials = sweep.settings().values()
    assert collections.Counter(trial.state.name for trial in trials) == {"COMPLETE": 8}
    assert [trial.value for trial in trials] == list(range(1, 9))
    lines = [line.split() for line in begun.read_text().splitlines()]
    assert sorted(int(number) for me, number in lines if me != "a") == list(range(1, 9))  # one of them was a's too
    assert len(lines) == 9 and not (tmp_path / "study.db").exists()
