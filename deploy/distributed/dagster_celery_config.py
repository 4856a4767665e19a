"""What a worker reads, by the name under which dagster-celery looks for it: put this folder on PYTHONPATH.

Start a worker with `celery --app dagster_celery.app worker --queues dagster --concurrency 2`.
"""

import os

# The same variable that dagster.yaml names.
broker_url = result_backend = os.environ["CELERY_BROKER_URL"]

# A worker takes as many runs as it has slots, and leaves the others to whoever is free. For that a run counts until it
# has ended; acknowledged at its start, the worker would take the next ones and let them wait behind it.
worker_prefetch_multiplier = 1
task_acks_late = True

# So the broker hands out a killed worker's run once more, after this many seconds. By then max_runtime_seconds of
# dagster.yaml, which must be shorter, has ended it, and Dagster ignores a worker that comes for a run that has ended.
broker_transport_options = result_backend_transport_options = {"visibility_timeout": 3600}

# The broker may come up after its workers.
broker_connection_retry_on_startup = True

# What a run leaves behind in memory goes with its process.
worker_max_tasks_per_child = 50
