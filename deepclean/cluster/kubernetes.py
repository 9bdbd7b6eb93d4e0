"""A plan as a Kubernetes Job: one index for each job of the plan.

Kubernetes repeats an index whose exit status says that a repetition may succeed, and leaves one
alone for which a person is needed. A repeated shard continues after the frames that it has written.
The manifest is written and not sent: `kubectl create -f` does that, where the cluster is reached.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deepclean.cluster.jobs import JobArray
from deepclean.cluster.submit import SubmitSite
from deepclean.errors import ConfigError
from deepclean.system.atomic import publish

OURS = frozenset(("command", "completions", "parallelism", "backofflimit"))
"""Settings that the plan sets."""

PLACE, MANIFEST = "kubernetes", "job.yaml"

_PERSON = (2, 3)
"""Exit statuses after which a repetition does not succeed (docs/replay.md)."""

_KEYS = ("image", "claims", "secret", "namespace", "memory", "gpus", "account")

_CLAIM = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?):(/[^:,]*)")

_SCRIPT = """\
own=({own})
exec {command} ${{own[$JOB_COMPLETION_INDEX]}}
"""


def write(array: JobArray, numbers: Sequence[int], site: SubmitSite) -> list[str]:
    """Write the manifest of jobs; return the command that submits it.

    Args:
        array: the jobs.
        numbers: numbers of the jobs that are to be submitted, ascending.
        site: settings of the site and the user: `image`, the container image; `claims`, the
            persistent volume claims with the places where they are mounted, as
            `data:/data,frames:/frames`; `secret`, whose keys are environment variables of the
            jobs, as storage needs them; `namespace`, `memory`, `gpus`, `account`.

    Raises:
        ConfigError: the image is not named, a setting is unknown, or no claim holds a path that the
            jobs need.
        OutputError: the manifest cannot be written.
    """
    place = array.directory / PLACE
    claims = _claims(array, site.settings)
    place.mkdir(exist_ok=True)
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(manifest(array, numbers, site, claims), text)
    publish(place / MANIFEST, text.getvalue().encode())
    return ["kubectl", "create", "-f", str(place / MANIFEST)]


def manifest(
    array: JobArray, numbers: Sequence[int], site: SubmitSite, claims: Mapping[str, str]
) -> dict[str, Any]:
    """Return the Job; arguments as `write`, and the claims by name with their places."""
    settings = site.settings
    own = " ".join(shlex.quote(" ".join(array.own[number])) for number in numbers)
    command = shlex.join(["deepclean", *array.shared])
    needs = {"cpu": str(array.threads), "memory": settings.get("memory") or "2Gi"}
    if settings.get("gpus"):
        needs["nvidia.com/gpu"] = str(settings["gpus"])
    mounts = [{"name": name, "mountPath": path} for name, path in claims.items()]
    volumes: list[dict[str, Any]] = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims
    ]
    container: dict[str, Any] = {
        "name": array.unit,
        "image": settings["image"],
        "workingDir": str(array.directory),
        "command": ["bash", "-c", _SCRIPT.format(own=own, command=command)],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            {"name": "DEEPCLEAN_CACHE", "value": "/tmp/deepclean"},
        ],
        "resources": {"requests": needs, "limits": needs},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }
    if settings.get("secret"):
        container["envFrom"] = [{"secretRef": {"name": settings["secret"]}}]
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        # The plan's files belong to who made it.
        "securityContext": {"runAsUser": os.getuid(), "runAsGroup": os.getgid()},
    }
    if settings.get("account"):
        pod["serviceAccountName"] = settings["account"]
    # Of these jobs: the same submitted twice has the same name, which Kubernetes refuses.
    mark = hashlib.sha256(f"{array.directory} {own}".encode()).hexdigest()[:8]
    metadata = {"name": f"deepclean-{array.name}-{mark}"}
    if settings.get("namespace"):
        metadata["namespace"] = str(settings["namespace"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": len(numbers),
            "parallelism": min(site.together or len(numbers), len(numbers)),
            "backoffLimitPerIndex": site.retries,
            "maxFailedIndexes": len(numbers),
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailIndex",
                        "onExitCodes": {"operator": "In", "values": list(_PERSON)},
                    },
                ]
            },
            "template": {"spec": pod},
        },
    }


def _claims(array: JobArray, settings: Mapping[str, str | None]) -> dict[str, str]:
    """Return the places of the claims by name.

    Raises:
        ConfigError: all that is wrong with the settings.
    """
    faults = [
        f"--submit {key}: for kubernetes it is one of {', '.join(_KEYS)}"
        for key in settings
        if key not in _KEYS
    ]
    if not settings.get("image"):
        faults.append("--submit image=...: name the container image that has deepclean")
    found: dict[str, str] = {}
    for text in filter(None, (settings.get("claims") or "").split(",")):
        claim = _CLAIM.fullmatch(text.strip())
        if claim is None:
            faults.append(f"--submit claims={text}: write it like data:/data,frames:/frames")
        else:
            found[claim[1]] = claim[3]
    named = [str(array.directory), *(word for word in array.shared if word.startswith("/"))]
    faults += [
        f"--submit claims=NAME:PLACE: {path} must lie in a claim, mounted at the same place"
        for path in dict.fromkeys(named)
        if not any(Path(path).is_relative_to(place) for place in found.values())
    ]
    if faults:
        raise ConfigError(faults)
    return found
