"""The commands `salver deploy | list | status | scale | delete | build-image`."""

from pathlib import Path
from typing import Annotated

import typer

from salver.deployment.deployment import Deployment, quiet
from salver.deployment.target import MAX_REPLICAS, MAX_TIMEOUT_SECONDS, Device, Reporter, Status, TargetName
from salver.messages import errors_as_messages, tell
from salver.text import printable

Name = Annotated[str, typer.Argument(help="Name of the deployment.")]
Model = Annotated[Path, typer.Argument(help="The file model.onnx.")]
Where = Annotated[TargetName, typer.Option(help="Where it runs.")]
Namespace = Annotated[str, typer.Option(help="Namespace, on Kubernetes.")]
OnDevice = Annotated[Device, typer.Option(help="What scores.")]
Image = Annotated[str | None, typer.Option(help="Container image; on Kubernetes it holds the model.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Reporter which commands are run.")]


def deploy(
    name: Name,
    model: Model,
    *,
    target: Where = "local",
    replicas: Annotated[int, typer.Option(min=1, max=MAX_REPLICAS, help="Replicas, on Kubernetes.")] = 1,
    device: OnDevice = "cpu",
    namespace: Namespace = "default",
    image: Image = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=MAX_TIMEOUT_SECONDS, help="Seconds to wait until it is ready.")
    ] = 300.0,
    verbose: Verbose = False,
) -> None:
    """Serve a model file as a process, a container or on Kubernetes, and wait until it is ready."""
    with errors_as_messages(again="", command="deploy"):
        deployment = Deployment(
            name,
            model,
            target,
            replicas=replicas,
            device=device,
            namespace=namespace,
            image=image,
            timeout_seconds=timeout,
            say=_progress(verbose=verbose),
        )
        typer.echo(printable(deployment.deploy()))


def list_deployments(*, target: Where = "local", namespace: Namespace = "default", verbose: Verbose = False) -> None:
    """List the deployments on a target; ends with 1 when one is damaged or was only begun."""
    with errors_as_messages(again="", command="list"):
        found = Deployment.list_deployment(target, namespace, _commands(verbose=verbose))
        for status in found:
            typer.echo(_line(status))
        if any(status.fault for status in found):
            raise typer.Exit(1)


def status(name: Name, *, target: Where = "local", namespace: Namespace = "default", verbose: Verbose = False) -> None:
    """Reporter how many replicas are ready, and where; ends with 1 when none is."""
    with errors_as_messages(again="", command="status"):
        found = Deployment(name, target=target, namespace=namespace, say=_commands(verbose=verbose)).status()
        typer.echo(_line(found))
        raise typer.Exit(0 if found.ready else 1)


def scale(
    name: Name,
    replicas: Annotated[int | None, typer.Argument(min=0, max=MAX_REPLICAS, help="Fix the number.")] = None,
    *,
    least: Annotated[int | None, typer.Option("--min", min=1, max=MAX_REPLICAS, help="Autoscale from here …")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, max=MAX_REPLICAS, help="… to here.")] = None,
    target: Where = "kubernetes",
    namespace: Namespace = "default",
    verbose: Verbose = False,
) -> None:
    """Fix the number of replicas, or let the load decide between --min and --max."""
    with errors_as_messages(again="", command="scale"):
        deployment = Deployment(name, target=target, namespace=namespace, say=_commands(verbose=verbose))
        if replicas is not None and least is None and most is None:
            deployment.scale(replicas)
        elif replicas is None and least is not None and most is not None:
            deployment.autoscale(least, most)
        else:
            raise typer.BadParameter("give a number of replicas, or both --min and --max")


def delete(name: Name, *, target: Where = "local", namespace: Namespace = "default", verbose: Verbose = False) -> None:
    """End a deployment and remove what deploying it made."""
    with errors_as_messages(again="", command="delete"):
        Deployment(name, target=target, namespace=namespace, say=_commands(verbose=verbose)).delete()


def build_image(
    name: Name, model: Model, *, device: OnDevice = "cpu", image: Image = None, verbose: Verbose = False
) -> None:
    """Build an image of the service with the model in it, for Kubernetes."""
    with errors_as_messages(again="", command="build-image"):
        deployment = Deployment(name, model, "kubernetes", device=device, image=image, say=_commands(verbose=verbose))
        typer.echo(printable(deployment.build_docker_image()))


def _line(status: Status) -> str:
    words = [status.name, status.target]
    if status.url or not status.fault:
        words += [f"{status.ready}/{status.replicas} ready", status.url]
    return printable("  ".join(words + [status.fault] * bool(status.fault)))


def _commands(*, verbose: bool) -> Reporter:
    return tell if verbose else quiet


def _progress(*, verbose: bool) -> Reporter:
    return lambda line: tell(line) if verbose or not line.startswith("$") else None
