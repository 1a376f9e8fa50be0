"""The load client, in C with its headers, and what compiles and runs it."""
