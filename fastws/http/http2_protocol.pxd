import cython

from fastws.http.http2_sending cimport Http2Sender, StreamState

# What is compared for each frame.
cdef int ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, GOAWAY, HEADERS, PADDED, PING
cdef int PRIORITISED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE
cdef long long LARGEST_WINDOW
cdef double BURST_SECONDS


cdef class Http2Protocol(Http2Sender):
    cdef public long long last_stream_id
    cdef public bint going_away
    cdef object _receiver
    cdef long long _window
    cdef Py_ssize_t _max_streams
    cdef Py_ssize_t _block_bytes
    cdef object _reader
    cdef bytes _rest
    cdef bint _began
    cdef bint _settled
    cdef long long _receive_window
    cdef long long _initial_window
    cdef long long _block_stream
    cdef bytes _block
    cdef Py_ssize_t _block_frames
    cdef bint _block_ends
    cdef bint _block_wrong
    cdef double _time
    cdef double _control
    cdef double _control_rate
    cdef double _reset_rate
    cdef double _resets

    @cython.locals(position=Py_ssize_t, size=Py_ssize_t, length=Py_ssize_t, end=Py_ssize_t, stream_id=cython.longlong)
    cpdef receive(self, bytes data, double now)
    cdef _take_frame(self, int kind, int flags, long long stream_id, bytes payload)
    @cython.locals(size=Py_ssize_t, data=bytes, stream=StreamState)
    cdef _take_data(self, int flags, long long stream_id, bytes payload)
    @cython.locals(begin=Py_ssize_t, end=Py_ssize_t)
    cdef _take_headers(self, int flags, long long stream_id, bytes payload)
    cdef _take_continuation(self, int flags, long long stream_id, bytes payload)
    @cython.locals(stream=StreamState)
    cdef _take_block(self, long long stream_id, bytes block)
    @cython.locals(stream=StreamState)
    cdef _begin_stream(self, long long stream_id, block)
    cdef _take_trailers(self, StreamState stream, block)
    @cython.locals(stream=StreamState)
    cdef _take_window_update(self, long long stream_id, bytes payload)
    cpdef spend_reset(self)
