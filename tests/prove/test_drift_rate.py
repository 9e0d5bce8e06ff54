"""How often `salver drift` alarms when nothing changed, at every size of window and reference, all facts together.

`SALVER_DRIFT_PAIRS=100000` draws more of each than the 10,000 that docs/drift.md has the figures of.
"""

import os

import pytest

from tests.training.support.chance import false_alarms, population

pytestmark = pytest.mark.prove

PAIRS = int(os.environ.get("SALVER_DRIFT_PAIRS", "10000"))
WINDOWS = (50, 200, 5_000, 50_000)
REFERENCES = (20, 59, 500, 5_000)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("clumped", [False, True], ids=["even", "clumped"])
@pytest.mark.parametrize("labels", [4, 60])
def test_at_most_one_window_in_ten_thousand_alarms_when_nothing_changed(labels: int, clumped: bool) -> None:
    people = population(400, labels, clumped=clumped, seed=labels)
    alarms = {
        (reference, window): false_alarms(people, reference, window, PAIRS, seed=reference + window)
        for reference in REFERENCES
        for window in WINDOWS
    }

    assert max(alarms.values()) <= max(1, PAIRS // 10_000), alarms
