import pytest

from training.errors import SettingError
from training.fit.recipe.schedule import Cosine, Stepwise, parse_rates

pytestmark = pytest.mark.torch


def test_a_schedule_is_read_epoch_by_epoch() -> None:
    assert parse_rates("0.01*3, 1e-3*2,0.5") == (0.01, 0.01, 0.01, 0.001, 0.001, 0.5)


@pytest.mark.parametrize("text", ["", "fast", "0.01*", "0.01**2", "-0.1", "0", "nan", "0.01*0", "1e999"])
def test_what_is_not_a_schedule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingError, match=r"0\.01\*8,0\.001\*2"):
        parse_rates(text)


def test_each_epoch_has_its_own_rate() -> None:
    schedule = Stepwise((0.5, 0.1))
    assert [schedule.rate(at) for at in (0.0, 0.99, 1.0, 1.9)] == [0.5, 0.5, 0.1, 0.1]
    assert schedule.epochs == 2


def test_a_cosine_climbs_in_its_warm_up_and_then_falls_to_nothing() -> None:
    schedule = Cosine(peak=0.1, epochs=4, warmup_epochs=0.5)
    assert schedule.rate(0.25) == pytest.approx(0.05)
    assert schedule.rate(0.5) == pytest.approx(0.1)
    assert schedule.rate(2.25) == pytest.approx(0.05)
    assert schedule.rate(4) == pytest.approx(0)


def test_no_epochs_are_refused() -> None:
    with pytest.raises(SettingError, match="from 1 to 100000"):
        Cosine(peak=0.1, epochs=0)
    with pytest.raises(SettingError, match="one positive number"):
        Stepwise(())
