cpdef bytes frame_head(int kind, int flags, long long stream_id, Py_ssize_t size)
cpdef bytes frame(int kind, int flags, long long stream_id, bytes payload)
