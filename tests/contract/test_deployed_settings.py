"""What a deployment's service is given of the caller's environment."""

from client.deployment_settings import HANDED_ON, OWN, PATHS
from service.settings import Settings


def test_deploying_knows_each_setting_of_the_service_and_no_other() -> None:
    """A new setting gets its place in client/deployment_settings.py: whether it is handed on."""
    known = [*HANDED_ON, *PATHS, *OWN]
    assert sorted(known) == sorted(field.upper() for field in Settings.model_fields)
