import cython


@cython.locals(end=Py_ssize_t)
cpdef Py_ssize_t scan_head(buffer, Py_ssize_t start=*, limits=*) except? -2


@cython.locals(line=bytes)
cpdef tuple read_request_line(bytes head)
