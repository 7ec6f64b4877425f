"""The scripts for Slurm and Kubernetes, as far as they can be checked without either."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "cluster"
RAY = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def stub(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)


@bash
def test_the_slurm_script_hands_ray_the_first_node_and_arl_the_same_address(tmp_path):
    stub(tmp_path, "scontrol", "printf 'node-1\\nnode-2\\n'")
    stub(tmp_path, "srun", 'printf "%s\\n" "$@"')
    slurm = {"SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "2"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm.sh"), "search.toml", "runs/a b"],
        env={**os.environ, **slurm, "SLURM_CPUS_PER_TASK": "16", "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    given = {flag: words[words.index(flag) + 1] for flag in ("--address", "--min-nodes", "--num-cpus", "--executor")}
    assert given == {
        "--address": "node-1:20077",
        "--min-nodes": "2",
        "--num-cpus": "16",
        "--executor": "ray://node-1:20077",
    }
    assert words[words.index("--") + 1 :][:6] == ["arl", "search", "--config", "search.toml", "--out", "runs/a b"]


@bash
def test_ray_knows_the_options_of_the_slurm_script():
    pytest.importorskip("ray")
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "symmetric-run", "--help"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--address ADDRESS [--min-nodes NUM_NODES]" in " ".join(page.split())


def test_the_raycluster_is_one():
    yaml = pytest.importorskip("yaml")
    cluster, claim = yaml.safe_load_all((FOLDER / "raycluster.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert spec["rayVersion"] == RAY
    head, (group,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert all(isinstance(value, str) for value in head["rayStartParams"].values())
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    pods = [part["template"]["spec"] for part in (head, group)]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1, "nodes must be alike"
    for container in containers:
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    volumes = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pods[0]["volumes"]}
    assert volumes == {"runs": claim["metadata"]["name"]}
    assert containers[0]["volumeMounts"][0]["name"] in volumes


def test_the_image_has_the_ray_that_is_tested():
    text = (FOLDER / "Dockerfile").read_text()
    assert f"rayproject/ray:{RAY}-py3" in text
    assert f"ray=={RAY}" in text
