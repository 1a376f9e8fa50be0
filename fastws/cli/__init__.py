"""The door for the command line: `fastws`, and its sub-commands.

The only room that knows click, and everything below it. In reading order: command (their names, and what they look
like), help, main (the options of a server), own_socket, from_file, completion; status_table and control, check, publish
and versions, which are commands of their own and loaded by name.
"""
