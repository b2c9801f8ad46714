"""A whole server as test_run.py starts it: everything real but the workers, which only have to live and die."""

import sys

from widget_backend import programs, run
from widget_backend.config import Config
from widget_backend.supervision import Program


def server(config: Config) -> list[Program]:
    """Give the real web server and sleepers in the places of the workers."""
    real = programs.server_programs(config)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    return [
        program if program.name == "web" else Program(name=program.name, command=sleeper, order=program.order)
        for program in real
    ]


if __name__ == "__main__":
    try:
        run.run(lambda started: print(run.as_json(started), flush=True), server=server)
    except run.RunError as error:
        sys.exit(str(error))
