# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""What is written to a plain socket: at once where the kernel takes it, and the rest as the peer reads.

Where several connections were read in one turn of the loop, and their applications are quick, a little that each writes
is sent behind the last of them. So the kernel's code for sending is used again and again, while it is in the processor's
cache, and not between the applications' (`Poller.let_go_on`).

Bytes that the kernel does not take wait in a list, as they came, and go out in one system call for many. Beyond the high
water mark the connection is told to pause, below the low one to go on, as asyncio's transports do.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastws.net._poller cimport Polled

import os

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t c_send "send"(int, const void *, size_t, int)
    ssize_t c_sendmsg "sendmsg"(int, const msghdr *, int)
    int c_shutdown "shutdown"(int, int)
    enum:
        MSG_NOSIGNAL
        SHUT_WR

cdef enum:
    MAX_PARTS = 64  # of one sendmsg
    DELAYED_BYTES = 16384  # of one connection


cdef class SocketWriter(Polled):
    """The writing half of a transport."""

    cpdef write(self, bytes data):
        cdef Py_ssize_t size, sent = 0
        if data is None:
            raise TypeError("data must be bytes, not NoneType")
        size = PyBytes_GET_SIZE(data)
        if self.ending or size == 0:
            return
        if self.eof_wanted:
            raise RuntimeError("cannot write after write_eof()")
        if self.poller.delays:
            if self.put_off(size):
                self.backlog.append(data)
                return
            if self.ending:
                return
        if self.backlog is None:
            sent = c_send(self.descriptor, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL)
            if sent == size:
                return
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.end(OSError(errno, os.strerror(errno)))
                    return
                sent = 0
        self.keep([data], size, sent, False)

    cpdef writelines(self, list chunks):
        cdef bytes chunk
        cdef Py_ssize_t size = 0
        if chunks is None:
            raise TypeError("chunks must be a list, not NoneType")
        if self.ending:
            return
        if self.eof_wanted:
            raise RuntimeError("cannot write after write_eof()")
        for chunk in chunks:
            if chunk is None:
                raise TypeError("a chunk must be bytes, not NoneType")
            size += PyBytes_GET_SIZE(chunk)
        if size == 0:
            return
        if self.poller.delays:
            if self.put_off(size):
                self.backlog.extend(chunks)
                return
            if self.ending:
                return
        self.keep(chunks, size, 0, True)

    cdef bint put_off(self, Py_ssize_t size) except -1:
        """Whether `size` bytes are to be in the backlog, as what is delayed; where not, what was delayed is sent."""
        cdef Py_ssize_t room = min(DELAYED_BYTES, self.high)
        if self.delayed:
            if self.waiting + size > room:
                self.send_delayed()
                return False
        elif self.backlog is not None or size > room or not self.poller.may_delay():
            return False
        else:
            self.backlog = []
            self.delayed = True
            self.poller.delayed.append(self)
        self.waiting += size
        return True

    cdef send_delayed(self):
        if not self.delayed:
            return
        self.delayed = False
        if self.backlog is None or not self.send_some():
            return
        if self.backlog is not None:
            if self.wait_to_write(True):
                self.pause_if_full()
        elif self.closing:
            self.finish()
        elif self.eof_wanted:
            self.shut_writing()

    cdef keep(self, list chunks, Py_ssize_t size, Py_ssize_t sent, bint try_now):
        """Put `chunks`, of whose `size` bytes the first `sent` are gone, behind what waits; `try_now` if nothing does."""
        self.waiting += size - sent
        if self.backlog is None:
            self.backlog = list(chunks)
            self.first_sent = sent
            if try_now and not self.send_some():
                return
            if self.backlog is None:
                return
            if not self.wait_to_write(True):
                return
        else:
            self.backlog.extend(chunks)
        self.pause_if_full()

    cdef pause_if_full(self):
        """Tell the protocol where more waits than the high water mark."""
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
            count = <int>min(len(backlog) - self.first, MAX_PARTS)
            size = 0
            for i in range(count):
                chunk = backlog[self.first + i]
                done = self.first_sent if i == 0 else 0
                parts[i].iov_base = PyBytes_AS_STRING(chunk) + done
                parts[i].iov_len = PyBytes_GET_SIZE(chunk) - done
                size += parts[i].iov_len
            message.msg_iovlen = count
            if count == 1:  # half of the cost
                sent = c_send(self.descriptor, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL)
            else:
                sent = c_sendmsg(self.descriptor, &message, MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    return True
                self.end(OSError(errno, os.strerror(errno)))
                return False
            self.waiting -= sent
            if sent == size and self.first + count == len(backlog):
                self.backlog = None
                self.first = self.first_sent = 0
                return True
            done = sent + self.first_sent
            i = 0
            while i < count and done >= PyBytes_GET_SIZE(<bytes>backlog[self.first + i]):
                done -= PyBytes_GET_SIZE(<bytes>backlog[self.first + i])
                i += 1
            self.drop(i)
            self.first_sent = done
            if sent < size:
                return True

    cdef drop(self, Py_ssize_t count):
        """Let go of the next `count` chunks, which are sent. A long list moves up seldom, or each would move all."""
        cdef Py_ssize_t i
        for i in range(self.first, self.first + count):
            self.backlog[i] = None
        self.first += count
        if self.first * 2 >= len(self.backlog):
            del self.backlog[: self.first]
            self.first = 0

    cdef send_backlog(self):
        """The peer takes more."""
        if not self.send_some():
            return
        if self.writing_paused and self.waiting <= self.low:
            self.writing_paused = False
            self.protocol.resume_writing()
        if self.backlog is None and not self.ending:
            if self.closing:
                self.finish()
                return
            if self.wait_to_write(False) and self.eof_wanted:
                self.shut_writing()

    cdef bint wait_to_write(self, bint waiting) except -1:
        """Hear of the peer's taking more, or no longer; false where that cannot be, which ends the connection."""
        if self.poller.watch(self, waiting):
            self.end(OSError(errno, os.strerror(errno)))
            return False
        return True

    cdef shut_writing(self):
        if c_shutdown(self.descriptor, SHUT_WR):
            self.end(OSError(errno, os.strerror(errno)))

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
            self.shut_writing()

    cdef finish(self):
        """The connection is to end, and all is sent."""
        raise NotImplementedError

    cdef end(self, error):
        """Write and read nothing more, for `error` or for None."""
        raise NotImplementedError
