"""Renders the chart below deploy/kubernetes with Helm's own engine and prints what it made, as JSON.

Reads a list of values from standard input. Of each it prints the documents of the manifest, or the error with
which Helm refuses it; what Helm's linter says; and what the schemas of Kubernetes say of each document whose kind
is Kubernetes' own.
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

CHART = "deploy/kubernetes/magic-runtime"
# The oldest release that the chart admits and for which there are schemas, and the newest.
RELEASES = ["1.30.0", "1.37.0"]
# Kinds that an operator brings; Kubernetes has no schemas for them.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}


def problems(document: dict) -> list[str]:
    if document["kind"] in FOREIGN:
        return []
    found = []
    for release in RELEASES:
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except Exception as error:  # Whatever it raises is a finding.
            found.append(f"{release}: {document['kind']}: {error}")
    return found


def rendered(chart: helm_python.Chart, values: dict) -> dict:
    try:
        files = chart.render(values, name="demo", namespace="prod")
    except helm_python.HelmError as error:
        return {"refused": str(error)}
    documents = []
    for name, text in sorted(files.items()):
        if name.endswith(".yaml"):
            documents += [document for document in yaml.safe_load_all(text) if document]
    return {
        "documents": documents,
        "problems": [problem for document in documents for problem in problems(document)],
        "lint": helm_python.lint(CHART, values, strict=True),
    }


def main() -> None:
    with helm_python.Chart.load(CHART) as chart:
        print(json.dumps([rendered(chart, values) for values in json.load(sys.stdin)]))


main()
