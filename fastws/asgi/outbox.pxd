from fastws.asgi.inbox cimport Inbox
from fastws.asgi.subscriber cimport Subscriber


cdef class Outbox(Inbox):
    cdef public Subscriber subscriber
    cdef bint _direct
    cdef bint _corked

    cdef _send_event(self, dict event)
    cdef _send_message(self, dict event)
    cdef _application_waits(self)
    cdef _flush(self)
    cdef count_sent(self, Py_ssize_t size)
    cdef write_frames(self, list frames)


cdef Py_ssize_t CORK_BYTES
