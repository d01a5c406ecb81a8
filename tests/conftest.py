"""Profiles of the property tests: `ci` by default, `deep` for a long look (HYPOTHESIS_PROFILE=deep).

And: no test inherits where another one's logs went.
"""

import os

import structlog
from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile(
    "deep", max_examples=5_000, stateful_step_count=100, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_runtest_setup() -> None:
    """Forget how an earlier test set the logs up: a verb run in this process sends them to that test's own stderr."""
    structlog.reset_defaults()
