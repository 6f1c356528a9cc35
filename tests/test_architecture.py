"""The structure itself: import directions and file lengths."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("moditalker_jax", "data_pipelines", "configs", "tests")
    for path in (ROOT / folder).rglob("*.py")
) + [ROOT / "train.py", ROOT / "sample.py"]

NUMPY_LEVEL = (
    "moditalker_jax/spec.py",
    "moditalker_jax/errors.py",
    "moditalker_jax/flags.py",
    "moditalker_jax/landmarks.py",
    "moditalker_jax/landmark_backends.py",
    "moditalker_jax/mean_face.py",
    "moditalker_jax/conditions.py",
    "moditalker_jax/audio_features.py",
    "moditalker_jax/media/",
    "moditalker_jax/faces/",
    "data_pipelines/",
)
ENTRY_POINTS = (
    "moditalker_jax/demo/",
    "moditalker_jax/encode_latents.py",
    "moditalker_jax/training/run.py",
    "moditalker_jax/training/batches.py",
    "moditalker_jax/evaluation/",
)

# Folder or file -> prefixes of modules that it must not import.
FORBIDDEN = {
    "moditalker_jax/nn/": (
        "moditalker_jax.models",
        "moditalker_jax.diffusion",
        "moditalker_jax.training",
        "moditalker_jax.generation",
    ),
    "moditalker_jax/models/": (
        "moditalker_jax.diffusion",
        "moditalker_jax.training",
        "moditalker_jax.generation",
        "moditalker_jax.media",
        "moditalker_jax.faces",
    ),
    "moditalker_jax/diffusion/": (
        "flax.linen",
        "moditalker_jax.nn",
        "moditalker_jax.models",
        "moditalker_jax.training",
        "moditalker_jax.generation",
    ),
    "moditalker_jax/training/": ("moditalker_jax.generation", "moditalker_jax.evaluation"),
    "moditalker_jax/generation/": ("moditalker_jax.training", "moditalker_jax.evaluation"),
    "moditalker_jax/": ("train", "sample", "tests", "pdb"),
    "data_pipelines/": (
        "moditalker_jax.models",
        "moditalker_jax.diffusion",
        "moditalker_jax.training",
        "moditalker_jax.generation",
        "train",
        "sample",
    ),
    "configs/": ("moditalker_jax", "data_pipelines", "jax"),
}
SCHEMA_OF_CONFIGS = ("configs/common.py", "moditalker_jax.config")
"""The one config file that knows which fields there are, and where it knows them from."""


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def _within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _violations(path: Path, prefixes: tuple[str, ...]) -> set[str]:
    return {m for m in imports_of(path) for prefix in prefixes if _within(m, prefix)}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_go_one_way(path):
    for place, prefixes in FORBIDDEN.items():
        if _name(path).startswith(place):
            known = {SCHEMA_OF_CONFIGS[1]} if _name(path) == SCHEMA_OF_CONFIGS[0] else set()
            found = _violations(path, prefixes)
            assert not {m for m in found if not any(_within(m, k) for k in known)}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_libraries_stay_in_their_rooms(path):
    name = _name(path)
    if name.startswith(NUMPY_LEVEL):
        assert not _violations(path, ("jax", "flax", "optax", "orbax"))
    if name.startswith("moditalker_jax/"):
        assert not _violations(path, ("tensorflow", "tensorflow_datasets"))
        if not name.startswith(ENTRY_POINTS):
            assert not _violations(path, ("data_pipelines",))
        if name != "moditalker_jax/checkpoint.py":
            assert not _violations(path, ("orbax",))
    if not name.startswith(("moditalker_jax/convert/", "data_pipelines/benchmark.py", "tests/")):
        assert not _violations(path, ("torch",))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_stay_short_and_documented(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), f"{_name(path)} has no module docstring"


def test_the_checks_above_can_fail():
    assert _violations(ROOT / "moditalker_jax/models/atom.py", ("flax",))
    assert _violations(ROOT / "data_pipelines/loader.py", ("moditalker_jax.spec",))
