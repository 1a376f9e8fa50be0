"""What runs: the server, one process or many, reloading, and what systemd is told.

Knows everything below it. In reading order: greeting, server (starting, listening, ending), drain (what an end waits
for), signals, recycling, launch (what is around a server); supervisor with backoff and hearts (having as many workers
as wanted), worker_handle and worker (the two ends of one), scoreboard and even_spread (what workers share), reloader;
systemd.
"""
