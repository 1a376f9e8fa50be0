# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""A plain socket's transport: reading, and all else that a `Connection` asks of one. Writing is in _writing.pyx.

Rules. Bytes are read to the loop's buffer, or where the connection says that it wants them. One read of each connection in
turn, a few where reads fill the buffer, so that nobody waits for a flood. A transport lives until its `connection_lost`,
which comes in a later turn: no event is taken for another connection's.

epoll tells once of what has come, so it is read to its end. A read that leaves room in the buffer has found that end: the
kernel gives a stream's bytes as far as they are there (epoll(7)), and what comes later is told of again. It stops before
the end in two cases, in which reading goes on until EAGAIN: at urgent data, of which epoll tells (EPOLLPRI, of TCP and of
Unix sockets), and behind descriptors or credentials on a Unix socket, of which recvmsg(2) says that they had no room.
"""

from libc.errno cimport EAGAIN, EBADF, EINTR, errno
from libc.stdint cimport uint32_t
from libc.string cimport memset

cimport cython

from fastws.net._poller cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP
from fastws.net._writing cimport SocketWriter

import os
import socket

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        int msg_flags
    ssize_t c_recv "recv"(int, void *, size_t, int)
    ssize_t c_recvmsg "recvmsg"(int, msghdr *, int)
    int c_shutdown "shutdown"(int, int)
    enum:
        AF_UNIX
        MSG_CTRUNC
        MSG_PEEK
        SHUT_RDWR

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int)

cdef uint32_t ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR


cdef class SocketTransport(SocketWriter):
    """One accepted socket, as its `Connection` knows it: an asyncio transport in all that a connection asks of one."""

    # -- reading

    cdef on_events(self, uint32_t events):
        if self.descriptor < 0:
            return
        if self.backlog is not None and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self.send_backlog()
        if events & (EPOLLIN | EPOLLPRI | ENDS):
            if events & EPOLLPRI:
                self.parted = True
            if events & ENDS:
                self.ended = True
                if self.eof_received and events & (EPOLLERR | EPOLLHUP):  # it had closed its half, and now is gone
                    self.end(ConnectionResetError("the peer has reset the connection"))
            self.readable = True
            if self.paused and events & (EPOLLERR | EPOLLHUP):
                self.look_for_end()
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
            size = self.receive(place, room)
            if size > 0:
                reads += 1
                try:
                    if placed:
                        self.protocol.received_placed(size)
                    else:
                        self.protocol.received(size)
                except BaseException as error:
                    self.fail(error, "protocol.received()")
                    if isinstance(error, (SystemExit, KeyboardInterrupt)):
                        raise
        return reads > 0 or self.eof_received or self.ending

    cdef Py_ssize_t receive(self, void *place, Py_ssize_t room) except -1:
        """Read up to `room` bytes to `place`; 0 where there are none. Acts on the end of the stream."""
        cdef Py_ssize_t size
        if self.poller.family == AF_UNIX:
            size = receive_message(self.descriptor, place, room, &self.parted)
        else:
            size = c_recv(self.descriptor, place, room, 0)
        if size > 0:
            self.readable = size == room or self.ended or self.parted
            return size
        if size == 0:
            self.take_end()
        elif errno == EAGAIN:
            self.readable = self.parted = False
        elif errno != EINTR:
            self.end(OSError(errno, os.strerror(errno)))
        return 0

    cdef take_end(self):
        """The peer has ended its half, and all before that is read."""
        self.readable = False
        self.eof_received = True
        try:
            if not self.protocol.eof_received():
                self.close()
        except Exception as error:
            self.fail(error, "protocol.eof_received()")

    cdef look_for_end(self):
        """Reading is paused, and the peer gone: act on it now, unless it has left something that is to be read first."""
        cdef char byte
        cdef Py_ssize_t size
        if self.descriptor < 0 or self.eof_received:
            return
        size = c_recv(self.descriptor, &byte, 1, MSG_PEEK)
        if size == 0:
            self.take_end()
        elif size < 0 and errno != EAGAIN and errno != EINTR:
            self.end(OSError(errno, os.strerror(errno)))

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
                self.finish()

    cdef finish(self):
        """All is sent that is to be."""
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
        cdef bint told
        if self.ending:
            return
        self.send_delayed()
        if self.ending:  # by that
            return
        told = self.eof_wanted and self.backlog is None
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
        if protocol is not None:
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

    def __init__(self, SocketTransport transport not None):
        self.transport = transport

    def fileno(self):
        return self.transport.descriptor

    def setsockopt(self, *arguments):
        self.transport.ask("setsockopt", *arguments)
        if arguments[:2] == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.transport.resets = True

    def getsockopt(self, *arguments):
        return self.transport.ask("getsockopt", *arguments)


cdef Py_ssize_t receive_message(int descriptor, void *place, size_t room, bint *parted) noexcept:
    """As recv(2); `parted` is set where something came with these bytes that ends a read: more may be behind them."""
    cdef iovec part
    cdef msghdr message
    cdef Py_ssize_t size
    memset(&message, 0, sizeof(message))
    part.iov_base = place
    part.iov_len = room
    message.msg_iov = &part
    message.msg_iovlen = 1
    size = c_recvmsg(descriptor, &message, 0)
    if size > 0 and message.msg_flags & MSG_CTRUNC:
        parted[0] = True
    return size
