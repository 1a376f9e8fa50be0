cpdef Py_ssize_t text_size(str text) except -1
