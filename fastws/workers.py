"""The public home of gunicorn's worker: ``gunicorn -k fastws.workers.FastWSWorker app:app``."""

from fastws.gunicorn.worker import FastWSWorker

__all__ = ["FastWSWorker"]
