"""What the tests share: real pictures and weights where they are, and settings that make runs repeatable."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("sightline", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("sightline")
torch.set_num_threads(1)  # small nets: threads that wait for each other cost more than they save

SHARED = Path(os.environ.get("SIGHTLINE_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real weights and pictures; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real pictures and weights at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
