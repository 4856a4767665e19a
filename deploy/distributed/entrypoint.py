"""Starts a process of the fleet with the addresses of Postgres and Redis, built from the passwords in the environment.

A password may have any characters, which an address must escape; Compose cannot do that. A process that has its
addresses already, as on Kubernetes, is started unchanged.
"""

import os
import sys
from urllib.parse import quote

ADDRESSES = {
    "POSTGRES_PASSWORD": ("DAGSTER_PG_URL", "postgresql+psycopg2://dagster:{}@postgres:5432/dagster"),
    "REDIS_PASSWORD": ("CELERY_BROKER_URL", "redis://:{}@redis:6379/0"),
}


def main() -> None:
    """Replace this process by the command that it was given."""
    for password, (name, address) in ADDRESSES.items():
        if password in os.environ:
            os.environ.setdefault(name, address.format(quote(os.environ.pop(password), safe="")))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the image's own command


if __name__ == "__main__":
    main()
