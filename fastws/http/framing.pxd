from fastws.http.response_head cimport ResponseHead


cpdef tuple frame_response(str method, str http_version, bint keep_alive, ResponseHead response, body_length=*)
cpdef bytes encode_chunk(data)


cdef object _NONE
cdef object _LENGTH
cdef object _CHUNKED
cdef object _CLOSE
