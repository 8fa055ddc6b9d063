"""The vector cache on real files: damage, kills, deletion and crowds cost time, never a wrong vector."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedspec.cache.index import Index
from embedspec.cache.vectors import VectorCache
from embedspec.types import HASH_DTYPE, HashArray, Matrix, digest, hash_array

ENCODER = "0123456789abcdef" * 2
DIMENSION = 8


def hashes_of(*numbers: int) -> HashArray:
    return hash_array([digest(str(n).encode()) for n in numbers])


def vectors_of(*numbers: int) -> Matrix:
    """The one right vector of each number."""
    return np.array([np.full(DIMENSION, n) + np.arange(DIMENSION) / 16 for n in numbers], dtype=np.float32)


def opened(folder: Path) -> VectorCache:
    return VectorCache.open(folder, ENCODER, DIMENSION)


def fill(folder: Path, *batches: range) -> None:
    with opened(folder) as cache:
        for batch in batches:
            cache.append(hashes_of(*batch), vectors_of(*batch))
        assert cache.unwritable is None


def check(cache: VectorCache, numbers: range) -> list[int]:
    """The numbers whose vectors are found; all that are found must be right."""
    found, matrix = cache.get(hashes_of(*numbers))
    truth = vectors_of(*numbers)
    assert np.array_equal(matrix[found], truth[found])
    assert not matrix[~found].any()
    return [n for n, there in zip(numbers, found, strict=True) if there]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "vectors" / ENCODER).iterdir())


def test_what_was_kept_is_found_by_others_and_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as writer, opened(tmp_path) as reader:
        assert not (tmp_path / "vectors").exists()
        assert not writer.contains(hashes_of(1, 2)).any()
        for batch in (range(10), range(10, 11), range(11, 40)):
            writer.append(hashes_of(*batch), vectors_of(*batch))
            assert check(writer, range(50)) == list(range(batch.stop))
        assert writer.contains(hashes_of(39, 40, 0)).tolist() == [True, False, True]
        assert not reader.contains(hashes_of(1)).any()
        reader.refresh()
        assert check(reader, range(50)) == list(range(40))
        writer.append(hashes_of(40), vectors_of(40))
        reader.refresh()
        assert check(reader, range(39, 50)) == [39, 40]
        assert reader.stats() == writer.stats()
        assert reader.stats().records == 41
        assert reader.stats().segments == 1
        assert reader.stats().bytes == sum(path.stat().st_size for path in files(tmp_path))
        empty = np.empty(0, dtype=HASH_DTYPE)
        assert reader.get(empty)[1].shape == (0, DIMENSION)
        writer.append(empty, np.empty((0, DIMENSION), dtype=np.float32))


def test_hashes_that_end_in_zero_bytes(tmp_path: Path) -> None:
    hashes = hash_array([b"a" + bytes(15), b"a" + bytes(14) + b"b", bytes(16)])
    with opened(tmp_path) as cache:
        cache.append(hashes[[0, 2]], vectors_of(1, 2))
        assert cache.contains(hashes).tolist() == [True, False, True]
        found, matrix = cache.get(hashes)
        assert found.tolist() == [True, False, True]
        assert np.array_equal(matrix[[0, 2]], vectors_of(1, 2))


def test_vectors_of_one_encoder_or_dimension_are_never_another_s(tmp_path: Path) -> None:
    fill(tmp_path, range(20))
    other = "f" * 32
    home = tmp_path / "vectors" / ENCODER
    shutil.copytree(home, tmp_path / "vectors" / other)
    with VectorCache.open(tmp_path, other, DIMENSION) as cache:
        assert not cache.contains(hashes_of(*range(20))).any()
    # Keys that claim to be the other encoder's, in front of foreign vectors.
    (keys, _) = files(tmp_path)
    with VectorCache.open(tmp_path / "second", other, DIMENSION) as cache:
        cache.append(hashes_of(*range(20)), vectors_of(*range(20)))
    (claimed, _) = sorted((tmp_path / "second" / "vectors" / other).iterdir())
    shutil.copy(claimed, tmp_path / "vectors" / other / keys.name)
    with VectorCache.open(tmp_path, other, DIMENSION) as cache:
        assert cache.contains(hashes_of(*range(20))).all()
        assert not cache.get(hashes_of(*range(20)))[0].any()
    with VectorCache.open(tmp_path, ENCODER, DIMENSION * 2) as cache:
        assert not cache.get(hashes_of(*range(20)))[0].any()


@settings(max_examples=60)
@given(
    which=st.integers(0, 3),
    cut=st.none() | st.integers(0, 2000),
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 7)), max_size=4),
    junk=st.binary(max_size=80),
)
def test_damage_never_gives_a_wrong_vector(
    which: int, cut: int | None, flips: list[tuple[int, int]], junk: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, range(7), range(7, 20))
        fill(folder, range(15, 25))
        before = files(folder)
        path = before[which]
        data = bytearray(path.read_bytes())
        for at, bit in flips:
            data[at % len(data)] ^= 1 << bit
        if cut is not None:
            del data[cut % len(data) :]
        path.write_bytes(bytes(data) + junk)
        with opened(folder) as cache:
            check(cache, range(30))
            # What is computed again is found from then on, whatever stands in the damaged file.
            lost = [n for n in range(30) if not cache.get(hashes_of(n))[0][0]]
            if lost:
                cache.append(hashes_of(*lost), vectors_of(*lost))
            assert check(cache, range(30)) == list(range(30))
        with opened(folder) as cache:
            assert check(cache, range(30)) == list(range(30))


def test_only_the_damaged_record_is_lost(tmp_path: Path) -> None:
    fill(tmp_path, range(20))
    (_, vectors) = files(tmp_path)
    data = bytearray(vectors.read_bytes())
    size = len(data) // 20
    data[size * 7 + 30] ^= 4
    vectors.write_bytes(data)
    with opened(tmp_path) as cache:
        assert cache.contains(hashes_of(7)).all()
        assert check(cache, range(20)) == [n for n in range(20) if n != 7]


def test_one_file_of_a_pair_is_gone(tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    fill(tmp_path, range(10, 20))
    first_keys, first_vectors, second_keys, _ = files(tmp_path)
    first_vectors.unlink()
    with opened(tmp_path) as cache:
        assert check(cache, range(20)) == list(range(10, 20))
        assert not cache.contains(hashes_of(3)).any()
    first_keys.unlink()
    second_keys.unlink()
    with opened(tmp_path) as cache:
        assert check(cache, range(20)) == []


def test_the_folder_is_deleted_while_everybody_is_at_work(tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    with opened(tmp_path) as writer, opened(tmp_path) as reader:
        writer.append(hashes_of(*range(10, 20)), vectors_of(*range(10, 20)))
        shutil.rmtree(tmp_path / "vectors")
        assert check(reader, range(10)) == []
        assert check(writer, range(10, 20)) == list(range(10, 20))
        writer.append(hashes_of(*range(20, 30)), vectors_of(*range(20, 30)))
        assert writer.unwritable is None
        reader.refresh()
        assert check(reader, range(30)) == list(range(20, 30))
        assert not reader.contains(hashes_of(1)).any()


def test_a_cache_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_text("a file where the folder should be")
    with opened(tmp_path) as cache:
        cache.append(hashes_of(1), vectors_of(1))
        assert cache.unwritable is not None
        assert "cannot be written" in cache.unwritable.what
        assert cache.unwritable.where == str(tmp_path / "vectors" / ENCODER)
        cache.append(hashes_of(2), vectors_of(2))
        assert check(cache, range(3)) == []


WRITER = """
import os, sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_vectors import fill, hashes_of, opened, vectors_of
folder, first, count, batch = Path(sys.argv[2]), *map(int, sys.argv[3:6])
with opened(folder) as cache:
    for start in range(first, first + count, batch):
        numbers = range(start, start + batch)
        cache.append(hashes_of(*numbers), vectors_of(*numbers))
        os.write(1, f"{start + batch}\\n".encode())
    print(cache.unwritable.what if cache.unwritable else "fine")
