"""What runs: the server, one process or many, reloading, and what systemd is told.

Knows everything below it. In reading order: server (starting, listening, ending), launch (what is around a server),
recycling; supervisor, worker_handle and worker (several processes), scoreboard and even_spread (what these share),
reloader; systemd.
"""
