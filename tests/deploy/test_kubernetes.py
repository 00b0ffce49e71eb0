"""The manifests of deploy/kubernetes are valid for three versions of Kubernetes, and match each other and the settings.

Every overlay is built by kubectl: alone, and as a site uses it, with example-site.
"""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from app import __version__
from app.engine.process.memory_limits import share_of_container
from app.jobs.units.lanes import Lanes
from app.settings import Settings, load_settings
from tests.deploy.files import (
    KUBERNETES,
    MOST_BYTES_PER_PIXEL,
    image_environment,
    instructions,
    of_kind,
    read,
    settings_from,
    write_site,
)
from tests.support.deployed import kubectl
from tests.support.deployed.pods import memory_bytes

pytestmark = pytest.mark.slow

OVERLAYS = ("single", "shared", "cluster")
VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
OPERATOR_KINDS = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that operators define: test_operator_kinds.py has them, Kubernetes's schemas do not."""
OF_COMPONENTS = {"Ingress", "HorizontalPodAutoscaler"} | OPERATOR_KINDS
Built = dict[str, list[Any]]


@pytest.fixture(scope="module")
def plain() -> Built:
    """Return the manifests of each overlay alone."""
    return {name: kubectl.build(KUBERNETES / name) for name in OVERLAYS}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the manifests of example-site on each overlay, with all components that suit it."""
    folder = tmp_path_factory.mktemp("site")
    return {name: kubectl.build(write_site(folder, name)) for name in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def site(request: pytest.FixtureRequest, sites: Built) -> list[Any]:
    """Return the manifests of example-site on one of the overlays."""
    return sites[request.param]


def pod_of(manifests: list[Any]) -> Any:
    """Return the pod of the Deployment."""
    return of_kind("Deployment", manifests)["spec"]["template"]["spec"]


def settings_of(manifests: list[Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of the pod."""
    return settings_from(image_environment() | of_kind("ConfigMap", manifests)["data"], monkeypatch)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(plain: Built, sites: Built, version: str) -> None:
    """Every manifest is valid by the schemas of a version of Kubernetes, in which unknown fields are errors."""
    for manifest in [each for built in (*plain.values(), *sites.values()) for each in built]:
        if manifest["kind"] not in OPERATOR_KINDS:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelled_field_is_found(plain: Built, version: str) -> None:
    """Validation by these schemas fails if one manifest has an unknown field."""
    manifest = copy.deepcopy(of_kind("Deployment", plain["single"]))
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_versions_are_the_newest() -> None:
    """The newest version of Kubernetes whose schemas are at hand is among the tested ones."""
    assert kubernetes_validate.latest_version() == VERSIONS[-1]


def test_each_manifest_file_is_built(plain: Built, sites: Built) -> None:
    """Every kind of manifest in the folder is in a kustomization, and everything is in the namespace."""
    files = {read(path)["kind"] for path in KUBERNETES.rglob("*.yaml")} - {"Kustomization", "Component"}
    assert files <= {manifest["kind"] for name in ("shared", "cluster") for manifest in sites[name]}
    assert {manifest["kind"] for manifest in plain["shared"]} == files - OF_COMPONENTS | {"ConfigMap"}
    for manifest in [each for built in sites.values() for each in built]:
        expected = None if manifest["kind"] == "Namespace" else "ocr"
        assert manifest["metadata"].get("namespace") == expected, manifest["kind"]


def test_no_manifest_has_a_secret(plain: Built, sites: Built) -> None:
    """No overlay has a Secret: a site makes its own."""
    for built in (*plain.values(), *sites.values()):
        assert "Secret" not in {manifest["kind"] for manifest in built}


def test_the_image_is_this_version_or_a_digest(plain: Built, sites: Built) -> None:
    """An overlay alone has the image of this version; example-site names its registry and a digest."""
    for name in OVERLAYS:
        assert pod_of(plain[name])["containers"][0]["image"] == f"ocr-model-service:{__version__}"
        assert pod_of(sites[name])["containers"][0]["image"].startswith("registry.example/ocr-model-service@sha256:")


