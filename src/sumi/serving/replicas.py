"""Past one machine: every replica of Ray Serve is a whole server, and all they share is the store.

    client -> Ray's proxy -> any replica -> database, pictures <- whichever replica has room

Replicas do not know of each other. Who holds a job is written in the database, and a dead one's jobs are taken over as
after any kill. There are as many replicas as the queue needs:

    replicas = unfinished jobs / jobs that one draws together,    at least 1
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
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

__all__ = ["RUNNING", "Replica", "ReplicaConfig", "application", "configured", "run"]

NEEDED: Final = "replicas_needed"
RUNNING: Final = 8
"""How many jobs a replica takes, unless it is told otherwise: few, so that the others have some too."""
OBJECTS_BYTES: Final = 80 * 2**20
"""Ray's own shared memory, the least it takes: nothing of ours goes through it."""


@dataclass(frozen=True)
class ReplicaConfig:
    """What every replica is told.

    database: of PostgreSQL. settings: of each server, but for where it listens, which is Ray's to say; its `running` is
    how many jobs one takes, and what waits beyond is left to the others. data: a folder on each machine, for what
    concerns it alone. pictures: a place that all of them reach; by default a folder in `data`, which is enough on one
    machine. model: a folder on each machine. replicas: the most.
    """

    database: str
    settings: ServerSettings
    data: str = "sumi-data"
    pictures: str | None = None
    model: str | None = None
    replicas: int = 2

    def __post_init__(self) -> None:
        if not self.database.startswith("postgres"):
            raise SumiError(
                "replicas share one database, and a file has one server: give --database postgresql://USER@HOST/NAME"
            )
        if self.replicas < 1:
            raise SumiError(f"replicas must be 1 or more, not {self.replicas}")


@serve.ingress()
class Replica:
    """One replica: the same application as anywhere else, over the store that all share."""

    def __init__(self, fleet: ReplicaConfig) -> None:
        self.fleet = fleet

    def __serve_build_asgi_app__(self) -> Any:
        """Open the store, load the model and return the application; Ray runs its lifespan."""
        fleet = self.fleet
        self.store = open_store(fleet.data, fleet.database, pictures=fleet.pictures)
        self.application = create_app(sumi.load(fleet.model), self.store, fleet.settings)
        return self.application

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """How many replicas the jobs of the database would keep busy; every replica sees the same."""
        counts = await asyncio.to_thread(self.store.jobs.counts)
        return {NEEDED: (counts["queued"] + counts["running"]) / self.fleet.settings.limits.running}

    async def check_health(self) -> None:
        """Raise where nothing is drawn any more, so that Ray replaces this replica."""
        if not self.application.state.desk.service.engine.alive:
            raise RuntimeError("the engine has ended")


def by_queue(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """As many replicas as they themselves say are needed; where none has said anything, as many as there are."""
    said = (context.aggregated_metrics or {}).get(NEEDED, {})
    return max(1.0, *said.values()) if said else context.target_num_replicas, {}


def configured(said: Mapping[str, Any]) -> serve.Application:
    """Return the application that a configuration of Ray Serve means by `sumi.serving.replicas:configured`.

    said: its `args`, which are fields of `Fleet` and of `Settings`, and `running`. Keys are needed. The database and
    the pictures may be left to $SUMI_DATABASE and $SUMI_PICTURES.
    """
    places = {"database": os.environ.get("SUMI_DATABASE", ""), "pictures": os.environ.get("SUMI_PICTURES")}
    whole, own = {field.name for field in fields(ReplicaConfig)}, dict(said)
    fleet = places | {name: own.pop(name) for name in list(own) if name in whole}
    limits = SchedulerLimits(running=own.pop("running", RUNNING))
    try:
        settings = ServerSettings(
            **{"host": "0.0.0.0", **own, "names": tuple(own.get("names", ())), "keyed": True}, limits=limits
        )
    except TypeError:
        raise SumiError(f"args: {', '.join(own)} are not all settings of a server") from None
    return application(ReplicaConfig(**fleet, settings=settings))


def application(fleet: ReplicaConfig) -> serve.Application:
    """Return a fleet as an application of Ray Serve."""
    deployment = serve.deployment(
        Replica, name="sumi", max_ongoing_requests=2 * fleet.settings.at_once,  # too many are refused by our own doors
        graceful_shutdown_timeout_s=30, health_check_period_s=5, ray_actor_options={"num_cpus": 1},
        autoscaling_config=AutoscalingConfig(
            min_replicas=1, initial_replicas=fleet.replicas, max_replicas=fleet.replicas, upscale_delay_s=5,
            downscale_delay_s=300, policy=AutoscalingPolicy(policy_function=by_queue),
        ),
    )  # fmt: skip
    return deployment.bind(fleet)


def run(fleet: ReplicaConfig, ready: Callable[[], None]) -> None:
    """Run a fleet until somebody stops it: on the cluster at $RAY_ADDRESS, or on one that is begun here.

    ready: called once requests are answered. Raises SumiError where the port is taken or the replicas do not start.
    """
    host, port = fleet.settings.host, fleet.settings.port
    _check_port(host, port)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    stop = threading.Event()
    address = os.environ.get("RAY_ADDRESS")
    own = {"num_cpus": max(fleet.replicas, os.cpu_count() or 1), "object_store_memory": OBJECTS_BYTES}
    try:
        ray.init(address or "local", include_dashboard=False, logging_level="WARNING", **({} if address else own))
        quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
        serve.start(http_options=HTTPOptions(host=host, port=port), logging_config=quiet)
        serve.run(application(fleet), name="sumi", logging_config=quiet)
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: stop.set())
        ready()
        stop.wait()
    except (ConnectionError, RuntimeError) as error:  # Ray's messages end with the reason
        raise SumiError(f"the replicas did not start: {str(error).strip().splitlines()[-1]}") from None
    finally:
        serve.shutdown()
        ray.shutdown()


def _check_port(host: str, port: int) -> None:
    if not port:
        raise SumiError("Ray's proxy must be told its port: give --port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((host, port))
    except OSError as error:
        raise SumiError(f"{host} port {port} cannot be listened on: {error.strerror}") from None
