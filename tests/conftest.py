"""Settings of the whole suite: hypothesis profiles, one thread, and the size of the long campaigns."""

import os
import sys

# One thread each: sums come out in the same order on every machine, and the workers of xdist do not compete. The
# libraries read these when they are loaded, which is why they stand above every other import.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

import pytest  # noqa: E402  (the variables above must be set first)
from hypothesis import settings  # noqa: E402

# No deadline: the time of an example depends on the load of the machine, the property does not.
settings.register_profile("gradwitness", deadline=None, print_blob=True)
settings.register_profile("gradwitness-ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("gradwitness-ci" if os.environ.get("CI") else "gradwitness")

CAMPAIGN_VARIABLE = "GRADWITNESS_CAMPAIGN"
CAMPAIGN_FORMS = ("full", "short")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an unknown campaign form before any test runs."""
    form = os.environ.get(CAMPAIGN_VARIABLE, "full")
    if form not in CAMPAIGN_FORMS:
        raise pytest.UsageError(
            f"pytest: {CAMPAIGN_VARIABLE}={form!r} is unknown; accepted are {', '.join(CAMPAIGN_FORMS)}. "
            "Unset it for full."
        )


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Hold PyTorch to one thread where it is loaded; a test that does not use it never imports it."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def is_short_campaign() -> bool:
    """True where the long campaigns are asked for their short form (continuous integration)."""
    return os.environ.get(CAMPAIGN_VARIABLE, "full") == "short"
