"""What is known of the nodes of this machine: one small file in each node's folder."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster.node import paths
from e2e.cluster.node.layout import Layout


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine; the time of its start tells it from a later one of its number."""

    pid: int
    #: Clock ticks from the start of the machine to the start of the process, proc(5).
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has the number now; raises ProcessLookupError for none."""
        started = start_ticks(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether it runs; one that has ended and was not waited for does not."""
        return start_ticks(self.pid) == self.started

    def kill(self, within_seconds: float) -> bool:
        """Kill it and wait for its end; return whether it ended in time.

        The first process of a process namespace ends only after all the others in it have.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive:
                return True
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            ended, _, _ = select.select([descriptor], [], [], within_seconds)
            return bool(ended)
        except ProcessLookupError:
            return True
        finally:
            os.close(descriptor)


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks; None where there is none or a zombie."""
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node that was started: its layout, and its first process."""

    layout: Layout
    init: Process

    def write(self) -> None:
        """Write the record into the node's folder, whole or not at all."""
        partial = self.layout.record.with_suffix(".part")
        partial.write_text(json.dumps(asdict(self)))
        partial.rename(self.layout.record)

    @classmethod
    def read(cls, name: str) -> NodeRecord | None:
        """Return the record of the node called `name`; None where there is none."""
        path = Layout(name, 0).record
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return cls(Layout(**content["layout"]), Process(**content["init"]))


def all_nodes() -> list[NodeRecord]:
    """Return the records of all nodes of this user, alive or not, by name."""
    folders = sorted((paths.cache_home() / "nodes").glob("*/"))
    records = (NodeRecord.read(folder.name) for folder in folders)
    return [record for record in records if record is not None]
