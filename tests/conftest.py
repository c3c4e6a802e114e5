"""One thread per process, and property tests that draw the same examples every time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads torch or a BLAS

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ablate",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ablate")
