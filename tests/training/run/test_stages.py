import time

import pytest

from training.run.stages import Stages, told


def test_the_stages_follow_each_other_without_a_gap() -> None:
    began = time.perf_counter()
    stages = Stages()
    time.sleep(0.02)
    stages.end("reading")
    stages.end("learning")
    stages.end("reading")
    total = time.perf_counter() - began
    spent = stages.spent()
    assert list(spent) == ["reading", "learning"]
    assert spent["reading"] >= 0.02
    assert sum(spent.values()) == pytest.approx(total, abs=0.005)


def test_the_line_sums_to_its_own_total() -> None:
    assert told({"reading": 0.04, "learning": 1.26, "exporting": 0.25}) == (
        "1.5 s: reading 0.0, learning 1.3, exporting 0.2"
    )
