import cython

from fastws.http.http2_protocol cimport Http2Protocol
from fastws.http.http2_sending cimport StreamState
from fastws.net.channel cimport Channel
from fastws.net.http_handler cimport HttpHandler

cdef long long LARGEST_WINDOW
cdef Py_ssize_t CREDIT_BYTES


cdef class Carrier(HttpHandler):
    cdef public Http2Protocol protocol
    cdef public long long window
    cdef public Py_ssize_t grown_bytes
    cdef public Py_ssize_t waiting_bytes
    cdef public Py_ssize_t calls_left

    cdef ask_flush(self)
    cdef bint flush_alone(self, StreamState stream) except -1
    cdef wait_for_window(self, Http2Stream stream)
    cdef bint must_wait(self) except -1
    cdef stream_gone(self, Http2Stream stream)


cdef class Http2Stream(Channel):
    cdef public Carrier carrier
    cdef public StreamState stream
    cdef public int abort_code
    cdef public bint called
    cdef unsigned char _answered
    cdef unsigned char _settled
    cdef Http2Protocol _protocol
    cdef list _out
    cdef Py_ssize_t _out_begin
    cdef Py_ssize_t _out_bytes
    cdef bytes _trailers
    cdef object _held
    cdef long long _uncredited
    cdef long long _window
    cdef unsigned char _ending
    cdef unsigned char _finishing
    cdef unsigned char _deaf
    cdef unsigned char _peer_ended
    cdef unsigned char _end_told
    cdef unsigned char _gone

    cdef _join(self, Carrier carrier, StreamState stream)
    cpdef send_head(self, bytes block, bint ends=*)
    cpdef send_interim(self, bytes block)
    cpdef write_last(self, bytes data)
    cpdef send_whole(self, bytes block, bytes data)
    cdef write(self, bytes data)
    cdef write_all(self, list chunks)
    @cython.locals(sent=Py_ssize_t)
    cdef bint _send_at_once(self, bytes data, bint ends) except -1
    @cython.locals(size=Py_ssize_t)
    cdef _try_push(self)
    @cython.locals(size=Py_ssize_t)
    cdef bint _has_room(self) except -1
    @cython.locals(done=Py_ssize_t, sent=Py_ssize_t, chunk=bytes, out=list, protocol=Http2Protocol, stream=StreamState)
    cpdef bint push(self, long long most) except -1
    cpdef received(self, bytes data, long long size)
    cpdef ended_by_peer(self)
    cdef _tell_end(self)
    cdef _end(self)
    @cython.locals(count=cython.longlong, growth=cython.longlong, carrier=Carrier)
    cdef _give_credit(self)
    cdef _check_end(self)
    cdef _leave(self)
    cpdef settle(self)
    cdef call_ended(self)