def test_references_exist(site: list[Any]) -> None:
    """The names, labels and ports by which the manifests refer to each other exist."""
    container, volumes = pod_of(site)["containers"][0], {volume["name"]: volume for volume in pod_of(site)["volumes"]}
    assert container["envFrom"] == [{"configMapRef": {"name": of_kind("ConfigMap", site)["metadata"]["name"]}}]
    claim = of_kind("PersistentVolumeClaim", site)["metadata"]["name"]
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert [port["containerPort"] for port in container["ports"]] == [int(image_environment()["OCR_PORT"])]
    labels = of_kind("Deployment", site)["spec"]["template"]["metadata"]["labels"]
    service = of_kind("Service", site)
    assert service["spec"]["selector"].items() <= labels.items()
    assert of_kind("NetworkPolicy", site)["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    monitor = of_kind("ServiceMonitor", site)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
    (rule,) = of_kind("Ingress", site)["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] in ports


def test_the_service_accepts_the_settings(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The service accepts the settings of the ConfigMap, and each path in them is on a mounted volume."""
    settings = settings_of(site, monkeypatch)
    mounts = {Path(mount["mountPath"]) for mount in pod_of(site)["containers"][0]["volumeMounts"]}
    for path in (settings.models_dir, settings.state_dir, settings.api_keys_file, settings.license_file):
        assert path is not None
        assert {path, *path.parents} & mounts


def test_no_service_link_becomes_a_setting(site: list[Any]) -> None:
    """Service links are disabled, because a Service named `ocr` would set OCR_PORT."""
    assert pod_of(site)["enableServiceLinks"] is False


def test_a_pod_has_time_to_drain_and_to_stop(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod's grace period covers OCR_DRAIN_TIME, which is not 0, and OCR_SHUTDOWN_GRACE."""
    settings, pod = settings_of(site, monkeypatch), pod_of(site)
    assert settings.drain_time
    assert "lifecycle" not in pod["containers"][0]
    assert pod["terminationGracePeriodSeconds"] > (settings.drain_time + settings.shutdown_grace).total_seconds()


def test_the_drain_outlasts_a_failing_readiness_probe_or_the_removal_of_the_endpoint(
    site: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the drain the cluster makes at least one readiness probe, so that it stops sending requests to the pod."""
    probe = pod_of(site)["containers"][0]["readinessProbe"]
    assert settings_of(site, monkeypatch).drain_time.total_seconds() >= 2 * probe["periodSeconds"]


def test_the_pod_is_restricted(site: list[Any]) -> None:
    """The pod meets the restricted Pod Security Standard, has a read-only root, and its user is the image's."""
    security, container = pod_of(site)["securityContext"], pod_of(site)["containers"][0]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [f"{security['runAsUser']}:{security['runAsGroup']}"] == instructions("USER")
    assert container == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    namespace = of_kind("Namespace", site)["metadata"]
    assert namespace["name"] == of_kind("Deployment", site)["metadata"]["namespace"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_memory_is_enough_for_the_largest_page(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine may hold what the largest page of OCR_MAX_IMAGE_PIXELS needs."""
    settings = settings_of(site, monkeypatch)
    limit_bytes = memory_bytes(pod_of(site)["containers"][0]["resources"]["limits"]["memory"])
    assert settings.engine_memory_limit is None
    assert share_of_container(limit_bytes) >= settings.max_image_pixels * MOST_BYTES_PER_PIXEL


def test_the_scratch_volume_holds_what_the_settings_allow(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod is never evicted for its scratch files: its limits are at least what the settings allow.

    That is the file of each place in the queue, the files of the units of jobs that a service works on, and the pages
    of one call, in RGB without compression. The other files of jobs are on the volume of the model folder.
    """
    settings, pod = settings_of(site, monkeypatch), pod_of(site)
    lanes = Lanes()
    files = settings.engine_queue_size + 1 + lanes.local + lanes.downloads
    files_bytes = files * settings.max_image_bytes
    pages_bytes = settings.max_image_pages * settings.max_image_pixels * 3
    state = next(volume for volume in pod["volumes"] if volume["name"] == "state")
    limit_bytes = memory_bytes(state["emptyDir"]["sizeLimit"])
    assert limit_bytes >= files_bytes + pages_bytes
    assert memory_bytes(pod["containers"][0]["resources"]["limits"]["ephemeral-storage"]) > limit_bytes


def test_the_ingress_waits_as_long_as_the_service(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of the Ingress ends a request that the service still works on, and no body is stored or refused."""
    settings = settings_of(site, monkeypatch)
    annotations = of_kind("Ingress", site)["metadata"]["annotations"]
    options = {name.rpartition("/")[2]: value for name, value in annotations.items()}
    longest = (settings.engine_queue_size + 1) * settings.recognition_timeout.total_seconds()
    assert int(options["proxy-read-timeout"]) > longest
    assert int(options["proxy-send-timeout"]) > settings.upload_stall_timeout.total_seconds()
    assert (options["proxy-body-size"], options["proxy-request-buffering"]) == ("0", "off")


def test_callers_scrapes_and_the_ingress_may_connect(site: list[Any]) -> None:
    """With all components the policy lets in this namespace, labelled ones, the Ingress and the monitoring."""
    (rule,) = of_kind("NetworkPolicy", site)["spec"]["ingress"]
    labels = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"] if "namespaceSelector" in peer]
    assert {"podSelector": {}} in rule["from"]
    assert {"kubernetes.io/metadata.name": "ingress-nginx"} in labels
    assert {"kubernetes.io/metadata.name": "monitoring"} in labels
    assert {"ocr-client": "true"} in labels


def test_the_scrape_has_the_job_that_the_alerts_look_for(site: list[Any]) -> None:
    """The ServiceMonitor sets the label `job` that the alerts of deploy/prometheus name."""
    (endpoint,) = of_kind("ServiceMonitor", site)["spec"]["endpoints"]
    (relabeling,) = endpoint["relabelings"]
    assert relabeling["targetLabel"] == "job"
    alerts = (KUBERNETES.parent / "prometheus" / "alerts.yaml").read_text()
    assert f'job="{relabeling["replacement"]}"' in alerts


def test_one_pod_or_several_by_overlay(plain: Built) -> None:
    """`single` ends the old pod before the new one starts; `shared` has several pods on several nodes."""
    single, shared = (of_kind("Deployment", plain[name])["spec"] for name in ("single", "shared"))
    assert (single["replicas"], single["strategy"]) == (1, {"type": "Recreate"})
    assert of_kind("PersistentVolumeClaim", plain["single"])["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "PodDisruptionBudget" not in {manifest["kind"] for manifest in plain["single"]}

    assert shared["replicas"] > of_kind("PodDisruptionBudget", plain["shared"])["spec"]["maxUnavailable"] > 0
    assert shared["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of_kind("PersistentVolumeClaim", plain["shared"])["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = shared["template"]["spec"]
    (zones,) = pod["topologySpreadConstraints"]
    (nodes,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [each["topologyKey"] for each in (zones, nodes)] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for each in (zones, nodes):
        assert each["labelSelector"]["matchLabels"].items() <= shared["template"]["metadata"]["labels"].items()
        assert each["matchLabelKeys"] == ["pod-template-hash"]


def test_the_number_of_pods_is_the_autoscaler_s(plain: Built, sites: Built) -> None:
    """With the component the Deployment states no number of pods, so that `kubectl apply` does not set it back.

    The least number is that of `shared`, and no value of memory counts, because the engine keeps memory.
    """
    deployment = of_kind("Deployment", sites["shared"])
    scaler = of_kind("HorizontalPodAutoscaler", sites["shared"])["spec"]
    assert "replicas" not in deployment["spec"]
    target = {"apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert scaler["scaleTargetRef"] == target
    assert scaler["minReplicas"] == of_kind("Deployment", plain["shared"])["spec"]["replicas"] < scaler["maxReplicas"]
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]


def test_a_changed_setting_restarts_the_pods(plain: Built, sites: Built) -> None:
    """The name of the ConfigMap depends on the settings, so that a changed value changes the pods."""
    names = {of_kind("ConfigMap", built["shared"])["metadata"]["name"] for built in (plain, sites)}
    assert len(names) == 2


def test_the_queue_sets_the_number_of_pods_of_a_cluster(plain: Built, sites: Built) -> None:
    """In `cluster` the ScaledObject alone changes the number of pods, and takes over an autoscaler that a site had."""
    cluster = sites["cluster"]
    deployment, scaled = of_kind("Deployment", cluster), of_kind("ScaledObject", cluster)
    spec = scaled["spec"]
    assert "replicas" not in deployment["spec"]
    assert "HorizontalPodAutoscaler" not in {manifest["kind"] for manifest in cluster}
    target = {"apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert spec["scaleTargetRef"] == target
    assert spec["minReplicaCount"] == of_kind("Deployment", plain["shared"])["spec"]["replicas"]
    assert spec["minReplicaCount"] < spec["maxReplicaCount"]
    former = of_kind("HorizontalPodAutoscaler", sites["shared"])["metadata"]["name"]
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["name"] == former
    assert scaled["metadata"]["annotations"]["scaledobject.keda.sh/transfer-hpa-ownership"] == "true"


def test_the_pods_of_a_cluster_reach_their_database(
    sites: Built, plain: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The service reads the URL of the database from the mounted secret, and may connect to the database's port."""
    cluster = sites["cluster"]
    file = settings_of(cluster, monkeypatch).jobs_url_file
    pod = pod_of(cluster)
    (volume,) = [each for each in pod["volumes"] if each["name"] == "jobs-database"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "jobs-database"]
    (item,) = volume["secret"]["items"]
    assert file == Path(mount["mountPath"], item["path"])
    assert mount["readOnly"] is True
    assert "optional" not in volume["secret"]

    added = [
        rule
        for rule in of_kind("NetworkPolicy", cluster)["spec"]["egress"]
        if rule not in of_kind("NetworkPolicy", plain["shared"])["spec"]["egress"]
    ]
    assert [rule["ports"] for rule in added] == [[{"port": 5432, "protocol": "TCP"}]]

    (tmp_path / "uri").write_text("postgresql://app:secret@ocr-jobs-rw.ocr:5432/app\n")
    monkeypatch.setenv("OCR_JOBS_URL_FILE", str(tmp_path / "uri"))
    assert load_settings().read_jobs_url() == "postgresql://app:secret@ocr-jobs-rw.ocr:5432/app"


def test_two_autoscalers_are_refused(tmp_path: Path) -> None:
    """A site with the components `autoscaling` and `queue-scaling` cannot be built."""
    site = write_site(tmp_path, "cluster") / "kustomization.yaml"
    marked = "# - ../components/autoscaling\n"
    assert site.read_text().count(marked) == 1
    site.write_text(site.read_text().replace(marked, "- ../components/autoscaling\n"))
    with pytest.raises(AssertionError, match="/spec/replicas"):
        kubectl.build(site.parent)


def test_more_pods_may_be_disrupted_at_once_in_a_cluster(plain: Built) -> None:
    """`cluster` lets a share of its pods end at once, of any number of pods at least one."""
    assert of_kind("PodDisruptionBudget", plain["cluster"])["spec"]["maxUnavailable"] == "25%"
