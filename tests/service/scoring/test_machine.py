"""What memory the machine or the container leaves."""

import os
from pathlib import Path

import pytest

from service.scoring.machine import (
    DEFAULT_BYTES,
    LEAST_IMAGE_BYTES,
    default_budget_bytes,
    image_memory_bytes,
    resident_bytes,
)
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

MIB = 1024**2


def test_the_default_budget_is_a_quarter_of_the_containers_memory(tmp_path: Path) -> None:
    body = 32 * 1024**2
    assert default_budget_bytes(body, tmp_path) == DEFAULT_BYTES
    (tmp_path / "memory").mkdir()
    for limit, budget in ((512 * 1024**2, 128 * 1024**2), (64 * 1024**2, body), (2**63 - 4096, DEFAULT_BYTES)):
        (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
        assert default_budget_bytes(body, tmp_path) == budget
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert default_budget_bytes(body, tmp_path) == 256 * 1024**2
    (tmp_path / "memory" / "memory.limit_in_bytes").unlink()
    (tmp_path / "memory.max").write_text("max\n")
    assert default_budget_bytes(body, tmp_path) == DEFAULT_BYTES


def test_an_images_memory_is_what_the_container_leaves_each_thread(tmp_path: Path) -> None:
    limit = resident_bytes() + 1024 * MIB  # whatever other tests have left in this process
    (tmp_path / "memory.max").write_text(str(limit))
    taken = 256 * MIB + 2 * 45 * MIB + 48 * MIB + 2 * 28 * MIB
    left = image_memory_bytes(45 * MIB, 256 * MIB, 2, tmp_path)
    assert left == pytest.approx((1024 * MIB - taken) / 2, abs=8 * MIB)
    assert image_memory_bytes(45 * MIB, 256 * MIB, 4, tmp_path) < 0.6 * left
    with_heat = image_memory_bytes(45 * MIB, 256 * MIB, 2, tmp_path, heat=True)
    assert left - with_heat == pytest.approx(45 * MIB, abs=4 * MIB)
    (tmp_path / "memory.max").write_text(str(64 * MIB))
    assert image_memory_bytes(45 * MIB, 32 * MIB, 2, tmp_path) == LEAST_IMAGE_BYTES


@pytest.mark.parametrize("text", ["max", "9223372036854771712", ""])
def test_without_a_containers_limit_it_is_the_machines_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(text)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    left = image_memory_bytes(0, 0, 1, tmp_path)
    assert left + resident_bytes() == pytest.approx(machine, rel=0.1)
    assert default_budget_bytes(32 * MIB, tmp_path) == 256 * MIB


def test_the_log_says_what_an_image_may_take_and_no_image_needs_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "salver.service")
    with running_service(probe(tmp_path / "model.onnx"), max_image_pixels=10**6):
        pass
    assert "each image may take 17 MiB and 3 s of a core to decode" in caplog.text
