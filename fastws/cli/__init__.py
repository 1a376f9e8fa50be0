"""The door for the command line: `fastws`, and its sub-commands.

The only room that knows click, and everything below it. In reading order: command (their names, and what they look
like), help, main (the options of a server), from_file, completion; check, control, publish and versions, which are
commands of their own and loaded by name.
"""
