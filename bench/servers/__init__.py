"""What is measured: how each server is started, and the applications and programs that are served."""
