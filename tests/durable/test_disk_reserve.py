"""The space held back beside a responses file: it stays while anybody has the file open, in whatever process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sgforge.cli.spent import ledger_of
from sgforge.disk_reserve import DiskReserve
from sgforge.models.cache.store import Store

HOLD = "import sys; from pathlib import Path; from sgforge.models.cache.store import Store\n" + (
    "with Store(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
)


def reserve_of(path: Path) -> Path:
    return path.with_name(path.name + "-ballast")


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open until its input closes."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_closing_one_store_leaves_the_reserve_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with Store(path):
        assert reserve_of(path).stat().st_size == 8_000_000
        with Store(path):
            pass
        assert reserve_of(path).exists()
    assert not reserve_of(path).exists()


def test_it_stays_until_the_last_process_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with another_process(path) as process:
        with Store(path):
            pass
        assert reserve_of(path).exists()
        with Store(path):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait() == 0
            assert reserve_of(path).stat().st_size == 8_000_000
    assert not reserve_of(path).exists()


def test_a_killed_process_neither_takes_it_along_nor_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with Store(path), another_process(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert reserve_of(path).exists()
    assert not reserve_of(path).exists()
    with another_process(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert reserve_of(path).exists()  # nobody was left to remove it
    with Store(path):
        pass
    assert not reserve_of(path).exists()


def test_a_full_disk_empties_it_for_all_and_frees_the_space(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    one, two = DiskReserve(path, 8_000_000), DiskReserve(path, 8_000_000)
    one.take()
    two.take()
    one.spend()
    assert reserve_of(path).stat().st_blocks == 0
    two.release()
    assert reserve_of(path).exists()
    one.release()
    assert not reserve_of(path).exists()


@pytest.mark.parametrize("seed", range(3))
def test_whoever_comes_and_goes_whoever_holds_it_has_it(seed: int, tmp_path: Path) -> None:
    """Threads that take and release at random: their files are opened apart, so their locks are as of processes."""
    path = tmp_path / "responses.sqlite"
    sizes: list[int] = []

    def come_and_go(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for _ in range(12):
            reserve = DiskReserve(path, 8_000_000)
            reserve.take()
            sizes.extend(reserve_of(path).stat().st_size for _ in range(chance.randrange(4)))
            reserve.release()

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(sizes) == {8_000_000}
    assert not reserve_of(path).exists()


def test_reading_the_ledger_makes_no_file_and_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    assert ledger_of(path) == []
    assert list(tmp_path.iterdir()) == []
    Store(path).close()
    before = sorted(os.listdir(tmp_path))
    assert before == ["responses.sqlite", "responses.sqlite.seal"]
    tmp_path.chmod(0o555)
    try:
        assert ledger_of(path) == []
    finally:
        tmp_path.chmod(0o755)
    assert sorted(os.listdir(tmp_path)) == before
    with another_process(path):
        during = sorted(os.listdir(tmp_path))
        assert ledger_of(path) == []
        assert sorted(os.listdir(tmp_path)) == during
        assert reserve_of(path).exists()


def test_a_ledger_is_read_while_another_process_writes_it(tmp_path: Path) -> None:
    """What is committed but still in the log beside the file is seen too."""
    path = tmp_path / "responses.sqlite"
    with Store(path):
        script = (
            "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\n"
            'base.execute("INSERT INTO call (key, model, kind, state, outcome, bound_nano, prices, at)'
            " VALUES (x'00', 'toy/one', 'answer', 'open', '', 5000000, 'p', 0)\")\nbase.commit()"
        )
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)
        [row] = ledger_of(path)
        assert (row.model, row.calls, row.lost, row.usd) == ("toy/one", 1, 1, 0.005)
