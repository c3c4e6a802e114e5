"""What counts as noise of float32 when a folder is read again."""

import numpy as np
import pytest

from ablate.interchange.checked import difference


@pytest.mark.parametrize(("size", "found"), [(0.5, 1e-5), (1.0, 1e-5), (20.0, 5e-7)])
def test_noise_is_measured_beside_the_largest_logit(size, found):
    """Of a trained model with logits up to 14, two orders of adding up are 1.8e-5 apart, and both right."""
    ours_TV = np.array([[size, -size / 2, 0.0]])
    assert difference("logits", ours_TV, ours_TV + np.array([[0, 1e-5, 0]]), [0]) == pytest.approx(found, rel=1e-6)


def test_what_is_no_number_is_no_noise():
    assert np.isnan(difference("logits", np.array([[1.0, 2.0]]), np.array([[np.nan, 2.0]]), [0]))
