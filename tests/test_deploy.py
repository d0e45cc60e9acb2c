"""The files of deploy/kubernetes and docker-compose.yml are valid, and fit the service and each other."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Route

from service.app import create_app
from service.guard import PROBES
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
LABELS = {"app.kubernetes.io/name": "lossmeter"}
MIB = 2**20
UNITS = {"Mi": MIB, "Gi": 2**30}
MARGIN_SECONDS = 5


def objects() -> dict[str, Any]:
    """The objects by kind, of the files that the kustomization lists."""
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    found = [document for name in listed for document in yaml.safe_load_all((FOLDER / name).read_text())]
    return {document["kind"]: document for document in found}


OBJECTS = objects()
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}


def configured() -> Settings:
    """The settings of the container, but for the file of keys, which is not here."""
    given: Any = {name.removeprefix(PREFIX).lower(): value for name, value in ENVIRONMENT.items()}
    del given["api_keys_file"]
    return Settings(**given)


def size(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_what_kubernetes_takes(kind: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_a_field_that_there_is_not_is_noticed() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(OBJECTS["Service"] | {"specs": {}}, "1.37", strict=True)


def test_every_variable_is_a_setting_with_a_value_that_it_takes() -> None:
    assert {name.removeprefix(PREFIX).lower() for name in ENVIRONMENT} <= set(Settings.model_fields)
    assert configured().host == "0.0.0.0"  # noqa: S104
    assert POD["enableServiceLinks"] is False  # of a Service of this name they would be taken for settings


def test_ports_fit() -> None:
    (named,) = CONTAINER["ports"]
    assert configured().port == named["containerPort"]
    (served,) = OBJECTS["Service"]["spec"]["ports"]
    assert served["targetPort"] == named["name"]
    (rule,) = OBJECTS["NetworkPolicy"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": named["containerPort"]}]
    assert f"EXPOSE {named['containerPort']}" in (ROOT / "Dockerfile").read_text()


def test_probes_ask_what_answers_without_a_key() -> None:
    routes = {route.path for route in create_app(configured()).routes if isinstance(route, Route)}
    asked = {kind: CONTAINER[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    for probe in asked.values():
        assert probe["port"] == CONTAINER["ports"][0]["name"]
        assert probe["path"] in routes & PROBES


def test_a_pod_and_a_container_end_after_the_service_has() -> None:
    settings: Any = configured()
    needed = settings.drain_seconds + settings.grace_seconds + MARGIN_SECONDS
    assert POD["terminationGracePeriodSeconds"] >= needed
    for service in compose().values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= needed
    drained = CONTAINER["readinessProbe"]
    assert drained["periodSeconds"] * drained["failureThreshold"] + drained["timeoutSeconds"] < 5


def test_what_the_settings_let_in_fits_in_the_memory() -> None:
    settings: Any = configured()
    admitted = max(settings.max_inflight_bytes, settings.max_body_bytes)
    resources = CONTAINER["resources"]
    threads = int(resources["limits"]["cpu"])
    # Idle, bodies, and on each thread JSON of the kind that takes most.
    needed = 150 * MIB + int(1.1 * admitted) + 16 * settings.max_json_bytes * threads
    assert size(resources["limits"]["memory"]) >= needed
    assert size(resources["requests"]["memory"]) >= 150 * MIB
    for name in ("cpu", "memory", "ephemeral-storage"):
        assert resources["requests"][name]
        assert resources["limits"][name]


def test_the_pod_has_no_right_that_it_does_not_need() -> None:
    assert POD["automountServiceAccountToken"] is False
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert [(str(pod["runAsUser"]), str(pod["runAsGroup"]))] == user
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & set(POD)
    assert not any("hostPath" in volume for volume in POD["volumes"])
    policy = OBJECTS["NetworkPolicy"]["spec"]
    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])


def test_keys_come_from_a_secret_that_the_user_can_read() -> None:
    mounts = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert set(mounts) == set(volumes)
    file = Path(ENVIRONMENT["LOSSMETER_API_KEYS_FILE"])
    assert str(file.parent) == mounts["api-keys"]["mountPath"]
    assert mounts["api-keys"]["readOnly"] is True
    secret = volumes["api-keys"]["secret"]
    assert (secret["defaultMode"], "optional" in secret) == (0o440, False)  # without it no pod starts
    assert POD["securityContext"]["fsGroup"] == POD["securityContext"]["runAsGroup"]
    said = f"create secret generic {secret['secretName']} --from-file={file.name}="
    assert said in (FOLDER / "kustomization.yaml").read_text()
    assert said in (ROOT / "README.md").read_text()


def test_selectors_find_the_pods() -> None:
    deployment = OBJECTS["Deployment"]["spec"]
    assert deployment["template"]["metadata"]["labels"] == deployment["selector"]["matchLabels"] == LABELS
    assert OBJECTS["Service"]["spec"]["selector"] == LABELS
    assert OBJECTS["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": LABELS}
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": LABELS}
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": OBJECTS["Deployment"]["metadata"]["name"]}
    assert "replicas" not in deployment  # or each apply would undo what the autoscaler did
    budget = OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert OBJECTS["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > budget


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def test_containers_of_compose_have_no_right_that_they_do_not_need() -> None:
    for service in compose().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["ports"][0].startswith("127.0.0.1:")
        names = {name.removeprefix(PREFIX).lower() for name in service["environment"]}
        assert names <= set(Settings.model_fields)


def test_the_image_and_the_profile_for_a_card_ask_for_one() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    (stage,) = (stage for stage in stages if stage.startswith("runtime AS cuda\n"))
    assert "NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility" in stage
    assert "COPY --from=cuda-packages" in stage
    pinned = (ROOT / "requirements" / "cuda.txt").read_text()
    assert re.search(r"^onnxruntime-gpu==", pinned, re.MULTILINE)
    assert not re.search(r"^onnxruntime==", pinned, re.MULTILINE)
    gpu = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["gpu"]
    assert gpu["build"]["target"] == "cuda"
    assert gpu["profiles"] == ["gpu"]
    assert gpu["environment"]["LOSSMETER_DEVICE"] == "cuda"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
