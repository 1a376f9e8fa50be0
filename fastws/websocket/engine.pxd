cdef class Engine:
    cdef public object deflater
    cdef public bytes rest

    cpdef list receive_data(self, data)
    cpdef list receive_from(self, buffer, Py_ssize_t size)
    cdef Py_ssize_t wanted(self) except -1
    cdef size_t place(self) except 0
    cdef list receive_placed(self, Py_ssize_t size)
    cpdef Py_ssize_t send_text(self, text) except -1
    cpdef Py_ssize_t send_bytes(self, data) except -1
    cpdef Py_ssize_t append_frame(self, bytes frame) except -1
    cpdef list data_to_send(self)
