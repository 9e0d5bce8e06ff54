"""What a deployment's service is given of the caller's environment."""

from salver.deployment.settings import HANDED_ON, OWN, PATHS
from service.settings import Settings


def test_deploying_knows_each_setting_of_the_service_and_no_other() -> None:
    """A new setting gets its place in salver/deployment/settings.py: whether it is handed on."""
    known = [*HANDED_ON, *PATHS, *OWN]
    assert sorted(known) == sorted(field.upper() for field in Settings.model_fields)
