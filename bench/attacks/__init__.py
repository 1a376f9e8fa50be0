"""What `hostile.py` does to a server: the attacks, the others whom it must go on serving, and what is watched."""
