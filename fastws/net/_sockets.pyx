# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""Sockets without the event loop's transports: accepting, reading and writing in C, for Linux.

A loop's transport costs several Python calls for each read and each write, and memory for each connection. Here one
`SocketServer` has an epoll set of its own (_poller.pyx), that holds the sockets of its connections and is itself one reader
of the event loop. What a connection sees (_transport.pyx, and _tls_transport.pyx for TLS) is what asyncio promises of a
transport; other systems and installs without a compiler have the loop's own (`fastws.net.accepting` chooses).

Here is the listener.
"""

from libc.errno cimport (
    EAGAIN, ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS,
    ENOMEM, ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO, ETIMEDOUT, errno,
)

cimport cython

from fastws.net._poller cimport Poller
from fastws.net._tls_transport cimport TlsPipes, TlsTransport
from fastws.net._transport cimport SocketTransport
from fastws.net.connection cimport Connection
from fastws.net.loop_core cimport LoopCore

import os
import socket

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    int c_accept4 "accept4"(int, sockaddr *, socklen_t *, int)
    enum:
        AF_INET
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    unsigned short ntohs(unsigned short)

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int, const void *, char *, socklen_t)

cdef enum:
    MAX_ACCEPTS = 64  # in one turn of the loop
    ADDRESS_ROOM = 64

cdef double ACCEPT_AGAIN_SECONDS = 1.0
cdef int MAX_LAST_ACCEPTS = 4096

# What accept() says of a connection that is gone already, or of its network (accept(2)): the next one is another.
cdef frozenset LOST_WHILE_WAITING = frozenset((
    EINTR, ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPERM,
    EPROTO, ETIMEDOUT,
))


@cython.final
cdef class SocketServer(Poller):
    """Listens on one socket and moves the bytes of its connections; to be used like an `asyncio.Server`."""

    cdef object listener
    cdef object factory
    cdef object gate  # asked before each accept for how many seconds to look away; None where nobody else accepts
    cdef object tls  # the context that every connection begins with; None where it is plain, at least at first
    cdef TlsPipes pipes  # None where no connection is ever TLS
    cdef int listening  # descriptor, or -1

    def __cinit__(self):
        self.listening = -1

    def __init__(self, loop, listener, factory, LoopCore state not None, gate=None, handshakes=None, tls=None):
        """Serve the connections of `listener`, which listens; `factory` makes a `Connection` for each.

        Where other processes accept on the same socket, one is accepted in a turn of the loop, and `gate` says whether.
        With `handshakes` a connection may begin TLS, and with `tls`, a context, each does so at once.
        """
        self.listener = listener
        self.factory = factory
        self.gate = gate
        self.tls = tls
        if handshakes is not None:
            self.pipes = TlsPipes(handshakes)
        self.family = listener.family
        self.own_name = listener.getsockname()
        if self.family != AF_INET or self.own_name[0] == "0.0.0.0":
            self.own_name = None
        if self.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a connection inherits it
        Poller.__init__(self, loop, state)
        self.listening = listener.fileno()
        loop.add_reader(self.listening, self._accept)

    @property
    def sockets(self):
        """The listening socket, until it is closed."""
        return () if self.listening < 0 else (self.listener,)

    def descriptors(self):
        """What was opened for this and is no connection: the listening socket, the epoll set, and TLS handshakes."""
        found = [self.listening, self.descriptor]
        if self.pipes is not None:
            found += [(<TlsTransport>each).descriptor for each in self.members if (<TlsTransport>each).shaking]
        return found

    def is_serving(self):
        """Whether connections are accepted."""
        return self.listening >= 0

    def close(self):
        """Accept no more; connections go on."""
        if self.listening >= 0:
            self.loop.remove_reader(self.listening)
            self.listening = -1
            self.listener.close()
            self.grows = False
            self.end_if_idle()
            if self.pipes is not None:
                self.pipes.handshakes.give_up_soon()

    # -- accepting

    def _accept(self):
        for _ in range(MAX_ACCEPTS):
            if self.listening < 0:
                return
            if self.gate is not None:
                seconds = self.gate()
                if seconds:
                    self._look_away(seconds)
                    return
            if not self._accept_one() or self.gate is not None:
                return

    def accept_waiting(self):
        """Accept what waits in the kernel now, whatever the gate would say: what is left when it closes is reset."""
        cdef int i
        for i in range(MAX_LAST_ACCEPTS):
            if self.listening < 0 or not self._accept_one():
                return

    cdef bint _accept_one(self) except -1:
        """Accept a connection; false where none waits, or none can be had for a while."""
        cdef int descriptor, failure
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        address.ss_family = 0
        descriptor = c_accept4(self.listening, <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if descriptor >= 0:
            try:
                self._open(descriptor, &address)
            except Exception as error:  # those behind it are to be had all the same
                context = {"message": "Opening a connection failed", "exception": error, "socket": self.listener}
                self.loop.call_exception_handler(context)
            return True
        failure = errno
        if failure == EAGAIN:
            return False
        if failure in LOST_WHILE_WAITING:
            return True
        self._look_away(ACCEPT_AGAIN_SECONDS)
        message = "Accepting a connection failed"
        if failure in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            message = "socket.accept() out of system resource"
        error = OSError(failure, os.strerror(failure))
        self.loop.call_exception_handler({"message": message, "exception": error, "socket": self.listener})
        return False

    cdef _look_away(self, double seconds):
        self.loop.remove_reader(self.listening)
        self.loop.call_later(seconds, self._accept_again)

    def _accept_again(self):
        if self.listening >= 0:
            self.loop.add_reader(self.listening, self._accept)

    cdef _open(self, int descriptor, sockaddr_storage *address):
        cdef SocketTransport transport
        if self.tls is not None and not self.state.admits(descriptor):
            c_close(descriptor)
            return
        if self.pipes is None:
            transport = SocketTransport.__new__(SocketTransport)
        else:
            transport = TlsTransport.__new__(TlsTransport)
            (<TlsTransport>transport).pipes = self.pipes
        transport.descriptor = descriptor
        transport.poller = self
        if address.ss_family == AF_INET:
            transport.peer_name = inet_name(<sockaddr_in *>address)
        protocol = self.factory()
        if not isinstance(protocol, Connection):
            raise TypeError(f"a Connection is needed, not {type(protocol).__name__}")
        transport.protocol = <Connection>protocol
        self.add(transport)
        try:
            if self.tls is None:
                transport.protocol.connection_made(transport)
            else:
                (<TlsTransport>transport).start_tls(self.tls)
        except:
            transport.abort()
            raise


cdef inet_name(sockaddr_in *address):
    cdef char text[ADDRESS_ROOM]
    inet_ntop(AF_INET, &address.sin_addr, text, ADDRESS_ROOM)
    return ((<bytes>text).decode("ascii"), ntohs(address.sin_port))
