cimport cython

from fastws.asgi.subscriber cimport Subscriber
from fastws.asgi.session cimport Session
from fastws.net.channel cimport Channel
from fastws.websocket.engine cimport Engine
from fastws.net.loop_core cimport LoopCore
from fastws.net.loop_counts cimport LoopCounts
from fastws.topics.outgoing cimport Frames, Kind, Outgoing


@cython.final
cdef class Turn:
    cdef public LoopCore shared
    cdef public LoopCounts counts
    cdef object _kinds
    cdef list _members
    cdef public Py_ssize_t messages

    cdef list_member(self, Member member)
    @cython.locals(part=list, member=Member, more=bint)
    cpdef end_of_turn(self)


@cython.final
cdef class Topic:
    cdef public str name
    cdef public dict members
    cdef public dict names


@cython.final
cdef class Member(Subscriber):
    cdef object _hub
    cdef Turn _turn
    cdef public Session session
    cdef public long long number
    cdef public list topics
    cdef Kind _kind
    cdef Frames _pending
    cdef bint _listed
    cdef public object backlog

    cpdef int deliver(self, Outgoing message, Topic topic, policy) except -1
    cpdef flush(self)
    cpdef flush_now(self)
    @cython.locals(kind=Kind, pending=Frames, engine=Engine, waiting=Py_ssize_t)
    cdef _append(self, Outgoing message)
    cdef int _keep(self, Outgoing message, Topic topic, policy) except -1
