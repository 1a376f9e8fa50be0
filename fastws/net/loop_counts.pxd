cimport cython


@cython.final
cdef class RequestCounts:
    cdef long long _statuses[10]
    cdef long long _times[16]
    cdef public double seconds
    cdef public long long body_bytes

    cdef void add(self, int status, long long body_bytes, double seconds) noexcept


@cython.final
cdef class LoopCounts:
    cdef public long long connections
    cdef public long long refused_per_client
    cdef public long long refused_descriptors
    cdef public long long refused_websockets
    cdef public long long refused_requests
    cdef public dict errors
    cdef public dict handshake_errors
    cdef public bint timed
    cdef public dict requests
    cdef RequestCounts _other_requests
    cdef public long long http2_requests
    cdef public long long http2_websockets
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
    cdef public long long published
    cdef public long long topics_delivered
    cdef public dict dropped
    cdef public long long closed_slow
    cdef public long long subscriptions
    cdef public long long topics
    cdef public list lags
    cdef public double lag_seconds
    cdef public double last_lag

    @cython.locals(counts=RequestCounts)
    cdef request(self, str method, int status, long long body_bytes, double seconds)
    cdef void received(self, long long size) noexcept
    cdef void sent(self, long long size) noexcept


@cython.locals(bucket=int)
cpdef int size_bucket(long long size) noexcept

@cython.locals(bucket=int, bound=double)
cpdef int time_bucket(double seconds) noexcept
