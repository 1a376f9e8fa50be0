# cython: language_level=3, auto_pickle=False, autotestdict=False
"""How many bytes a text has as UTF-8, without making them: what compiled modules take for `fastws.websocket.text_size`."""

from libc.stdint cimport uint32_t


cdef extern from "Python.h":
    bint is_ascii "PyUnicode_IS_ASCII"(object)
    Py_ssize_t text_length "PyUnicode_GET_LENGTH"(object)
    int text_kind "PyUnicode_KIND"(object)
    void *text_data "PyUnicode_DATA"(object)
    uint32_t read_code "PyUnicode_READ"(int, void *, Py_ssize_t)


cpdef Py_ssize_t text_size(str text) except -1:
    cdef Py_ssize_t size
    cdef Py_ssize_t i
    cdef uint32_t code
    cdef int kind
    cdef void *data
    if text is None:
        raise TypeError("text must be str, not NoneType")
    size = text_length(text)
    if is_ascii(text):
        return size
    kind = text_kind(text)
    data = text_data(text)
    for i in range(size):
        code = read_code(kind, data, i)
        size += (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    return size
