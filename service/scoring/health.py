"""Whether the model still works: after failures in a row it is asked for its test card again."""

import asyncio
import logging
from collections.abc import Sequence

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import Manifest
from salver.artifact.test_card import card_pixels, check_card
from service.errors import ScoringError
from service.scoring.batcher import AnyScorer
from service.scoring.scorer import Result

log = logging.getLogger("salver.service")

SUSPECT = 5
"""Images that fail one after another before the test card is asked for."""
RETEST_SECONDS = 2.0
OURS = frozenset({"inference-failed", "internal"})


class Health:
    """Failures alone prove nothing, because the images may be to blame; the test card decides.

    For one thread, the event loop's.
    """

    def __init__(self, manifest: Manifest, scorer: AnyScorer) -> None:
        self.failing = False
        """The test card failed; it is tried again until it passes."""
        self._manifest = manifest
        self._scorer = scorer
        self._failures = 0
        self._testing: asyncio.Task[None] | None = None
        self._overdue = False

    @property
    def works(self) -> bool:
        """Its last test card passed, and no run takes longer than a request may."""
        return not self.failing and not self._overdue

    def look(self, seconds: float) -> None:
        """End the runs that have taken longer, for whose answers nobody waits any more. To be called now and then."""
        overdue = self._scorer.runs.end_after(seconds)
        if overdue and not self._overdue:
            log.error("not ready: the model has run on an image for more than %g seconds; the run is ended", seconds)
        elif self._overdue and not overdue:
            log.info("ready again: the run that took too long has ended")
        self._overdue = overdue

    def note(self, results: Sequence[Result]) -> None:
        """Judge these images' results."""
        for result in results:
            outcome = result.outcome
            if not isinstance(outcome, ScoringError):
                self._failures = 0
            elif outcome.kind in OURS:
                self._failures += 1
        if self._failures >= SUSPECT and self._testing is None:
            self._testing = asyncio.create_task(self._test())

    def close(self) -> None:
        """Test no more."""
        if self._testing is not None:
            self._testing.cancel()

    async def _test(self) -> None:
        while reason := await self._fault():
            if not self.failing:
                log.error(
                    "not ready: %d images failed one after another, and so did the test card: %s", SUSPECT, reason
                )
            self.failing = True
            await asyncio.sleep(RETEST_SECONDS)
        if self.failing:
            log.info("ready again: the test card passed")
        self.failing, self._failures, self._testing = False, 0, None

    async def _fault(self) -> str:
        """What is wrong with the answer to the test card; empty when nothing is."""
        try:
            (result,) = await self._scorer.score([card_pixels(self._manifest)])
            if isinstance(result.outcome, ScoringError):
                return result.outcome.detail
            check_card(self._manifest, result.outcome.logits)
        except ModelFileError as error:
            return str(error)
        except ScoringError as error:  # the queue is full: nothing is known yet
            return error.detail if self.failing else ""
        return ""
