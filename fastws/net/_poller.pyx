# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""An epoll set that is one reader of the event loop: who of many sockets has something to be read, or may be written to.

A turn of the loop learns of all that is ready at once; but of a few at a time while they bring requests, whose calls of
the application begin behind that: what a request was made of is still in the processor's cache then, and in a burst of
hundreds it would not be. When all are read, the applications that wait for what was read go on, in the same callback of
the loop (`LoopCore.end_polling`): a turn of their own would be another call of epoll_wait(2).

The members are edge-triggered: epoll tells once of what has come, and a member remembers that there may be more
(`Polled.readable`). So pausing and resuming one is a flag and no system call.
What becomes of the bytes is the members' business (_transport.pyx), who they are the listener's (_sockets.pyx).
"""

from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.string cimport memset
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE

from fastws.net.connection cimport Stream
from fastws.net.loop_core cimport LoopCore

import os

cdef extern from "<sys/epoll.h>" nogil:
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLLET

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec *)
    enum:
        CLOCK_MONOTONIC

cdef enum:
    CALLS = 16  # that are begun in a turn, more or less
    MIN_EVENTS = 2  # one alone is another case
    GUESSES = 32  # reads in a row of the one member that is busy, before the others are asked for
    STEP_NS = 15_000  # how long an application may take, on average, whose bytes are delayed
    MAX_STEPS = 25  # for how many such steps they are
    HURRIED_TURNS = 64  # in which nothing is delayed, since one took longer, at first; twice as many each time
    MOST_HURRIED_TURNS = 65_536
    QUICK_TURNS = 1024  # after which such a one is the first again: the garbage collector takes its time, too

cdef uint32_t READS = EPOLLIN | EPOLLPRI | EPOLLRDHUP | <uint32_t>EPOLLET


cdef class Poller:
    """The set, and what its members share: the loop, and the buffer that they are read to."""

    def __cinit__(self):
        self.descriptor = -1

    def __init__(self, loop, LoopCore state not None):
        self.loop = loop
        self.state = state
        self.context = state.context
        self.limit = MAX_EVENTS
        self.grows = True
        self.members = set()
        self.ready = []
        self.delayed = []
        self.patience = STEP_NS
        self.slow_turns = HURRIED_TURNS // 2
        self.view = state.receive_buffer
        self.memory = state.receive_buffer.obj  # never resized: the memoryview sees to that
        self.buffer = PyByteArray_AS_STRING(self.memory)
        self.buffer_size = PyByteArray_GET_SIZE(self.memory)
        self.descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(errno, os.strerror(errno))
        loop.add_reader(self.descriptor, self._on_ready)

    def __dealloc__(self):
        if self.descriptor >= 0:
            c_close(self.descriptor)

    # -- members

    cdef add(self, Polled member):
        """Tell of `member` from now on; it lives until it is removed."""
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = READS
        event.data.ptr = <void *>member
        if epoll_ctl(self.descriptor, EPOLL_CTL_ADD, member.descriptor, &event):
            raise OSError(errno, os.strerror(errno))
        self.members.add(member)

    cdef int watch(self, Polled member, bint writing) noexcept:
        """Tell of `member`, and with `writing` when it may be written to, too; 0, or -1 with errno, as epoll_ctl(2)."""
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = READS | EPOLLOUT if writing else READS
        event.data.ptr = <void *>member
        return epoll_ctl(self.descriptor, EPOLL_CTL_MOD, member.descriptor, &event)

    cdef read_soon(self, Polled member):
        """Let `member` read in the loop's next turn."""
        if not member.queued:
            member.queued = True
            if not self.ready:
                self.loop.call_soon(self._read_on, context=self.context)
            self.ready.append(member)

    cdef forget(self, Polled member):
        """Tell no more of `member`, whose descriptor is about to be closed: that would do, unless others have it too."""
        epoll_ctl(self.descriptor, EPOLL_CTL_DEL, member.descriptor, NULL)

    cdef remove(self, Polled member):
        """Let go of `member`, in a later turn than it was forgotten: what this one has been told of it is behind us."""
        self.members.discard(member)
        if self.alone is member:
            self.alone = None
        if self.busy is member:
            self.busy = None
        self.end_if_idle()

    cdef end_if_idle(self):
        if not self.grows and not self.members and self.descriptor >= 0:
            self.loop.remove_reader(self.descriptor)
            c_close(self.descriptor)
            self.descriptor = -1

    # -- events

    def _on_ready(self):
        cdef int count = 0
        self.state.polling = True
        self.state.woken = False
        try:
            count = self.read_ready()
        finally:
            self.let_go_on(count)

    cdef int read_ready(self) except -1:
        """Read those that have something to be read; returns how many were told of, 0 where nobody was asked."""
        cdef int i, count
        cdef Py_ssize_t begun
        cdef Polled member = self.busy
        cdef object stop = None
        # A member that is busy alone is read without asking who it is; epoll finds out for itself that it was.
        if member is not None and self.guesses < GUESSES and member.may_read():
            self.guesses += 1
            member.readable = True
            if member.read():
                return 0
        self.guesses = 0
        count = epoll_wait(self.descriptor, self.events, self.limit, 0)
        begun = self.state.requests_total
        member = <Polled>self.events[0].data.ptr if count == 1 else None
        self.busy = member if member is self.alone else None
        self.alone = member
        for i in range(count):
            member = <Polled>self.events[i].data.ptr
            try:
                member.on_events(self.events[i].events)
            except BaseException as error:  # the others' events are told of once
                stop = self.failed(member, error) or stop
        begun = self.state.requests_total - begun
        # epoll keeps the others, who have waited longest, for the next turn, in which this is called again.
        self.limit = MAX_EVENTS if begun == 0 or 2 * begun < count else max(MIN_EVENTS, CALLS * count // begun)
        if stop is not None:
            raise stop
        return count

    cdef let_go_on(self, int count):
        """Of `count` members that have been read, let the applications go on; what they write is sent behind that."""
        if self.hurried:
            self.hurried -= 1
        elif count > 1 and not self.delays:
            self.delays = True
            self.delaying_since = now()
            self.quick_turns += 1
        try:
            self.state.end_polling()
        finally:
            if self.delays:
                if self.state.woken:  # some go on in a task, and this is behind them
                    self.loop.call_soon(self._on_gone_on, context=self.context)
                else:
                    self._on_gone_on()

    def _on_gone_on(self):
        if self.delayed:
            self.may_delay()
        self.send_delayed()

    cdef bint may_delay(self) except -1:
        """Whether what one more member writes may wait: the applications that were let go on are quick."""
        cdef long long passed = now() - self.delaying_since
        if passed > self.patience * (<Py_ssize_t>len(self.delayed) + 2):
            self.slow_turns = HURRIED_TURNS if self.quick_turns > QUICK_TURNS else self.slow_turns * 2
            self.hurried = self.slow_turns = min(self.slow_turns, MOST_HURRIED_TURNS)
            self.quick_turns = 0
            self.send_delayed()
            return False
        if passed > self.patience * MAX_STEPS:
            self.send_delayed()
            self.delays = True
            self.delaying_since += passed
        return True

    cdef send_delayed(self):
        """Send what members have written since they were read."""
        cdef Polled member
        self.delays = False
        if self.delayed:
            delayed, self.delayed = self.delayed, []
            for member in delayed:
                try:
                    member.send_delayed()
                except BaseException as error:
                    self.failed(member, error)

    def _read_on(self):
        self.state.polling = True
        try:
            self.read_queued()
        finally:
            self.state.end_polling()

    cdef read_queued(self):
        cdef Polled member
        cdef object stop = None
        ready, self.ready = self.ready, []
        for member in ready:
            member.queued = False
            try:
                member.read()
            except BaseException as error:
                stop = self.failed(member, error) or stop
        if stop is not None:
            raise stop

    cdef object failed(self, Polled member, error):
        """End `member`, out of which `error` has come; returns what is to be raised behind the others' turn, or None."""
        try:
            member.fail(error, "a connection's")
        except BaseException as another:
            return another
        return None if isinstance(error, Exception) else error


cdef class Polled(Stream):
    """A socket that a `Poller` tells of."""

    def __cinit__(self):
        self.descriptor = -1

    def __dealloc__(self):
        if self.descriptor >= 0:  # its protocol could not be made
            c_close(self.descriptor)

    cdef on_events(self, uint32_t events):
        """What epoll has told of this socket, which may be closed by now."""
        raise NotImplementedError

    cdef bint read(self) except -1:
        """Read what there is, up to a bound; whether there was anything."""
        raise NotImplementedError

    cdef send_delayed(self):
        """Send what was written and delayed, if that has not happened yet."""
        raise NotImplementedError

    cdef fail(self, error, str where):
        """`error` has come out of `where`."""
        raise NotImplementedError


cdef long long now() noexcept nogil:
    """Nanoseconds of a clock that only goes on."""
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <long long>time.tv_sec * 1_000_000_000 + time.tv_nsec
