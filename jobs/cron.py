"""The cron process: RQ's CronScheduler with our queues (JSON, bounded). `python -m jobs.cron`."""

from __future__ import annotations

import time

import structlog
from redis import RedisError
from rq.cron import CronJob, CronScheduler

from jobs import queues, schedules
from widget_backend import clock, create_app
from widget_backend.bridge import runtime

log = structlog.get_logger()

RESTART_S = 1.0


class Cron(CronScheduler):
    """Enqueues what is due; each run has an id of its own time slot, so that two cron processes make one job."""

    def enqueue_jobs(self) -> list[CronJob]:
        """Enqueue all jobs that are due."""
        known = {schedule.name: schedule for schedule in schedules.all_schedules()}
        due = [job for job in self._cron_jobs if job.should_run()]
        for job in due:
            schedule = known[job.name]
            slot = int(clock.now().timestamp() // schedule.every_s)
            queues.queue(schedule.queue).enqueue_call(
                f"{schedule.run.__module__}.{schedule.run.__name__}",
                job_id=f"cron-{schedule.name}-{slot}",
                timeout=schedule.timeout_s,
                ttl=schedule.ttl_s,
                result_ttl=0,
                failure_ttl=0,
            )
            job.set_enqueue_time(clock.now())
        return due


def main() -> None:
    """Run until stopped; Valkey that goes away is waited for."""
    with create_app().app_context():
        schedules.pull_everything()
        while True:
            cron = Cron(connection=runtime.get().redis)
            for schedule in schedules.all_schedules():
                cron.register(schedule.run, schedule.queue, interval=schedule.every_s, name=schedule.name)
            try:
                cron.start()
                return
            except RedisError as error:
                log.warning("cron_lost_valkey", error=type(error).__name__)
                time.sleep(RESTART_S)


if __name__ == "__main__":
    main()
