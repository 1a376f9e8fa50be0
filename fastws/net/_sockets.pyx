# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""Plain sockets without the event loop's transports: accepting, reading and writing in C, for Linux.

A loop's transport costs several Python calls for each read and each write, and memory for each connection. Here one
`SocketServer` has an epoll set of its own, that holds the sockets of its connections and is itself one reader of the
event loop: a turn of the loop learns of all that is readable at once. What a connection sees is what asyncio promises of
a transport; TLS, other systems and installs without a compiler have the loop's own (`fastws.net.accepting` chooses).

Rules. Edge-triggered: pausing and resuming a connection is a flag and no system call. One read of each connection in
turn, a few where reads fill the buffer, so that nobody waits for a flood. A descriptor is forgotten when it is closed, and
a transport lives until its `connection_lost`, which comes in a later turn: no event is taken for another connection's.
"""

from libc.errno cimport (
    EAGAIN, EBADF, ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN, ENETUNREACH, ENFILE,
    ENOBUFS, ENOMEM, ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO, ETIMEDOUT, errno,
)
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cimport cython

from fastws.net.connection cimport Connection, Stream
from fastws.net.loop_core cimport LoopCore

import os
import socket

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t c_recv "recv"(int, void *, size_t, int)
    ssize_t c_send "send"(int, const void *, size_t, int)
    ssize_t c_sendmsg "sendmsg"(int, const msghdr *, int)
    int c_accept4 "accept4"(int, sockaddr *, socklen_t *, int)
    int c_shutdown "shutdown"(int, int)
    enum:
        AF_INET
        MSG_NOSIGNAL
        MSG_DONTWAIT
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SHUT_WR

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    uint16_t ntohs(uint16_t)

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int, const void *, char *, socklen_t)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
        EPOLLET

cdef enum:
    MAX_EVENTS = 256  # of one epoll_wait
    MAX_ACCEPTS = 64  # in one turn of the loop
    MAX_READS = 4  # of one connection in its turn, while they fill the buffer
    MAX_PARTS = 64  # of one sendmsg
    GUESSES = 32  # reads in a row of the one connection that is busy, before the others are asked for
    ADDRESS_ROOM = 64

cdef uint32_t READS = EPOLLIN | EPOLLRDHUP | <uint32_t>EPOLLET
cdef uint32_t ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR
cdef double ACCEPT_AGAIN_SECONDS = 1.0
cdef int MAX_LAST_ACCEPTS = 4096

# What accept() says of a connection that is gone already, or of its network (accept(2)): the next one is another.
cdef frozenset LOST_WHILE_WAITING = frozenset((
    EINTR, ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPERM,
    EPROTO, ETIMEDOUT,
))


@cython.final
cdef class SocketServer:
    """Listens on one socket and moves the bytes of its connections; to be used like an `asyncio.Server`."""

    cdef object __weakref__
    cdef object loop
    cdef object listener
    cdef object factory
    cdef object gate  # asked before each accept for how many seconds to look away; None where nobody else accepts
    cdef object own_name  # what every connection's sockname is; None where it depends
    cdef int family
    cdef int listening  # descriptor, or -1
    cdef int poller  # descriptor, or -1
    cdef set transports
    cdef list ready  # transports that have more to read and will not be told of by epoll
    cdef SocketTransport alone  # the one that had all events when epoll was last asked
    cdef SocketTransport busy  # if it had them the time before, too
    cdef int guesses
    cdef bytearray memory
    cdef char *buffer
    cdef Py_ssize_t buffer_size
    cdef epoll_event events[MAX_EVENTS]

    def __cinit__(self):
        self.listening = -1
        self.poller = -1

    def __init__(self, loop, listener, factory, LoopCore state not None, gate=None):
        """Serve the connections of `listener`, which listens; `factory` makes a `Connection` for each.

        Where other processes accept on the same socket, one is accepted in a turn of the loop, and `gate` says whether.
        """
        self.loop = loop
        self.listener = listener
        self.factory = factory
        self.gate = gate
        self.family = listener.family
        self.own_name = listener.getsockname()
        if self.family != AF_INET or self.own_name[0] == "0.0.0.0":
            self.own_name = None
        self.transports = set()
        self.ready = []
        self.memory = state.receive_buffer.obj  # never resized: the memoryview sees to that
        self.buffer = PyByteArray_AS_STRING(self.memory)
        self.buffer_size = PyByteArray_GET_SIZE(self.memory)
        self.poller = epoll_create1(EPOLL_CLOEXEC)
        if self.poller < 0:
            raise OSError(errno, os.strerror(errno))
        if self.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a connection inherits it
        self.listening = listener.fileno()
        loop.add_reader(self.poller, self._on_ready)
        loop.add_reader(self.listening, self._accept)

    def __dealloc__(self):
        if self.poller >= 0:
            c_close(self.poller)

    @property
    def sockets(self):
        """The listening socket, until it is closed."""
        return () if self.listening < 0 else (self.listener,)

    def is_serving(self):
        """Whether connections are accepted."""
        return self.listening >= 0

    def close(self):
        """Accept no more; connections go on."""
        if self.listening >= 0:
            self.loop.remove_reader(self.listening)
            self.listening = -1
            self.listener.close()
            self._end_if_idle()

    cdef _end_if_idle(self):
        if self.listening < 0 and not self.transports and self.poller >= 0:
            self.loop.remove_reader(self.poller)
            c_close(self.poller)
            self.poller = -1

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
            self._open(descriptor, &address)
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
        cdef SocketTransport transport = SocketTransport.__new__(SocketTransport)
        cdef epoll_event event
        transport.descriptor = descriptor
        transport.server = self
        if address.ss_family == AF_INET:
            transport.peer_name = inet_name(<sockaddr_in *>address)
        transport.protocol = <Connection?>self.factory()
        memset(&event, 0, sizeof(event))
        event.events = READS
        event.data.ptr = <void *>transport
        self.transports.add(transport)
        try:
            if epoll_ctl(self.poller, EPOLL_CTL_ADD, descriptor, &event):
                raise OSError(errno, os.strerror(errno))
            transport.protocol.connection_made(transport)
        except:
            transport.abort()
            raise

    # -- reading

    def _on_ready(self):
        cdef int i, count
        cdef SocketTransport transport = self.busy
        stop = None
        # A connection that is busy alone is read without asking who it is; epoll finds out for itself that it was.
        if transport is not None and self.guesses < GUESSES and transport.may_read():
            self.guesses += 1
            transport.readable = True
            if transport.read():
                return
        self.guesses = 0
        count = epoll_wait(self.poller, self.events, MAX_EVENTS, 0)
        transport = <SocketTransport>self.events[0].data.ptr if count == 1 else None
        self.busy = transport if transport is self.alone else None
        self.alone = transport
        for i in range(count):
            transport = <SocketTransport>self.events[i].data.ptr
            try:
                transport.on_events(self.events[i].events)
            except Exception as error:  # the others' events are told of once
                transport.fail(error, "a connection's")
            except BaseException as error:
                stop = error
        if stop is not None:
            raise stop

    def _read_on(self):
        cdef SocketTransport transport
        ready, self.ready = self.ready, []
        stop = None
        for transport in ready:
            transport.queued = False
            try:
                transport.read()
            except Exception as error:
                transport.fail(error, "a connection's")
            except BaseException as error:
                stop = error
        if stop is not None:
            raise stop


@cython.final
cdef class SocketTransport(Stream):
    """One accepted socket, as its `Connection` knows it: an asyncio transport in all that a connection asks of one."""

    cdef SocketServer server
    cdef Connection protocol
    cdef object peer_name
    cdef int descriptor
    cdef bint closing  # nothing more is read
    cdef bint ending  # nor written: connection_lost is to come
    # -- read state
    cdef bint paused
    cdef bint readable  # there may be more to read than epoll will tell of
    cdef bint ended  # the kernel has told of an end: read up to it
    cdef bint eof_received
    cdef bint queued  # in SocketServer.ready
    # -- write state
    cdef bint eof_wanted
    cdef bint writing_paused
    cdef list backlog  # bytes that wait for the peer, or None
    cdef Py_ssize_t first_sent  # of the first of them
    cdef Py_ssize_t waiting  # bytes of them all that are not sent
    cdef Py_ssize_t high
    cdef Py_ssize_t low

    def __cinit__(self):
        self.descriptor = -1

    def __dealloc__(self):
        if self.descriptor >= 0:  # its protocol could not be made
            c_close(self.descriptor)

    # -- reading

    cdef inline bint may_read(self):
        return self.descriptor >= 0 and not (self.paused or self.closing or self.eof_received)

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
                self.queue()
                break
            try:
                room = self.protocol.wanted()
                place = <void *>self.protocol.handler.place() if room else self.server.buffer
            except BaseException as error:
                self.fail(error, "protocol.wanted()")
                return True
            placed = room > 0
            if not placed:
                room = self.server.buffer_size
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

    cdef queue(self):
        """Read on in the loop's next turn."""
        if not self.queued:
            self.queued = True
            if not self.server.ready:
                self.server.loop.call_soon(self.server._read_on)
            self.server.ready.append(self)

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False
        if self.readable and self.may_read():
            self.queue()

    # -- writing

    cpdef write(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), sent = 0
        if self.ending or size == 0:
            return
        if self.eof_wanted:
            raise RuntimeError("cannot write after write_eof()")
        if self.backlog is None:
            sent = c_send(self.descriptor, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL)
            if sent == size:
                return
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.end(OSError(errno, os.strerror(errno)))
                    return
                sent = 0
        self.keep([data], sent)

    cpdef writelines(self, list chunks):
        if self.ending:
            return
        if self.eof_wanted:
            raise RuntimeError("cannot write after write_eof()")
        if self.backlog is not None:
            self.keep(chunks, 0)
            return
        self.keep(chunks, 0, True)

    cdef keep(self, list chunks, Py_ssize_t sent, bint try_now=False):
        """Put `chunks`, of whose first `sent` bytes are gone, behind what waits; `try_now` if nothing did."""
        cdef bytes chunk
        cdef bint first = self.backlog is None
        for chunk in chunks:
            self.waiting += PyBytes_GET_SIZE(chunk)
        self.waiting -= sent
        if first:
            self.backlog = list(chunks)
            self.first_sent = sent
            if try_now and not self.send_some():
                return
            if self.backlog is None:
                return
            self.watch(READS | EPOLLOUT)
        else:
            self.backlog.extend(chunks)
        if self.waiting > self.high and not self.writing_paused:
            self.writing_paused = True
            self.protocol.pause_writing()

    cdef bint send_some(self) except -1:
        """Send what the kernel takes of the backlog; false where the connection has ended by it."""
        cdef iovec parts[MAX_PARTS]
        cdef msghdr message
        cdef Py_ssize_t sent, size, done
        cdef int count, i
        cdef list backlog = self.backlog
        cdef bytes chunk
        memset(&message, 0, sizeof(message))
        message.msg_iov = parts
        while True:
            count = <int>min(len(backlog), MAX_PARTS)
            size = 0
            for i in range(count):
                chunk = backlog[i]
                done = self.first_sent if i == 0 else 0
                parts[i].iov_base = PyBytes_AS_STRING(chunk) + done
                parts[i].iov_len = PyBytes_GET_SIZE(chunk) - done
                size += parts[i].iov_len
            message.msg_iovlen = count
            sent = c_sendmsg(self.descriptor, &message, MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    return True
                self.end(OSError(errno, os.strerror(errno)))
                return False
            self.waiting -= sent
            if sent == size and count == len(backlog):
                self.backlog = None
                self.first_sent = 0
                return True
            done = sent + self.first_sent
            i = 0
            while i < count and done >= PyBytes_GET_SIZE(<bytes>backlog[i]):
                done -= PyBytes_GET_SIZE(<bytes>backlog[i])
                i += 1
            del backlog[:i]
            self.first_sent = done
            if sent < size:
                return True

    cdef send_backlog(self):
        """The peer takes more."""
        if not self.send_some():
            return
        if self.writing_paused and self.waiting <= self.low:
            self.writing_paused = False
            self.protocol.resume_writing()
        if self.backlog is None and not self.ending:
            if self.closing:
                self.end(None)
                return
            self.watch(READS)
            if self.eof_wanted:
                c_shutdown(self.descriptor, SHUT_WR)

    cdef watch(self, uint32_t events):
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = events
        event.data.ptr = <void *>self
        epoll_ctl(self.server.poller, EPOLL_CTL_MOD, self.descriptor, &event)

    def set_write_buffer_limits(self, high=65536, low=0):
        self.high = high
        self.low = low

    def get_write_buffer_size(self):
        return self.waiting

    def can_write_eof(self):
        return True

    def write_eof(self):
        if self.ending or self.eof_wanted:
            return
        self.eof_wanted = True
        if self.backlog is None:
            c_shutdown(self.descriptor, SHUT_WR)

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
        self.server.loop.call_exception_handler(context)

    cdef end(self, error):
        if self.ending:
            return
        self.ending = True
        self.closing = True
        self.backlog = None
        self.waiting = 0
        epoll_ctl(self.server.poller, EPOLL_CTL_DEL, self.descriptor, NULL)
        c_close(self.descriptor)
        self.descriptor = -1
        self.server.loop.call_soon(self.lost, error)

    def lost(self, error):
        """The last call: tell the connection."""
        protocol = self.protocol
        server = self.server
        server.transports.discard(self)
        if server.alone is self:
            server.alone = None
        if server.busy is self:
            server.busy = None
        server._end_if_idle()
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
            return self.server.own_name or (self.ask("getsockname") if self.descriptor >= 0 else default)
        if name == "socket":
            return SocketView(self)
        return default

    def ask(self, method, *arguments):
        """What a socket object's method says of the socket."""
        if self.descriptor < 0:
            raise OSError(EBADF, os.strerror(EBADF))
        sock = socket.socket(self.server.family, socket.SOCK_STREAM, 0, self.descriptor)
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

    def getsockopt(self, *arguments):
        return self.transport.ask("getsockopt", *arguments)


cdef inet_name(sockaddr_in *address):
    cdef char text[ADDRESS_ROOM]
    inet_ntop(AF_INET, &address.sin_addr, text, ADDRESS_ROOM)
    return ((<bytes>text).decode("ascii"), ntohs(address.sin_port))
