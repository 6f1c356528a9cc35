"""The compiler and its cache for the test run, and the order of its files.

Several tests run the same training steps, which are compiled once; programs are compiled far
longer than they run, so LLVM need not try hard. Programs that tests start do the same.
"""

import os

import jax
import pytest

QUICK_COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_COMPILER}"

LONGEST_FIRST = ("test_sharding.py", "test_two_processes.py", "test_lowering.py")
"""Files of few and long tests: begun last, they would leave the other worker without work."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST_FIRST)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # The workers' own folders lie in one.
    jax.config.update("jax_compilation_cache_dir", str(folder / "jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with pytest.MonkeyPatch.context() as environment:  # Of programs that tests start.
        environment.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "jax_cache"))
        environment.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield
