cimport cython


@cython.final
cdef class Outgoing:
    cdef public object message
    cdef public object key
    cdef bytes _payload
    cdef public Py_ssize_t size
    cdef bytes _plain

    cpdef bytes build(self, deflater)


@cython.final
cdef class Frames:
    cdef public bytes frame
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef tuple _pairs
    cdef Frames _next
    cdef list _chunks

    @cython.locals(following=Frames)
    cpdef Frames then(self, bytes frame)
    @cython.locals(pairs=tuple)
    cpdef list chunks(self)
    cdef bint is_full(self)
    cpdef cut(self)


@cython.final
cdef class Kind:
    cdef object _deflater
    cdef public Frames root
    cdef Outgoing _last
    cdef bytes _frame

    cpdef bytes frame_of(self, Outgoing message)
    cpdef forget(self)