"""


def start_writer(folder: Path, first: int, count: int, batch: int, before: str = "") -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent)
    numbers = [str(n) for n in (first, count, batch)]
    return subprocess.Popen(
        [sys.executable, "-c", before + WRITER, tests, str(folder), *numbers],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_write_and_a_third_reads(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, first, 3000, 10) for first in (0, 2000)]
    with opened(tmp_path) as reader:
        while any(writer.poll() is None for writer in writers):
            reader.refresh()
            known = reader.contains(hashes_of(*range(5000)))
            assert check(reader, range(5000)) == np.flatnonzero(known).tolist()
            time.sleep(0.01)
        assert [writer.communicate()[0].split()[-1] for writer in writers] == ["fine", "fine"]
        reader.refresh()
        assert check(reader, range(5000)) == list(range(5000))
        assert reader.stats().segments == 2


@pytest.mark.parametrize("after", [1, 7, 40])
def test_kill_9_loses_nothing_that_was_kept(tmp_path: Path, after: int) -> None:
    writer = start_writer(tmp_path, 0, 10_000_000, 50)
    assert writer.stdout is not None
    for _ in range(after):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.communicate()[0].split()
    kept = int(rest[-1]) if rest else after * 50
    with opened(tmp_path) as cache:
        assert check(cache, range(kept)) == list(range(kept))
        check(cache, range(kept, kept + 200))


def test_a_full_disk_keeps_what_fitted(tmp_path: Path) -> None:
    """The file size limit makes a write stop short in the middle of a record, as a full disk does."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (7_000, 7_000))\n"
    writer = start_writer(tmp_path, 0, 1000, 20, before=limit)
    assert "cannot be written" in writer.communicate()[0]
    assert max(path.stat().st_size for path in files(tmp_path)) == 7_000
    with opened(tmp_path) as cache:
        found = check(cache, range(1000))
        assert found == list(range(len(found)))
        assert len(found) >= 100
        cache.append(hashes_of(*range(1000)), vectors_of(*range(1000)))
        assert check(cache, range(1000)) == list(range(1000))


@given(st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=25), st.integers(0, 3))
def test_the_index_knows_what_was_added(batches: list[list[int]], gone: int) -> None:
    """Half of each hash is shared by many, so that finding must look at both halves."""

    def clash(numbers: list[int]) -> HashArray:
        return hash_array([bytes([n % 5]) * 8 + n.to_bytes(8, "big") for n in numbers])

    index = Index()
    known: set[int] = set()
    for i, batch in enumerate(batches):
        index.add(clash(batch), i % 4, 0)
        if i % 4 != gone:
            known.update(batch)
    sizes = [len(run) for run in index.runs]
    assert all(large >= 2 * small for large, small in pairwise(sizes))
    index.forget(gone)
    assert index.contains(clash(list(range(70)))).tolist() == [n in known for n in range(70)]


def test_get_takes_each_entry_of_a_hash_in_turn(tmp_path: Path) -> None:
    """Three copies of a vector, two of them damaged: the third is found."""
    for _ in range(3):
        fill(tmp_path, range(4))
    damaged = [path for path in files(tmp_path) if path.suffix == ".vectors"][:2]
    for path in damaged:
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
    with opened(tmp_path) as cache:
        assert check(cache, range(4)) == list(range(4))
