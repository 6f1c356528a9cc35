"""One compilation cache for the test run: several tests run the same training steps."""

import os

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # The workers' own folders lie in one.
    jax.config.update("jax_compilation_cache_dir", str(folder / "jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
