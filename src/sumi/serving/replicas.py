"""More than one machine: every replica of Ray Serve is a complete server, and all they share is the store.

    client -> Ray's proxy -> any replica -> database, pictures <- whichever replica has room

Replicas do not know of each other. The database records who holds a job, and the jobs of a dead replica are taken over
as after any crash. The number of replicas follows the queue:

    replicas = unfinished jobs / jobs that one draws together,    at least 1
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

try:
    import ray
    from ray import serve
    from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy, HTTPOptions
    from ray.serve.schema import LoggingConfig
except ModuleNotFoundError as error:
    from sumi.errors import SumiError

    raise SumiError(f'replicas need {error.name}: pip install -e ".[ray]"') from error

import sumi
from sumi.errors import SumiError
from sumi.serving.app import create_app
from sumi.serving.scheduler import SchedulerLimits
from sumi.serving.settings import ServerSettings
from sumi.store import open_store

__all__ = ["RUNNING", "Replica", "ReplicaConfig", "configured", "make_application", "run_replicas"]

NEEDED: Final = "replicas_needed"
RUNNING: Final = 8
"""Jobs that a replica takes by default: few, so that the others get some too."""
OBJECT_STORE_BYTES: Final = 80 * 2**20
"""Ray's shared memory, at its minimum: nothing of ours goes through it."""


@dataclass(frozen=True)
class ReplicaConfig:
    """What every replica is given.

    Attributes:
        database: address of a PostgreSQL database.
        settings: each server's settings; Ray decides where it listens, and `limits.running` is the number of jobs that
            one replica takes.
        data: a folder on each machine, for what concerns that machine alone.
        pictures: a place that all replicas reach; by default a folder in `data`, enough on one machine.
        model: a folder on each machine.
        replicas: the maximum.
        opened: how each opens the model, as further arguments of `sumi.load`.
    """

    database: str
    settings: ServerSettings
    data: str = "sumi-data"
    pictures: str | None = None
    model: str | None = None
    replicas: int = 2
    opened: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.database.startswith("postgres"):
            raise SumiError(
                "replicas share one database, and SQLite is for one server: give --database postgresql://USER@HOST/NAME"
            )
        if self.replicas < 1:
            raise SumiError(f"replicas must be 1 or more, not {self.replicas}")


@serve.ingress()
class Replica:
    """One replica: the application over the shared store."""

    def __init__(self, config: ReplicaConfig) -> None:
        self.config = config

    def __serve_build_asgi_app__(self) -> Any:
        """Open the store, load the model and return the application; Ray runs its lifespan."""
        config = self.config
        self.store = open_store(config.data, config.database, pictures=config.pictures)
        self.application = create_app(sumi.load(config.model, **config.opened), self.store, config.settings)
        return self.application

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return how many replicas the database's jobs would keep busy; every replica reports the same."""
        counts = await asyncio.to_thread(self.store.jobs.counts)
        return {NEEDED: (counts["queued"] + counts["running"]) / self.config.settings.limits.running}

    async def check_health(self) -> None:
        """Raise where the engine has ended, so that Ray replaces this replica."""
        if not self.application.state.shared.service.engine.alive:
            raise RuntimeError("the engine has ended")


def count_wanted_replicas(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return the wanted number of replicas: what the replicas report, or the current number where none has."""
    reported = (context.aggregated_metrics or {}).get(NEEDED, {})
    return max(1.0, *reported.values()) if reported else context.target_num_replicas, {}


def configured(args: Mapping[str, Any]) -> serve.Application:
    """Return the application of a Ray Serve configuration that names `sumi.serving.replicas:configured`.

    args: its `args`: fields of `ReplicaConfig` and of `ServerSettings`, and `running`. Keys are required. The
    database and the pictures may come from $SUMI_DATABASE and $SUMI_PICTURES.
    """
    places = {"database": os.environ.get("SUMI_DATABASE", ""), "pictures": os.environ.get("SUMI_PICTURES")}
    names, own = {field.name for field in fields(ReplicaConfig)}, dict(args)
    config = places | {name: own.pop(name) for name in list(own) if name in names}
    limits = SchedulerLimits(running=own.pop("running", RUNNING))
    try:
        settings = ServerSettings(
            **{"host": "0.0.0.0", **own, "host_names": tuple(own.get("host_names", ())), "require_keys": True},
            limits=limits,
        )
    except TypeError:
        raise SumiError(f"args hold a name that is no setting of a server: {', '.join(own)}") from None
    return make_application(ReplicaConfig(**config, settings=settings))


def make_application(config: ReplicaConfig) -> serve.Application:
    """Return a configuration as an application of Ray Serve."""
    deployment = serve.deployment(
        Replica, name="sumi", max_ongoing_requests=2 * config.settings.max_requests,
        graceful_shutdown_timeout_s=30, health_check_period_s=5, ray_actor_options={"num_cpus": 1},
        autoscaling_config=AutoscalingConfig(
            min_replicas=1, initial_replicas=config.replicas, max_replicas=config.replicas, upscale_delay_s=5,
            downscale_delay_s=300, policy=AutoscalingPolicy(policy_function=count_wanted_replicas),
        ),
    )  # fmt: skip
    return deployment.bind(config)


def run_replicas(config: ReplicaConfig, ready: Callable[[], None]) -> None:
    """Run replicas until a signal arrives: on the cluster at $RAY_ADDRESS, or on one that is started here.

    Args:
        config: what every replica is given.
        ready: called once requests are answered.

    Raises:
        SumiError: the port is taken, or the replicas do not start.
    """
    host, port = config.settings.host, config.settings.port
    _check_port(host, port)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports nothing
    stop = threading.Event()
    address = os.environ.get("RAY_ADDRESS")
    own = {"num_cpus": max(config.replicas, os.cpu_count() or 1), "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address or "local", include_dashboard=False, logging_level="WARNING", **({} if address else own))
        quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
        serve.start(http_options=HTTPOptions(host=host, port=port), logging_config=quiet)
        serve.run(make_application(config), name="sumi", logging_config=quiet)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        ready()
        stop.wait()
    except (ConnectionError, RuntimeError) as error:  # the last line of Ray's messages is the reason
        raise SumiError(f"the replicas did not start: {str(error).strip().splitlines()[-1]}") from None
    finally:
        serve.shutdown()
        ray.shutdown()


def _check_port(host: str, port: int) -> None:
    if not port:
        raise SumiError("Ray's proxy needs a port: give --port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise SumiError(f"cannot listen on {host} port {port}: {error.strerror}") from None
