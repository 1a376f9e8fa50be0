# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""TLS on our own sockets: `ssl.SSLObject` driven from a socket's own reader and writer.

OpenSSL reads from one buffer in memory and writes to another, a pair for all connections of a listener. Both are empty
between two calls: what one read of a socket has brought is decrypted at once, into the loop's receive buffer, and what
was encrypted is sent at once. So a connection that idles has nothing but OpenSSL's own state. What cannot go on is taken
out of them: what came while reading is paused (`held`), and what the peer does not take yet (`sealed`).

What waits for the peer waits as it was written, and is encrypted when its turn to be sent comes: a message to many is
there once, however slow they are. Small chunks are joined, so that all frames of a turn are one record and one write.

The end: `close_notify` goes out behind the last byte (RFC 8446 section 6.1). The peer's own is not waited for.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory

cimport cython

from fastws.net._transport cimport MAX_READS, SocketTransport
from fastws.net._writing cimport SocketWriter

import os
import ssl

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_send "send"(int, const void *, size_t, int)
    enum:
        MSG_NOSIGNAL

cdef enum:
    RECORD_BYTES = 16384  # of plaintext, at most (RFC 8446 section 5.1)
    RECORD_ROOM = RECORD_BYTES + 512  # the same encrypted, and a little of the next one
    SEAL_BYTES = 65536  # what is encrypted before it is sent
    LITTLE_BYTES = 4096  # which are quicker copied than referred to

cdef object WantRead = ssl.SSLWantReadError
cdef object NoMore = ssl.SSLZeroReturnError
# Methods of C, called without being looked up: `ssl.SSLObject` is Python around these.
cdef object ssl_read, ssl_write


cdef class TlsPipes:
    """What the connections of one listener share: the two buffers, and who watches over handshakes."""

    def __init__(self, handshakes):
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.put = self.incoming.write
        self.take = self.outgoing.read
        self.handshakes = handshakes


