"""The kinds of operators: valid by models of their definitions, and the alerts and queries are those of Prometheus.

Kubernetes's own schemas do not have these kinds. The models are made from the definitions of version 0.80.1 of the
Prometheus Operator and version 2.16.1 of KEDA, and come from PyPI. No operator runs here.
"""

import copy
import importlib
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import KUBERNETES, of_kind, read, write_site
from tests.support.deployed import kubectl
from tests.support.service import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
MONITORING = KUBERNETES / "components" / "monitoring"
MODELS = {
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
}
"""The modules of the models, by the kind."""


def validated(manifest: Any) -> None:
    """Raise an error unless each field is known and has a value of its type.

    The models ignore unknown fields, so a field that is lost on the way through a model is unknown.
    """
    models = importlib.import_module(MODELS[manifest["kind"]])  # two seconds, only in slow tests
    model = getattr(models, manifest["kind"]).model_validate(manifest)
    assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the manifests of example-site on `cluster`, which has all kinds."""
    return kubectl.build(write_site(tmp_path_factory.mktemp("site"), "cluster"))


def test_the_rule_has_the_alerts_of_prometheus() -> None:
    """The PrometheusRule is what deploy/make_prometheusrule.py makes of deploy/prometheus/alerts.yaml."""
    made = runpy.run_path(str(ROOT / "deploy" / "make_prometheusrule.py"))["manifest"](ALERTS.read_text())
    rule = MONITORING / "prometheusrule.yaml"
    assert rule.read_text() == made, "run: python deploy/make_prometheusrule.py"
    assert read(rule)["spec"] == read(ALERTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_the_operator_s_definitions_know_every_field(built: list[Any], kind: str) -> None:
    """The manifest, as kubectl builds it, has only fields of the definition, with values of their types."""
    validated(of_kind(kind, built))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "field"),
    [("ServiceMonitor", "endpoints"), ("PrometheusRule", "groups"), ("ScaledObject", "triggers")],
)
def test_a_misspelled_field_and_a_wrong_value_are_found(built: list[Any], kind: str, field: str) -> None:
    """The check above fails if a manifest has an unknown field, or a value of another type."""
    manifest = copy.deepcopy(of_kind(kind, built))
    manifest["spec"][field][0]["intervall"] = "15s"
    with pytest.raises(AssertionError):
        validated(manifest)
    del manifest["spec"][field][0]["intervall"]
    validated(manifest)
    manifest["spec"][field] = "none"
    with pytest.raises(ValueError, match=field):
        validated(manifest)


@pytest.mark.slow
def test_promtool_accepts_the_rule_and_refuses_a_defect(built: list[Any], tmp_path: Path) -> None:
    """`promtool check rules` accepts the alerts that the operator would give Prometheus; not with one defect more."""
    spec = of_kind("PrometheusRule", built)["spec"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec))
    good = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"{len(spec['groups'][0]['rules'])} rules found" in good.stdout
    file.write_text(yaml.safe_dump(spec).replace("ocr_store_available == 0", "ocr_store_available = 0"))
    bad = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert bad.returncode != 0
    assert "OcrStoreUnavailable" in bad.stdout + bad.stderr


WORKING = """
rule_files: []
tests:
  - interval: 15s
    input_series:
      - {{series: '{units}, kind="images", instance="a"}}', values: "400"}}
      - {{series: '{units}, kind="images", instance="b"}}', values: "397"}}
      - {{series: '{units}, kind="texts", instance="a"}}', values: "0"}}
      - {{series: '{units}, kind="pull", instance="a"}}', values: "100"}}
      - {{series: '{calls}, instance="a"}}', values: "3"}}
      - {{series: '{calls}, instance="b"}}', values: "4"}}
    promql_expr_test:
      - {{expr: '{query}', eval_time: 0s, exp_samples: [{{labels: "{{}}", value: {value}}}]}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("trigger", "value"), [("units", 400), ("requests", 7), ("units", 797)])
def test_a_trigger_counts_each_unit_once(built: list[Any], tmp_path: Path, trigger: str, value: int) -> None:
    """Every service exports all units, and its own calls: two services have 400 files, not 797, and 7 calls."""
    (found,) = [each for each in of_kind("ScaledObject", built)["spec"]["triggers"] if each["name"] == trigger]
    labels = '{job="ocr-model-service", namespace="ocr"'
    names = {"units": f"ocr_units_waiting{labels}", "calls": f"ocr_engine_waiting{labels}"}
    file = tmp_path / "queries.yaml"
    file.write_text(WORKING.format(**names, query=found["metadata"]["query"], value=value))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (value != 797), done.stdout + done.stderr
