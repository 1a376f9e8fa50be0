import cython

from fastws.http.block_writer cimport BlockWriter
from fastws.http._frames cimport frame, frame_head

# What is used for each frame.
cdef int CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, HEADERS, JOIN_BYTES, SLIVER_BYTES


cdef class StreamState:
    cdef public long long stream_id
    cdef public long long send_window
    cdef public long long receive_window
    cdef public long long body_left
    cdef public bint ended_by_peer
    cdef public bint ended
    cdef public object owner


cdef class Http2Sender:
    cdef public dict streams
    cdef public long long send_window
    cdef public Py_ssize_t output_bytes
    cdef list _output
    cdef BlockWriter _blocks
    cdef dict _reset_ids
    cdef double _updates
    cdef double _most_updates

    cpdef send_head(self, StreamState stream, bytes block, bint ends)
    @cython.locals(size=Py_ssize_t, left=Py_ssize_t, count=cython.longlong)
    cpdef Py_ssize_t send_data(self, StreamState stream, bytes data, Py_ssize_t begin, bint ends) except -1
    cpdef forget(self, StreamState stream)
    cpdef credit(self, StreamState stream, long long size)
    cdef _put(self, bytes data)
