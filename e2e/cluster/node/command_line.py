"""The commands `up down status build images load env exec control-plane`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from e2e.cluster.node import backend, gotools, images, progress
from e2e.cluster.node.apiserver import ControlPlane
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_NODE = "e2e"
_CONTROL_PLANE_PROGRAMS = ("kube-apiserver", "kubectl", "kube-controller-manager")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status: 0 done, 1 failed for a stated reason, 2 misuse."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster.py", description="A real single-node Kubernetes for tests.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--name", default=DEFAULT_NODE, help=f"the node's name (default: {DEFAULT_NODE})")
        sub.set_defaults(command=command)
        return sub

    sub = add("up", _up, "start a node and wait until it is ready")
    sub.add_argument("--keep-failed", action="store_true", help="leave a node that did not become ready, to look at")
    add("down", _down, "end the node and remove everything it made")
    add("status", _status, "say what runs, and whether it is ready")
    add("env", _env, 'print shell settings, for `eval "$(cluster.py env)"`')
    sub = add("build", _build, "build Go tools that are missing from the cache")
    sub.add_argument("tools", nargs="+", metavar="TOOL", help=f"'all', 'control-plane', or of: {_tool_names()}")
    sub = add("images", _images, "build images from the checkout, without loading them")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help=f"of: {', '.join(images.IMAGES)}")
    sub = add("load", _load, "build images and load them into the node")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help=f"of: {', '.join(images.IMAGES)}")
    sub = add("exec", _exec, "run a command in the node's network, with its names and its kubeconfig")
    sub.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    add("control-plane", _control_plane, "run etcd and kube-apiserver on loopback until interrupted; no root needed")
    return parser


def _tool_names() -> str:
    return ", ".join(name for group in gotools.GROUPS.values() for name in group.programs)


def _up(options: argparse.Namespace) -> int:
    with progress.step("cluster ready"):
        cluster = backend.choose(options.name)
        cluster.up(keep_failed=options.keep_failed)
    progress.say(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> int:
    backend.choose(options.name).down()
    return 0


def _status(options: argparse.Namespace) -> int:
    print(backend.choose(options.name).status())
    return 0


def _env(options: argparse.Namespace) -> int:
    cluster = backend.choose(options.name)
    programs = ":".join(sorted({str(gotools.folder(gotools.GROUPS[name])) for name in ("kubernetes", "helm")}))
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    print(f"export PATH={shlex.quote(programs)}:$PATH")
    return 0


def _build(options: argparse.Namespace) -> int:
    names: list[str] = []
    for wanted in options.tools:
        if wanted == "all":
            names += [name for group in gotools.GROUPS.values() for name in group.programs]
        elif wanted == "control-plane":
            names += _CONTROL_PLANE_PROGRAMS
        elif wanted in gotools.GROUPS:
            names += gotools.GROUPS[wanted].programs
        else:
            names.append(wanted)
    for name, path in gotools.ensure(names).items():
        print(f"{name}\t{path}")
    return 0


def _images(options: argparse.Namespace) -> int:
    for name in options.images:
        print(f"{images.image(name).reference}\t{images.build(name)}")
    return 0


def _load(options: argparse.Namespace) -> int:
    cluster = backend.choose(options.name)
    for name in options.images:
        with progress.step(f"image {name} loaded"):
            reference = cluster.load(name)
        print(reference)
    return 0


def _exec(options: argparse.Namespace) -> int:
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise ClusterError("say which command to run: `cluster.py exec -- COMMAND`")
    command, environment = backend.choose(options.name).enter(argv)
    os.execvpe(command[0], command, {**os.environ, **environment})


def _control_plane(_: argparse.Namespace) -> int:
    with ControlPlane(controllers=["*"]) as control_plane:
        progress.say(f"export KUBECONFIG={control_plane.kubeconfig}")
        progress.say("interrupt to end it")
        _wait_for_interrupt()
    return 0


def _wait_for_interrupt() -> None:
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.sigwait(signals)
