# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""A plain socket's transport: reading, and all else that a `Connection` asks of one. Writing is in _writing.pyx.

Rules. Bytes are read to the loop's buffer, or where the connection says that it wants them. One read of each connection in
turn, a few where reads fill the buffer, so that nobody waits for a flood. A transport lives until its `connection_lost`,
which comes in a later turn: no event is taken for another connection's.
"""

from libc.errno cimport EAGAIN, EBADF, EINTR, errno
from libc.stdint cimport uint32_t

cimport cython

from fastws.net._poller cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from fastws.net._writing cimport SocketWriter

import os
import socket

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int, void *, size_t, int)
    int c_shutdown "shutdown"(int, int)
    enum:
        SHUT_RDWR

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int)

cdef enum:
    MAX_READS = 4  # of one connection in its turn, while they fill the buffer

cdef uint32_t ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR


@cython.final
cdef class SocketTransport(SocketWriter):
    """One accepted socket, as its `Connection` knows it: an asyncio transport in all that a connection asks of one."""

    # -- reading

    cdef on_events(self, uint32_t events):
        if self.descriptor < 0:
            return
        if self.backlog is not None and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self.send_backlog()
        if events & (EPOLLIN | ENDS):
            if events & ENDS:
                self.ended = True
                if self.eof_received and events & (EPOLLERR | EPOLLHUP):  # it had closed its half, and now is gone
                    self.end(ConnectionResetError("the peer has reset the connection"))
            self.readable = True
            self.read()

    cdef bint read(self) except -1:
        """Read what there is, up to a bound; whether there was anything."""
        cdef Py_ssize_t size, room
        cdef void *place
        cdef bint placed
        cdef int reads = 0
        while self.readable and self.may_read():
            if reads == MAX_READS:
                self.poller.read_soon(self)
                break
            try:
                room = self.protocol.wanted()
                place = <void *>self.protocol.handler.place() if room else self.poller.buffer
            except BaseException as error:
                self.fail(error, "protocol.wanted()")
                return True
            placed = room > 0
            if not placed:
                room = self.poller.buffer_size
                if 0 < self.protocol.allowance < room:
                    room = <Py_ssize_t>self.protocol.allowance
            size = c_recv(self.descriptor, place, room, 0)
            if size > 0:
                reads += 1
                self.readable = size == room or self.ended
                try:
                    if placed:
                        self.protocol.received_placed(size)
                    else:
                        self.protocol.received(size)
                except BaseException as error:
                    self.fail(error, "protocol.received()")
                    if isinstance(error, (SystemExit, KeyboardInterrupt)):
                        raise
            elif size == 0:
                self.readable = False
                self.eof_received = True
                try:
                    if not self.protocol.eof_received():
                        self.close()
                except Exception as error:
                    self.fail(error, "protocol.eof_received()")
                return True
            elif errno == EAGAIN:
                self.readable = False
            elif errno != EINTR:
                self.end(OSError(errno, os.strerror(errno)))
                return True
        return reads > 0

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False
        if self.readable and self.may_read():
            self.poller.read_soon(self)

    # -- ending

    def is_closing(self):
        return self.closing

    def close(self):
        """End when what waits is sent."""
        if not self.closing:
            self.closing = True
            if self.backlog is None:
                self.end(None)

    def abort(self):
        """End now."""
        self.end(None)

    cdef fail(self, error, str where):
        """The protocol has raised: as in asyncio, the connection ends, and the loop is told."""
        self.end(error)
        message = f"Fatal error: {where} call failed."
        context = {"message": message, "exception": error, "transport": self, "protocol": self.protocol}
        self.poller.loop.call_exception_handler(context)

    cdef end(self, error):
        if self.ending:
            return
        cdef bint told = self.eof_wanted and self.backlog is None
        self.ending = True
        self.closing = True
        self.backlog = None
        self.waiting = 0
        self.poller.forget(self)
        if not told and not self.resets:
            c_shutdown(self.descriptor, SHUT_RDWR)  # the peer learns of it, whatever process has a copy
        c_close(self.descriptor)
        self.descriptor = -1
        self.poller.loop.call_soon(self.lost, error)

    def lost(self, error):
        """The last call: tell the connection."""
        protocol = self.protocol
        self.poller.remove(self)
        protocol.connection_lost(error)
        self.protocol = None

    # -- what it is

    def get_extra_info(self, name, default=None):
        """`peername`, `sockname` and `socket`: the last can be asked for its number, and options set."""
        if name == "peername":
            if self.peer_name is None and self.descriptor >= 0:
                self.peer_name = self.ask("getpeername")
            return self.peer_name
        if name == "sockname":
            return self.poller.own_name or (self.ask("getsockname") if self.descriptor >= 0 else default)
        if name == "socket":
            return SocketView(self)
        return default

    def ask(self, method, *arguments):
        """What a socket object's method says of the socket."""
        if self.descriptor < 0:
            raise OSError(EBADF, os.strerror(EBADF))
        sock = socket.socket(self.poller.family, socket.SOCK_STREAM, 0, self.descriptor)
        try:
            return getattr(sock, method)(*arguments)
        except OSError:
            if method.startswith("get"):  # names of one that the peer has left
                return None
            raise
        finally:
            sock.detach()


@cython.final
cdef class SocketView:
    """A socket that cannot be closed."""

    cdef SocketTransport transport

    def __init__(self, SocketTransport transport):
        self.transport = transport

    def fileno(self):
        return self.transport.descriptor

    def setsockopt(self, *arguments):
        self.transport.ask("setsockopt", *arguments)
        if arguments[:2] == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.transport.resets = True

    def getsockopt(self, *arguments):
        return self.transport.ask("getsockopt", *arguments)
