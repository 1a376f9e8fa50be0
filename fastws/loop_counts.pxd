cimport cython


@cython.final
cdef class LoopCounts:
    cdef public long long connections
    cdef public long long refused_per_client
    cdef public long long refused_descriptors
    cdef public long long refused_websockets
    cdef public long long refused_requests
    cdef public dict errors
    cdef public dict handshake_errors
    cdef public long long reading_pauses
    cdef public long long writing_pauses
    cdef public long long messages_in
    cdef public long long bytes_in
    cdef public long long messages_out
    cdef public long long bytes_out
    cdef long long _sizes_in[11]
    cdef long long _sizes_out[11]
    cdef public long long pings
    cdef public long long ping_timeouts
    cdef public list round_trips
    cdef public double round_trip_seconds
    cdef public list lags
    cdef public double lag_seconds
    cdef public double last_lag

    @cython.locals(bucket=int)
    cdef void received(self, long long size) noexcept
    @cython.locals(bucket=int)
    cdef void sent(self, long long size) noexcept


@cython.locals(bucket=int, bound=double)
cpdef int time_bucket(double seconds)
