from pathlib import Path

import pytest

from salver.client.errors import DeploymentFailed
from salver.deployment.target import Command

LOG = 'E1130 21:58:32.325698   19270 memcache.go:265] "Unhandled Error" err="dial tcp: connection refused"'
SAID = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"


@pytest.mark.parametrize(("complaint", "told"), [(f"{LOG}\n{LOG}\n{SAID}", SAID), (LOG, LOG), (SAID, SAID)])
def test_what_a_program_says_is_told_without_what_it_logs(
    complaint: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_text(complaint)
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeploymentFailed) as failed:
        Command("kubectl", lambda _: None)("get", "pods")
    assert str(failed.value) == f"'kubectl get' failed: {told}"
