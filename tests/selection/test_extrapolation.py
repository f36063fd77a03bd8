"""Power laws against their own parameters and scipy."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from transfer_core.selection.extrapolation import fit_power_law

SIZES = [20, 40, 80, 160, 320]


def test_an_exact_power_law_is_recovered():
    law = fit_power_law(SIZES, [0.05 + 2 * n**-0.6 for n in SIZES])
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.05, 2, 0.6), abs=0.02)
    assert law.error(1280) == pytest.approx(0.05 + 2 * 1280**-0.6, abs=1e-3)


def test_a_noisy_one_as_scipy_fits_it():
    rng = np.random.default_rng(0)
    errors = [0.1 + 1.5 * n**-0.5 + rng.normal(0, 0.003) for n in SIZES]
    law = fit_power_law(SIZES, errors)
    theirs, _ = curve_fit(
        lambda n, a, b, c: a + b * n**-c, SIZES, errors, p0=(0.1, 1, 0.5), bounds=(0, [1, 10, 1.5])
    )
    assert law.error(640) == pytest.approx(theirs[0] + theirs[1] * 640 ** -theirs[2], abs=2e-3)


def test_errors_that_rise_give_a_constant():
    law = fit_power_law(SIZES, [0.1, 0.11, 0.12, 0.13, 0.14])
    assert law.error(10) == law.error(10_000) == pytest.approx(0.12)


def test_one_size_is_not_enough():
    with pytest.raises(ValueError, match="at least two different sizes"):
        fit_power_law([10, 10], [0.1, 0.2])
