"""A sweep whose study is in a real PostgreSQL, started here: two workers, one of which is killed."""

import collections
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

from kerasref.lab.sweeps.results_table import read_rows
from kerasref.lab.sweeps.sweep import Sweep
from tests.experiments.stand_ins import plan, start_worker, trained

PROGRAMS = [Path(found).parent for found in [shutil.which("initdb")] if found]
PROGRAMS += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@pytest.fixture
def url():
    """Of an empty database of a server that is this test's own, which another user has where we are root."""
    pytest.importorskip("psycopg", reason="psycopg is absent: pip install -r requirements-test.txt")
    programs = next((folder for folder in PROGRAMS if (folder / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is absent: apt-get install postgresql")
    users = {entry.pw_name for entry in pwd.getpwall()}
    user = ("postgres" if "postgres" in users else "nobody") if os.getuid() == 0 else None
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
    sweep = Sweep.start(tmp_path, plan("grid", "batch_size=1,2,3,4,5,6,7,8"), url)
    a = start_worker(tmp_path, "a", others=2, stuck_at="any", url=url)
    b = start_worker(tmp_path, "b", others=2, url=url)
    _wait(lambda: "a" in dict(trained(tmp_path)))
    a.kill()
    a.wait()
    assert b.wait(60) == 0
    assert start_worker(tmp_path, "c", url=url).wait(60) == 0  # what was a's, should b have been done before a's death
    assert sorted(row["run"] for row in read_rows(sweep.results)[0]) == list(range(1, 9))
    assert optuna.load_study(study_name=sweep.study.study_name, storage=url).trials
    trials = sweep.settings().values()
    assert collections.Counter(trial.state.name for trial in trials) == {"COMPLETE": 8}
    assert [trial.value for trial in trials] == list(range(1, 9))
    begun = trained(tmp_path)
    assert sorted(number for name, number in begun if name != "a") == list(range(1, 9))  # one of them was a's too
    assert len(begun) == 9 and not (tmp_path / "study.db").exists()
