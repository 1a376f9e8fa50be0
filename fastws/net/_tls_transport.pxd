from fastws.net._transport cimport SocketTransport


cdef class TlsPipes:
    cdef object incoming  # ssl.MemoryBIO: what came from a peer, for OpenSSL
    cdef object outgoing  # ssl.MemoryBIO: what OpenSSL has for a peer
    cdef object put  # incoming.write
    cdef object take  # outgoing.read
    cdef object handshakes  # fastws.net.handshakes.Handshakes


cdef class TlsTransport(SocketTransport):
    cdef TlsPipes pipes
    cdef object ssl_object  # ssl.SSLObject, or None as long as no TLS is spoken
    cdef object ssl  # the same as C has it
    cdef object waiter  # a future of the handshake, where somebody has asked for it
    cdef bint shaking  # the handshake is under way
    cdef bint ended_tls  # our close_notify is made
    cdef bytes plain  # what was decrypted before our end was sent and is not handed on yet, or None
    cdef bytes held  # what came and is not decrypted yet, or None; b"": all of it is in OpenSSL
    cdef bytes sealed  # what is encrypted and not sent yet, or None
    cdef Py_ssize_t sealed_sent

    cdef shake(self)
    cdef shaken(self, error)
    cdef take_records(self)
    cdef bint hand_on(self) except -1
    cdef Py_ssize_t decrypt(self, Py_ssize_t size, view) except? -1
    cdef hold(self)
    cdef flush(self)
    cdef seal_some(self)
    cdef bint send_sealed(self) except -1
    cdef bint say_goodbye(self) except -1
    cdef bytes spare(self)
