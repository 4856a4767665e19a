"""Celery's configuration, under the module name that dagster-celery imports: put this folder on PYTHONPATH.

Start a worker with `celery --app dagster_celery.app worker --queues dagster --concurrency 2`.
"""

import os

# The same variable that dagster.yaml names.
broker_url = result_backend = os.environ["CELERY_BROKER_URL"]

# A worker takes as many runs as it has slots and leaves the others to free workers. A run is acknowledged when it has
# ended; if it were acknowledged at its start, the worker would take the next runs and let them wait.
worker_prefetch_multiplier = 1
task_acks_late = True

# The broker hands out a killed worker's run again after this many seconds. By then max_runtime_seconds of dagster.yaml,
# which must be shorter, has ended the run, and Dagster ignores a worker that starts an ended run.
broker_transport_options = result_backend_transport_options = {"visibility_timeout": 3600}

# The broker may start after its workers.
broker_connection_retry_on_startup = True

# A new process after so many runs frees the memory that runs leave.
worker_max_tasks_per_child = 50
