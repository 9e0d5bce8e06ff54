"""k8s/jobs/wait.sh against a kubectl that answers as an API server would, from what the test says of the Job."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S

KUBECTL = """#!/bin/sh
# The state of the Job, of its pods, and its log lie in files; looks at the Job move on to the next state.
case "$*" in
  "get job salver-train -o jsonpath={.status.conditions[?(@.status"*) cat job; [ ! -e next ] || mv next job ;;
  "get job salver-train -o jsonpath={.status.conditions[?(@.type"*) cat message ;;
  "get pods -l job-name=salver-train "*) cat pods ;;
  "logs --tail=20 job/salver-train") cat log ;;
  *) echo "Error from server (NotFound): jobs.batch not found" >&2; exit 1 ;;
esac
"""


def waited(folder: Path, job: str = "salver-train", **files: str) -> subprocess.CompletedProcess[str]:
    for name, content in {"job": "", "pods": " ", "message": "", "log": "", **files}.items():
        (folder / name).write_text(content)
    for name, script in {"kubectl": KUBECTL, "sleep": "#!/bin/sh\n"}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["sh", str(K8S / "jobs" / "wait.sh"), job, "60"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("conditions", ["Complete", "SuccessCriteriaMet Complete"])
def test_it_ends_well_when_the_job_is_complete(conditions: str, tmp_path: Path) -> None:
    ended = waited(tmp_path, next=conditions, pods="0/1 nodes have a GPU free ")
    assert (ended.returncode, ended.stdout) == (0, "salver-train is complete.\n")


@pytest.mark.parametrize("conditions", ["Failed", "FailureTarget Failed"])
def test_it_ends_when_the_job_has_failed_and_says_why(conditions: str, tmp_path: Path) -> None:
    log = "Cannot read /data: it has no label folders.\n"
    ended = waited(tmp_path, next=conditions, log=log, message="Container train failed with exit code 1")
    assert (ended.returncode, ended.stdout) == (1, log)
    assert ended.stderr == "salver-train failed: Container train failed with exit code 1\n"


@pytest.mark.parametrize("why", ["0/1 nodes are available: 1 Insufficient nvidia.com/gpu. ", " Back-off pulling image"])
def test_it_ends_when_the_pod_does_not_begin(why: str, tmp_path: Path) -> None:
    ended = waited(tmp_path, pods=why)
    assert ended.returncode == 1
    assert why.strip() in ended.stderr
    assert "train-cpu.yaml" in ended.stderr


def test_a_job_that_is_not_there_ends_it_with_kubectls_own_words(tmp_path: Path) -> None:
    ended = waited(tmp_path, job="salver-trian")
    assert ended.returncode == 1
    assert "NotFound" in ended.stderr
