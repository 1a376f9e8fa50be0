"""The door for gunicorn: its worker, what its settings mean here, its log and its hooks.

`fastws.workers` is its public name. In reading order: worker, settings, requests.
"""
