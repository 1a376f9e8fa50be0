cpdef bytes copied(buffer, Py_ssize_t size)
