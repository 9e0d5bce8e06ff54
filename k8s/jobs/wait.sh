#!/bin/sh
# sh k8s/jobs/wait.sh JOB [SECONDS]: wait for a Job, in the current namespace. Exit code 0: complete; 1: it failed, or for
# SECONDS (600) no node took its pod or its image could not be had; each with what Kubernetes says.
set -eu
job=${1:?Name a Job, such as salver-train}
patience=${2:-600}
stuck_for=0
while :; do
  ended=$(kubectl get job "$job" -o jsonpath='{.status.conditions[?(@.status=="True")].type}')
  case $ended in
    *Complete*) echo "$job is complete."; exit 0 ;;
    *Failed*)
      kubectl logs --tail=20 "job/$job" || true
      echo "$job failed: $(kubectl get job "$job" -o jsonpath='{.status.conditions[?(@.type=="Failed")].message}')" >&2
      exit 1 ;;
  esac
  # Of pods that wait: why no node takes them, why a container does not start.
  stuck=$(kubectl get pods -l "job-name=$job" -o jsonpath='{.items[*].status.conditions[?(@.reason=="Unschedulable")].message} {.items[*].status.containerStatuses[*].state.waiting.message}')
  case $stuck in *[!\ ]*) stuck_for=$((stuck_for + 5)) ;; *) stuck_for=0 ;; esac
  if [ "$stuck_for" -gt "$patience" ]; then
    echo "$job has not begun for $patience seconds:$stuck. Without a GPU take k8s/jobs/train-cpu.yaml." >&2
    exit 1
  fi
  sleep 5
done
