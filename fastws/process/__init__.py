"""What runs: the server, one process or many, reloading, and what systemd is told.

Knows everything below it. In reading order: launch (what is around a server); preparing, greeting, endable, server
(starting, listening, ending), drain (what an end waits for), signals, recycling, leaving (the end of the process);
service, supervisor with backoff and hearts (having as many workers as wanted), worker_handle and worker (the two ends
of one), scoreboard, even_spread and scratch (what workers share), reloader; guard, frozen and freezing (where it cannot
work, and programs without a Python beside them); systemd.
"""
