"""What an operator sees: access log, log formats, metrics, health, the control socket.

Knows everything below it, and serves what others write down of it; nothing here decides about a connection. Logging
configurations name the formatters, and `REQUEST_ID`, as `fastws.observe` has them.

In reading order: log_format, terminal, log_setup, uvicorn_logging, log_files and log_losses (how lines look, and where
they go); access_log and access_format; metrics, metrics_page and metrics_exchange; health; control and control_client
(the socket that `fastws status` asks); operations (all of it, put together for one server).
"""

from fastws.asgi.request_id import REQUEST_ID
from fastws.observe.log_format import AccessFormatter, DefaultFormatter, JsonFormatter

__all__ = ["REQUEST_ID", "AccessFormatter", "DefaultFormatter", "JsonFormatter"]
