"""The door for the command line: `fastws`, and its sub-commands.

The only room that knows click. In reading order: main, command and help (what they look like), completion, versions;
check, control and publish are sub-commands.
"""
