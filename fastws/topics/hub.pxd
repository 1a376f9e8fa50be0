cimport cython

from fastws.net.loop_core cimport LoopCore
from fastws.net.loop_counts cimport LoopCounts
from fastws.topics.member cimport Member, Topic, Turn
from fastws.topics.outgoing cimport Kind, Outgoing


cdef class Hub:
    cdef object __weakref__
    cdef public str id
    cdef public LoopCore shared
    cdef public LoopCounts counts
    cdef public object bus
    cdef dict _kinds
    cdef Turn _turn
    cdef dict _topics
    cdef dict _policies
    cdef Py_ssize_t _backlog_limit
    cdef object _policy
    cdef Py_ssize_t _most_topics

    @cython.locals(topic=Topic, member=Member, dropped=int)
    cdef Py_ssize_t _fan_out(self, str name, Outgoing message, long long sender, Outgoing with_id=*) except -1
    @cython.locals(topic=Topic, member=Member)
    cpdef subscribe(self, session, str name, policy=*, str who=*)
    @cython.locals(topic=Topic, member=Member)
    cpdef unsubscribe(self, session, str name)
    @cython.locals(topic=Topic)
    cpdef remove(self, Member member)
    cdef _remove(self, Member member, Topic topic)
