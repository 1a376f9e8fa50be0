cimport cython


@cython.final
cdef class DeflateCounts:
    cdef public long long compressed_in
    cdef public long long compressed_out
    cdef public long long plain_in
    cdef public long long plain_out


@cython.final
cdef class Deflater:
    cdef public int window_bits
    cdef public bint context_takeover
    cdef public Py_ssize_t threshold
    cdef public int level
    cdef public int mem_level
    cdef public object backend
    cdef public DeflateCounts counts
    cdef public bint lost
    cdef public object on_lost
    cdef object _stream
    cdef bytes _last_payload
    cdef bytes _last_shorter

    cpdef compress(self, bytes payload)
    cdef _compress(self, bytes payload)
    cpdef lose(self)
    cdef _tell(self)


@cython.final
cdef class Inflater:
    cdef int _window_bits
    cdef bint _context_takeover
    cdef DeflateCounts _counts
    cdef object _decompressor
    cdef object _stream
    cdef bint _begun
    cdef bint _ended
    cdef bytes _rest

    cpdef decompress(self, bytes data, bint last, long long max_length)
    cdef _decompress(self, bytes data, bint last, long long max_length)
    cdef _count(self, Py_ssize_t size, Py_ssize_t plain_size)
    cdef bint _end_message(self, stream) except -1
