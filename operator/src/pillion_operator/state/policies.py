"""What the platform says of artifacts: of the whole installation, and of one namespace by a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.policy import ConsentPolicy, permits
from pillion_operator.state.names import CODE_POLICY_LABEL, MODELS_CONSENT_ANNOTATION, PICKLE_POLICY_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion_operator.state.settings import RenderSettings

__all__ = ["ConsentRule", "ModelsConsent", "NamespaceRules", "consent_of", "rules_of"]

_PICKLE, _CODE = "pickle", "code"
_CONSENTS: Final = (_PICKLE, _CODE)


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """The policy for one kind of artifacts in one namespace, and who says so.

    Attributes:
        policy: the policy.
        said_by: where it comes from, to end a sentence with.
    """

    policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    said_by: str = "the operator's default"

    @property
    def denies(self) -> bool:
        """Whether no manifest can allow it."""
        return self.policy is ConsentPolicy.DENY

    def permits(self, *, opted_in: bool) -> bool:
        """Whether it may be loaded, where its owner's word is `opted_in`."""
        return permits({self.policy}, opted_in=opted_in)


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """What holds in one namespace.

    Attributes:
        pickle: of formats that can run code while they are loaded.
        code: of classes that are fetched like a model.
    """

    pickle: ConsentRule = ConsentRule()
    code: ConsentRule = ConsentRule()


@dataclass(frozen=True, slots=True)
class ModelsConsent:
    """What an InferenceService lets Model objects bring into its pods.

    Attributes:
        pickle: formats that can run code while they are loaded.
        code: classes.
        unknown: words of its annotation that mean nothing.
    """

    pickle: bool = False
    code: bool = False
    unknown: tuple[str, ...] = ()


def consent_of(annotations: Mapping[str, str]) -> ModelsConsent:
    """Return what an InferenceService with these annotations lets Models bring: nothing, unless it says so."""
    said = {word.strip() for word in annotations.get(MODELS_CONSENT_ANNOTATION, "").split(",")} - {""}
    return ModelsConsent(_PICKLE in said, _CODE in said, tuple(sorted(said.difference(_CONSENTS))))


def rules_of(namespace: str, labels: Mapping[str, str] | None, installed: RenderSettings) -> NamespaceRules:
    """Return the rules of a namespace: its labels', else the installation's.

    What cannot be read is never taken for consent: a label of another value denies, and labels that the operator may
    not see leave at most the choice of each object.

    Args:
        namespace: its name.
        labels: its labels; None where they could not be read.
        installed: the installation's policies.
    """
    return NamespaceRules(
        _rule(namespace, labels, installed.pickle_policy, PICKLE_POLICY_LABEL, "modelPolicy.pickle"),
        _rule(namespace, labels, installed.code_policy, CODE_POLICY_LABEL, "modelPolicy.code"),
    )


def _rule(
    namespace: str, labels: Mapping[str, str] | None, installed: ConsentPolicy, name: str, setting: str
) -> ConsentRule:
    if labels is None:
        policy = ConsentPolicy.DENY if installed is ConsentPolicy.DENY else ConsentPolicy.PER_OBJECT
        return ConsentRule(policy, f"the operator, which may not read the labels of the namespace {namespace!r}")
    said = labels.get(name)
    if said is None:
        return ConsentRule(installed, f"the operator's setting {setting}")
    label = f"the label {name}={said} of the namespace {namespace!r}"
    try:
        return ConsentRule(ConsentPolicy(said), label)
    except ValueError:
        return ConsentRule(ConsentPolicy.DENY, f"{label}, which is none of {', '.join(ConsentPolicy)}")
