"""Writes the PrometheusRule of the component `monitoring` from the alerts in deploy/prometheus/alerts.yaml.

    python deploy/make_prometheusrule.py

Run it after a change of the alerts; a test fails if the two files differ. kustomize cannot do it: it reads no file
outside its own folder, and puts no file into a field of a custom resource.
"""

import textwrap
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULE = DEPLOY / "kubernetes" / "components" / "monitoring" / "prometheusrule.yaml"
HEAD = """\
# Made from deploy/prometheus/alerts.yaml by `python deploy/make_prometheusrule.py`. Change the alerts there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ocr
  labels:
    app.kubernetes.io/name: ocr
spec:
"""


def manifest(alerts: str) -> str:
    """Return the text of the PrometheusRule that has the groups of a file of alerts, with its comments."""
    return HEAD + textwrap.indent(alerts, "  ")


if __name__ == "__main__":
    RULE.write_text(manifest(ALERTS.read_text()))
