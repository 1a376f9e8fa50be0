cdef class ClientCounts:
    cdef object _limit
    cdef object _trusted
    cdef readonly dict _counts
