"""Buckets: uniform over keys, and independent from one salt to another."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nextbest.core.engine import buckets
from nextbest.core.errors import InvalidRequestError
from nextbest.core.playbook.plan import BucketHash

KEYS = [f"user-{number}" for number in range(1_000_000)]
SALTS = [f"experiment-{number}" for number in range(100)]
# The 1 - 1e-6 quantile of chi-square with 99 degrees of freedom: 200 draws pass 5,000 runs.
CHI_SQUARE_99_MAX = 177.3


def of(salt: str, keys: list[str], version: BucketHash = BucketHash.XXH3) -> NDArray[np.float64]:
    return np.frombuffer(buckets(salt, version, keys), dtype=np.float64)


def chi_square(counts: NDArray[np.int64]) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def test_a_million_keys_are_uniform_under_a_hundred_salts_and_independent_between_them() -> None:
    before = None
    for salt in SALTS:
        found = of(salt, KEYS)
        assert found.min() >= 0
        assert found.max() < 1
        assert chi_square(np.bincount((found * 100).astype(np.int64), minlength=100)) < (
            CHI_SQUARE_99_MAX
        ), salt
        tenths = (found * 10).astype(np.int64)
        if before is not None:
            table = np.bincount(before * 10 + tenths, minlength=100)
            assert chi_square(table) < CHI_SQUARE_99_MAX, salt
        before = tenths


def test_near_keys_are_uniform_too() -> None:
    """Ids that differ in one letter, and long ones."""
    for keys in ([f"{number:032x}" for number in range(100_000)], ["x" * n for n in range(1_000)]):
        counts = np.bincount((of("salt", keys) * 10).astype(np.int64), minlength=10)
        assert chi_square(counts) < 45


@pytest.mark.parametrize("version", list(BucketHash))
def test_a_bucket_is_a_whole_step(version: BucketHash) -> None:
    steps = {1: 1_000, 2: 10_000, 3: 100_000}[version]
    found = of("salt", KEYS[:10_000], version) * steps
    assert np.array_equal(np.round(found), np.round(found, 6))


def test_texts_are_hashed_by_utf_16_units_as_javascript_has_them() -> None:
    """Beyond one unit as well: the hash written down once more, over the units."""
    for text in ("zażółć", "日本", "😀"):
        hash_ = 0x811C9DC5
        units = np.frombuffer(text.encode("utf-16-le"), dtype=np.uint16)
        for unit in units.tolist():
            hash_ = (hash_ ^ unit) * 0x01000193 & 0xFFFFFFFF
        assert of("", [text], BucketHash.GROWTHBOOK_1)[0] == hash_ % 1_000 / 1_000


def test_a_hash_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="hash: 4, allowed: 1 to 3"):
        buckets("salt", 4, [])
