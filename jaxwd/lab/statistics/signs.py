"""The exact sign-flip test: no distribution assumed, only that signs are arbitrary."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_EXACT_UP_TO = 40
_DRAWN = 100_000


@dataclass(frozen=True)
class SignFlip:
    """The p-value of a sign-flip test.

    Attributes:
        p: two-sided; the share of all 2^n ways to sign the gaps whose |sum| is at
            least the one seen.
        smallest: the smallest p that n pairs can give, 2/2^n; above 0.05 for n < 6.
        exact: every way was counted; above 40 pairs 100,000 drawn ones are.
    """

    p: float
    smallest: float
    exact: bool = True


def sign_flip(gaps: Sequence[float], *, seed: int = 0) -> SignFlip:
    """Return the two-sided sign-flip (paired permutation) test of mean zero.

    If the two arms are exchangeable within each pair, every sign of every gap was as
    likely as the other: p = #{s ∈ {−1, 1}^n : |Σs_i gap_i| ≥ |Σgap_i|}/2^n. All 2^n
    sums are counted from the 2^(n/2) of each half. p = 1 where all gaps are 0.

    Args:
        gaps: paired differences a − b, (n,), n ≥ 1.
        seed: of the drawn signs, above 40 pairs only.

    Source: Fisher, The design of experiments, 1935, §21; Pitman, 1937.

    >>> sign_flip([0.3, 0.1, 0.2, 0.4, 0.2])
    SignFlip(p=0.0625, smallest=0.0625, exact=True)
    """
    x = np.asarray(gaps, np.float64)
    n = x.size
    smallest = min(1.0, 2.0 ** (1 - n))
    seen = abs(x.sum())
    # Sums of the same gaps in another order differ by rounding; they are ties.
    seen -= 1e-9 * np.abs(x).sum()
    if n > _EXACT_UP_TO:
        rng = np.random.default_rng(seed)
        drawn = sum(
            int((np.abs(rng.choice((-1.0, 1.0), (1000, n)) @ x) >= seen).sum())
            for _ in range(_DRAWN // 1000)
        )
        return SignFlip((drawn + 1) / (_DRAWN + 1), smallest, exact=False)
    left, right = _signed_sums(x[: n // 2]), np.sort(_signed_sums(x[n // 2 :]))
    above = right.size - np.searchsorted(right, seen - left, side="left")
    below = np.searchsorted(right, -seen - left, side="right")
    # Where `seen` is not above 0, every sum counts, and none of them twice.
    hits = int((above + below).sum()) if seen > 0 else 2**n
    return SignFlip(min(1.0, hits / 2.0**n), smallest)


def _signed_sums(x: np.ndarray) -> np.ndarray:
    """Return the sums of x under all 2^n signs."""
    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums - value, sums + value])
    return sums
