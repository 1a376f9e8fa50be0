from libc.stdint cimport uint32_t

from fastws.net.connection cimport Stream
from fastws.net.loop_core cimport LoopCore

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN
        EPOLLPRI
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP

cdef enum:
    MAX_EVENTS = 256  # of one epoll_wait


cdef class Poller:
    cdef object __weakref__
    cdef object loop
    cdef LoopCore state
    cdef object context  # of what is done for members, whoever asks for it
    cdef object own_name  # what every member's sockname is; None where it depends
    cdef int family
    cdef int descriptor  # of the epoll set, or -1
    cdef int limit  # of the events that are asked for next
    cdef bint grows  # members may still come
    cdef set members
    cdef list ready  # members that have more to read and will not be told of by epoll
    cdef Polled alone  # the one that had all events when epoll was last asked
    cdef Polled busy  # if it had them the time before, too
    cdef int guesses
    cdef bint delays  # what members write is sent when others have gone on, too
    cdef list delayed  # those whose bytes wait for that
    cdef long long delaying_since  # in nanoseconds
    cdef public long long patience  # nanoseconds that an application may take, on average, where bytes are delayed
    cdef int hurried  # turns of the loop in which nothing is delayed, since an application was slow
    cdef int slow_turns  # how many these were last
    cdef int quick_turns  # in which bytes were delayed, since then
    cdef object view  # of the buffer that they are read to
    cdef bytearray memory
    cdef char *buffer
    cdef Py_ssize_t buffer_size
    cdef epoll_event events[MAX_EVENTS]

    cdef add(self, Polled member)
    cdef int watch(self, Polled member, bint writing) noexcept
    cdef int read_ready(self) except -1
    cdef read_queued(self)
    cdef let_go_on(self, int count)
    cdef bint may_delay(self) except -1
    cdef send_delayed(self)
    cdef read_soon(self, Polled member)
    cdef forget(self, Polled member)
    cdef remove(self, Polled member)
    cdef object failed(self, Polled member, error)
    cdef end_if_idle(self)


cdef class Polled(Stream):
    cdef Poller poller
    cdef int descriptor  # or -1
    cdef bint closing  # nothing more is read
    cdef bint paused
    cdef bint readable  # there may be more to read than epoll will tell of
    cdef bint eof_received
    cdef bint queued  # in Poller.ready

    cdef inline bint may_read(self) noexcept:
        return self.descriptor >= 0 and not (self.paused or self.closing or self.eof_received)

    cdef on_events(self, uint32_t events)
    cdef send_delayed(self)
    cdef bint read(self) except -1
    cdef fail(self, error, str where)