@cython.final
cdef class TlsTransport(SocketTransport):
    """A socket's transport that speaks TLS from `start_tls` on, and before that in plain."""

    # -- the handshake

    def start_tls(self, context, waiter=None):
        """Begin TLS with `context`, an `ssl.SSLContext`, as the server.

        `waiter`, a future, is told of the end of the handshake: None, or the error that has ended the connection. Without
        one, its protocol's `connection_made` is called when the handshake is done, and nothing if it fails.
        """
        global ssl_read, ssl_write
        self.waiter = waiter
        self.ssl_object = context.wrap_bio(self.pipes.incoming, self.pipes.outgoing, server_side=True)
        self.ssl = self.ssl_object._sslobj
        if ssl_read is None:
            ssl_read = type(self.ssl).read
            ssl_write = type(self.ssl).write
        self.shaking = True
        self.pipes.handshakes.begin(self, waiter is None)
        self.resume_reading()

    def cancel(self):
        """Give the handshake up: it has taken too long."""
        if self.shaking:
            self.end(ConnectionAbortedError("the TLS handshake did not end in time"))

    cdef shake(self):
        """Take the handshake a step on."""
        try:
            self.ssl.do_handshake()
        except WantRead:
            self.flush()
            return
        except Exception as error:
            self.flush()  # the alert
            self.end(error)
            return
        self.flush()
        if not self.ending:
            self.shaken(None)

    cdef shaken(self, error):
        """The handshake has ended."""
        self.shaking = False
        self.pipes.handshakes.end(self)
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            if not waiter.done():
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
        elif error is None:
            try:
                self.protocol.connection_made(self)
            except BaseException:
                self.abort()
                raise
        else:
            self.protocol = None
            self.pipes.handshakes.failed(error, self.peer_name)

    # -- reading

    cdef bint read(self) except -1:
        cdef Py_ssize_t size, room
        cdef int reads = 0
        if self.ssl is None:
            return SocketTransport.read(self)
        while self.may_read():
            if self.held is not None:
                held, self.held = self.held, None
                self.pipes.put(held)
                self.take_records()
                continue
            if not self.readable:
                break
            if reads == MAX_READS:
                self.poller.read_soon(self)
                break
            room = self.poller.buffer_size
            if 0 <= self.protocol.allowance < room - RECORD_ROOM:
                room = <Py_ssize_t>self.protocol.allowance + RECORD_ROOM
            size = self.receive(self.poller.buffer, room)
            if size > 0:
                reads += 1
                if size <= LITTLE_BYTES:
                    self.pipes.put(PyBytes_FromStringAndSize(self.poller.buffer, size))
                else:
                    self.pipes.put(self.poller.view[:size])
                self.take_records()
        return reads > 0 or self.eof_received or self.ending

    cdef take_records(self):
        """Decrypt what is there, and hand it on."""
        try:
            if self.shaking:
                self.shake()
            while not self.shaking and self.may_read() and self.hand_on():
                pass
        except BaseException as error:
            self.fail(error, "protocol.received()")
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
        finally:
            self.hold()

    cdef bint hand_on(self) except -1:
        """Decrypt what there is room for and hand it to the protocol; false where there is no more."""
        cdef Py_ssize_t size = 0, total = 0
        cdef Py_ssize_t room = self.protocol.wanted()
        cdef bint placed = room > 0, more = True
        if placed:
            view = PyMemoryView_FromMemory(<char *><void *>self.protocol.handler.place(), room, PyBUF_WRITE)
            size = self.decrypt(room, view)
            total = max(size, 0)
            more = size > 0 and (total == room or self.pipes.incoming.pending > 0)
        else:
            room = self.poller.buffer_size
            if 0 < self.protocol.allowance < room:
                room = <Py_ssize_t>self.protocol.allowance
            while more and total < room:
                size = self.decrypt(room - total, self.poller.view[total:] if total else self.poller.view)
                total += max(size, 0)
                # Where a record has ended and nothing is behind it, the next read would find nothing.
                more = size > 0 and (total == room or self.pipes.incoming.pending > 0)
        if self.pipes.outgoing.pending:  # an answer to new keys (RFC 8446 section 4.6.3), before others write
            self.flush()
        if total and not self.ending:
            if placed:
                self.protocol.received_placed(total)
            else:
                self.protocol.received(total)
        if size == 0 and self.may_read():
            self.take_end()
        return more

    cdef Py_ssize_t decrypt(self, Py_ssize_t size, view) except? -1:
        """Read up to `size` bytes of one record to `view`; 0 at the peer's end of TLS, -1 where nothing is to be had."""
        if self.plain is not None:
            size = min(size, PyBytes_GET_SIZE(self.plain))
            view[:size] = self.plain[:size]
            self.plain = self.plain[size:] or None
            return size
        try:
            return ssl_read(self.ssl, size, view)
        except WantRead:
            return -1
        except NoMore:
            return 0
        except ssl.SSLError as error:
            self.flush()  # the alert
            self.end(error)
            return -1

    cdef hold(self):
        """Leave nothing in the buffer that all share."""
        incoming = self.pipes.incoming
        if incoming.pending:
            rest = incoming.read()
            if not self.ending and not self.eof_received:
                self.held = rest
        elif self.paused and not self.ending and not self.eof_received and not self.shaking and (
            self.plain is not None or self.ssl.pending()
        ):
            self.held = b""

    cdef take_end(self):
        if self.shaking:
            self.end(ConnectionResetError("the peer left in the TLS handshake"))
        else:
            SocketTransport.take_end(self)

    cdef look_for_end(self):
        if self.held is None:
            SocketTransport.look_for_end(self)

    def resume_reading(self):
        self.paused = False
        if (self.readable or self.held is not None) and self.may_read():
            self.poller.read_soon(self)

    # -- writing

    cpdef write(self, bytes data):
        cdef Py_ssize_t size
        if self.ssl is None:
            SocketWriter.write(self, data)
            return
        size = 0 if data is None else PyBytes_GET_SIZE(data)
        if size and self.poller.delays and not (self.ending or self.eof_wanted) and self.put_off(size):
            self.backlog.append(data)
            return
        if self.backlog is not None or self.ending or self.eof_wanted or not 0 < size <= RECORD_BYTES:
            self.writelines([data])
            return
        try:  # the usual case, for which nothing is kept
            ssl_write(self.ssl, data)
        except ssl.SSLError as error:
            self.end(error)
            return
        self.sealed = self.pipes.take()
        self.sealed_sent = 0
        self.waiting = PyBytes_GET_SIZE(self.sealed)
        if not self.send_sealed() and not self.ending:
            self.backlog = []
            if self.wait_to_write(True):
                self.pause_if_full()

    cdef bint send_some(self) except -1:
        if self.ssl is None:
            return SocketWriter.send_some(self)
        while True:
            if self.sealed is not None and not self.send_sealed():
                return not self.ending
            if self.first == len(self.backlog):
                self.backlog = None
                self.first = self.first_sent = 0
                return True
            try:
                self.seal_some()
            except ssl.SSLError as error:
                self.end(error)
                return False

    cdef seal_some(self):
        """Encrypt the next of what waits."""
        cdef list backlog = self.backlog
        cdef bytes chunk = backlog[self.first]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk) - self.first_sent, done = 0
        cdef Py_ssize_t end = self.first + 1
        cdef object data
        if size > SEAL_BYTES:
            data = memoryview(chunk)[self.first_sent : self.first_sent + SEAL_BYTES]
            size = SEAL_BYTES
            self.first_sent += SEAL_BYTES
        else:
            while end < len(backlog) and size + PyBytes_GET_SIZE(<bytes>backlog[end]) <= SEAL_BYTES:
                size += PyBytes_GET_SIZE(<bytes>backlog[end])
                end += 1
            data = memoryview(chunk)[self.first_sent :] if self.first_sent else chunk
            if end > self.first + 1:
                parts = backlog[self.first : end]
                parts[0] = data
                data = b"".join(parts)
            self.first_sent = 0
            self.drop(end - self.first)
        if size <= RECORD_BYTES:
            done = ssl_write(self.ssl, data) if size else 0
        if done < size:
            data = memoryview(data)
            while done < size:
                done += <Py_ssize_t>ssl_write(self.ssl, data[done:])
        self.sealed = self.pipes.take()
        self.sealed_sent = 0
        self.waiting += PyBytes_GET_SIZE(self.sealed) - size

    cdef bint send_sealed(self) except -1:
        """Send what the kernel takes of what is encrypted; whether that was all."""
        cdef Py_ssize_t sent, size = PyBytes_GET_SIZE(self.sealed)
        while self.sealed_sent < size:
            sent = c_send(
                self.descriptor, PyBytes_AS_STRING(self.sealed) + self.sealed_sent, size - self.sealed_sent, MSG_NOSIGNAL
            )
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    self.end(OSError(errno, os.strerror(errno)))
                return False
            self.sealed_sent += sent
            self.waiting -= sent
        self.sealed = None
        return True

    cdef flush(self):
        """Send what OpenSSL has to say for itself."""
        cdef bytes data
        if not self.pipes.outgoing.pending:
            return
        data = self.pipes.take()
        if self.ending:
            return
        self.waiting += PyBytes_GET_SIZE(data)
        self.sealed = data if self.sealed is None else self.sealed[self.sealed_sent :] + data
        self.sealed_sent = 0
        if self.backlog is None:
            self.backlog = []
            if self.send_some() and self.backlog is not None:
                self.wait_to_write(True)

    # -- ending

    cdef bint say_goodbye(self) except -1:
        """Send close_notify, once; whether it is on its way, with all before it."""
        if not self.ended_tls and not self.shaking and self.ssl is not None:
            self.ended_tls = True
            rest = self.spare()
            try:
                self.ssl.shutdown()
            except ssl.SSLError:  # the peer's own is not there
                pass
            if rest:
                self.pipes.put(rest)
            self.flush()
        return self.backlog is None and not self.ending

    cdef bytes spare(self):
        """Take out of OpenSSL what has come: it looks for the peer's end when ours is sent, and gives up where data is.

        What it has decrypted is kept here, and what it has not is returned.
        """
        cdef Py_ssize_t size = self.ssl.pending()
        if size:
            self.plain = ssl_read(self.ssl, size)
        return self.pipes.incoming.read()

    cdef finish(self):
        if self.say_goodbye():
            self.end(None)

    cdef shut_writing(self):
        if self.say_goodbye():
            SocketTransport.shut_writing(self)

    cdef end(self, error):
        if self.ending:
            return
        self.send_delayed()
        if self.ending:  # by that
            return
        self.sealed = None
        self.held = self.plain = None
        if self.shaking:
            self.shaken(ConnectionResetError("the connection has ended in the TLS handshake") if error is None else error)
        SocketTransport.end(self, error)

    def lost(self, error):
        SocketTransport.lost(self, error)
        self.ssl = self.ssl_object = None

    # -- what it is

    def get_extra_info(self, name, default=None):
        """As of a plain one, and `ssl_object`."""
        if name == "ssl_object":
            return self.ssl_object
        return SocketTransport.get_extra_info(self, name, default)
