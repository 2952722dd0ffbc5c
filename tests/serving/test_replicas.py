"""Replicas on a local cluster of Ray: one is killed under load, and every acknowledged job is drawn once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import postgresql
import pytest
import yaml
from server_process import assert_nothing_lost, save_model, serving, wait, workers_at_work

from sumi import SumiError
from sumi.bundles import Bundle
from sumi.store import open_store

pytest.importorskip("ray.serve", reason="Ray is not installed (the extra `ray`), so replicas are not tested")

from ray.serve.schema import ServeDeploySchema

from sumi.serving.replicas import NEEDED, ReplicaConfig, configured, count_wanted_replicas
from sumi.serving.scheduler import SchedulerLimits
from sumi.serving.settings import ServerSettings

REPLICA = "ServeReplica"


def test_replica_killed_under_load_loses_no_job(tiny_bundle: Bundle, postgresql_server: str, tmp_path: Path) -> None:
    url, pictures = postgresql.empty(postgresql_server), f"file://{tmp_path}/pictures"
    arguments = ("--engine", "ray", "--replicas", "2", "--database", url, "--pictures", pictures)
    model, data = save_model(tiny_bundle, tmp_path / "model"), tmp_path / "data"
    # No cluster that may be running, nothing in the home folder, and no last place in the queue for the CPU.
    alone = {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    alone |= {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}  # a busy machine is slow, and not broken
    with open_store(data, url, pictures=pictures) as store:
        with serving(model, data, *arguments, log=tmp_path / "log", **alone) as server:
            server.ready()
            wait(lambda: len(server.descendants(REPLICA)) == 2)
            jobs = [server.ask(n=2, steps=100 + number) for number in range(24)]
            wait(lambda: len(workers_at_work(store)) == 2)
            os.kill(server.descendants(REPLICA)[0], signal.SIGKILL)
            assert_nothing_lost(store, jobs, pictures=2)
            picture = server.client.get(f"/v1/jobs/{jobs[0]}").json()["pictures"][0]
            assert server.client.get(f"/v1/gallery/{picture['id']}/content").content[:4] == b"\x89PNG"
        assert store.jobs.counts()["running"] == 0 and server.process.returncode == 0


@pytest.mark.parametrize(
    ("said", "wanted"), [({}, 3), ({"one": 0.0, "other": 0.0}, 1), ({"one": 0.4}, 1), ({"one": 2.5, "other": 2.4}, 2.5)]
)
def test_replica_count_follows_the_queue(said: dict[str, float], wanted: float) -> None:
    context = SimpleNamespace(aggregated_metrics={NEEDED: said} if said else {}, target_num_replicas=3)
    assert count_wanted_replicas(context) == (wanted, {})  # type: ignore[arg-type]


def test_configured_application_reads_args_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUMI_DATABASE", "postgresql:" + "//sumi@database/sumi")
    bound = configured({"replicas": 5, "host_names": ["example.org"], "queued": 1000, "running": 3})
    deployment = bound._bound_deployment
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 5)
    (config,) = deployment.init_args
    settings = ServerSettings(
        "0.0.0.0", host_names=("example.org",), require_keys=True, queued=1000, limits=SchedulerLimits(running=3)
    )
    assert config == ReplicaConfig("postgresql:" + "//sumi@database/sumi", settings, replicas=5)


def test_deploy_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUMI_DATABASE", "postgresql:" + "//sumi@database/sumi")
    text = (Path(__file__).parents[2] / "deploy" / "ray-serve.yaml").read_text("utf-8")
    (said,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    assert said.import_path == f"{configured.__module__}:{configured.__name__}"
    deployment = configured(said.args)._bound_deployment
    assert [each.name for each in said.deployments] == [deployment.name]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            lambda: ReplicaConfig("", ServerSettings()),
            "replicas share one database, and SQLite is for one server: give --database postgresql",
        ),
        (
            lambda: ReplicaConfig("sqlite:" + "///here.db", ServerSettings()),
            "replicas share one database, and SQLite is for one server",
        ),
        (
            lambda: ReplicaConfig("postgresql:" + "//here/sumi", ServerSettings(), replicas=0),
            "replicas must be 1 or more, not 0",
        ),
    ],
)
def test_replica_config_that_is_invalid_is_one_line(config: Callable[[], ReplicaConfig], said: str) -> None:
    with pytest.raises(SumiError, match=said):
        config()
