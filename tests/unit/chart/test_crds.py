from __future__ import annotations

from scripts.chart.crds import template

DEFINITION: dict[str, object] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "seats.example.dev", "annotations": {"api-approved.kubernetes.io": "unapproved"}},
    "spec": {"names": {"plural": "seats"}, "versions": [{"description": "args may hold {{.Name}}"}]},
}


def test_what_reads_as_a_template_action_is_escaped() -> None:
    assert 'args may hold {{ "{{" }}.Name}}' in template(DEFINITION)


def test_the_definitions_own_annotations_stay_whether_it_is_kept_or_not() -> None:
    before, keep, after = template(DEFINITION).partition("{{- if .Values.crds.keep }}")

    assert keep
    assert "api-approved.kubernetes.io: unapproved" in before
    assert "helm.sh/resource-policy: keep" in after


def test_the_whole_definition_depends_on_crds_enabled() -> None:
    lines = template(DEFINITION).splitlines()

    assert lines[1] == "{{- if .Values.crds.enabled }}"
    assert lines[-1] == "{{- end }}"
