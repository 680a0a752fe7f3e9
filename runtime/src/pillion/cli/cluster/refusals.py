"""What kubectl says when it cannot do something, as a sentence that also says what to do. Pure.

The texts are those of kubectl and of the API server; a test asks a real one for each.
"""

from __future__ import annotations

import re
from typing import Final

from pillion.cli.failures import CLUSTER, CommandError

__all__ = ["NO_KUBECTL", "conflict", "explained", "said"]

NO_KUBECTL: Final = (
    "kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/); Pillion reaches clusters through "
    "it, with your contexts and logins"
)
_NO_CONTEXT: Final = (
    "no cluster is chosen: kubectl has no current context. Choose one with `kubectl config use-context NAME` or "
    "--context NAME, or name the file in KUBECONFIG"
)
_NOT_INSTALLED: Final = (
    "this cluster does not know InferenceServices: Pillion is not installed there. "
    "Install it with `helm install pillion charts/pillion -n pillion --create-namespace`, or choose another --context"
)
_UNCHOSEN: Final = re.compile(r"current-context (is not set|must exist)|localhost:8080 was refused")
_UNKNOWN_CONTEXT: Final = re.compile(
    r"(?:not found for specified context:|cannot locate context|context) \"?([^\s\";]+?)\"?(?: does not exist)?$"
)
_UNKNOWN_KIND: Final = re.compile(r"no matches for kind \"InferenceService\"|have a resource type \"inferenceservices")
_NO_LOGIN: Final = re.compile(r"Unauthorized|You must be logged in|getting credentials")
_UNREACHABLE: Final = re.compile(
    r"was refused|Unable to connect|no such host|i/o timeout|TLS handshake|certificate|deadline exceeded"
)
#: klog's lines, which say the same as the last line, five times.
_NOISE: Final = re.compile(r"^[EIW]\d{4} \d\d:\d\d:\d\d")


def said(stderr: str) -> str:
    """What kubectl said, without the log lines of its libraries."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _NOISE.match(line)]
    return "; ".join(line.removeprefix("error: ").removeprefix("Error: ") for line in lines)


def explained(stderr: str, *, context: str = "", doing: str = "") -> CommandError:
    """The failure of a kubectl command in words.

    Args:
        stderr: what it printed.
        context: the kubeconfig's context, to be named.
        doing: what was asked for, for the failures that nothing more is known of.
    """
    text = said(stderr)
    where = f" (context {context})" if context else ""
    return CommandError(_sentence(text, where, doing), code=CLUSTER)


def conflict(stderr: str) -> str:
    """Whose fields a server-side apply would change, and which; empty where that is not why it failed."""
    managers = sorted(set(re.findall(r'conflicts? with "([^"]+)"', stderr)))
    if not managers:
        return ""
    fields = re.findall(r"(?:^- |: )(\.[^\s]+)", stderr, re.MULTILINE)
    named = f": {', '.join(fields)}" if fields else ""
    return f"{', '.join(managers)} manages fields that would change{named}; take them over with --force"


def _sentence(text: str, where: str, doing: str) -> str:
    bare = _bare(text)
    if _UNCHOSEN.search(text):
        return _NO_CONTEXT
    if match := _UNKNOWN_CONTEXT.search(text):
        return f"kubectl knows no context {match[1]}: `kubectl config get-contexts` lists those that it knows"
    if _UNKNOWN_KIND.search(text):
        return f"{_NOT_INSTALLED}{where}"
    if "Forbidden" in text or "is forbidden" in text:
        return f"not allowed{where}: {bare}. Ask for that right; `kubectl auth can-i --list` shows those that you have"
    if _NO_LOGIN.search(text):
        return f"the cluster does not accept your login{where}: {bare}. Log in again as your cluster's manual says"
    if _UNREACHABLE.search(text):
        return f"the cluster cannot be reached{where}: {bare}. Is it up, and is this the right context?"
    return f"{doing or 'kubectl'}{where}: {bare or 'it failed and said nothing'}"


def _bare(text: str) -> str:
    return re.sub(r"^Error from server(?: \(\w+\))?: ", "", text).rstrip(".")
