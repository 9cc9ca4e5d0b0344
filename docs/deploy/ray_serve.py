"""Live streams on Ray Serve: ``serve run ray_serve:app``. See docs/scale-out.md.

Each replica makes the application from the variables of its environment (``SER_TOKEN`` ...), or
from the file that ``SER_CONFIG`` names.
"""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.metrics import Gauge

from ser_live.server import create_app


@serve.deployment(
    num_replicas=2,
    max_ongoing_requests=250,  # more than --max-streams: the application refuses in words
    graceful_shutdown_timeout_s=60,  # more than --drain-delay and --drain-seconds together
    ray_actor_options={"num_cpus": 1},
)
@serve.ingress(create_app)
class Emotions:
    """Replica: a stream lives and dies with it."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}
        self._watch = asyncio.create_task(self._watch_replica())

    async def _watch_replica(self) -> None:
        """Begin the drain, of which Ray says nothing before the last stream has ended by itself."""
        me, controller = serve.get_replica_context(), _get_global_client()._controller
        while True:
            await asyncio.sleep(1.0)
            self._tell_figures()
            told = await controller.get_serve_instance_details.remote()
            deployments = told["applications"][me.app_name]["deployments"]
            replicas = deployments[me.deployment]["replicas"]
            states = {replica["replica_id"]: replica["state"] for replica in replicas}
            if states.get(me.replica_tag) == "STOPPING":
                self.app.begin_drain()

    def _tell_figures(self) -> None:
        """Hand the figures of ``/metrics`` to Ray, which labels them with this replica."""
        text = self.app.streams.metrics.exposition().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name not in self._gauges:
                    tags = tuple(sample.labels)
                    self._gauges[sample.name] = Gauge(sample.name, family.documentation, tags)
                self._gauges[sample.name].set(sample.value, sample.labels)


app = Emotions.bind()
