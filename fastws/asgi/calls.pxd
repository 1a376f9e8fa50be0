import cython

from fastws.asgi.http_cycle cimport HttpCycle
from fastws.asgi.scopes cimport Scopes
from fastws.asgi.session cimport Session
from fastws.net.channel cimport Handler
from fastws.net.http_handler cimport Exchange, Gateway, HttpHandler
from fastws.http.head cimport RequestHead
from fastws.net.loop_core cimport LoopCore, Resumable


cdef class Calls(Gateway):
    cdef public object _app
    cdef Scopes _scopes
    cdef object _http_call
    cdef object _http2_call
    cdef object _websocket_call
    cdef object _observer
    cdef object _http_observer
    cdef bint _eager
    cdef bint _goes_on
    cdef Py_ssize_t _requests
    cdef LoopCore _shared
    cdef dict _task_options

    @cython.locals(call=HttpCycle)
    cdef Exchange exchange(self, HttpHandler http, RequestHead head)
    @cython.locals(call=Session, run=Run)
    cdef Handler websocket(self, HttpHandler http, RequestHead head, upgrade, bytes early_data)
    @cython.locals(run=Run)
    cdef Run _run(self, dict scope, call)
    cdef _start(self, Run run)
    @cython.locals(cycle=HttpCycle)
    cdef begin(self, Run run)
    cdef _end_http(self, HttpCycle call, dict scope, error)
    cdef _end_websocket(self, Session call, dict scope, error)
    cdef _end(self, task)
    cdef _log_error(self, error, dict scope)
    cdef _log(self, str message, dict scope, error=*)


cdef class Run(Resumable):
    cdef Calls _calls
    cdef dict _scope
    cdef object _call
    cdef object _coroutine
    cdef Session session
    cdef object context
    cdef object _future
    cdef bint _straight
    cdef bint _ahead
    cdef object _result
    cdef object _error
    cdef bint _withdrawn
    cdef object _message

    cdef _prepare(self, Calls calls, dict scope, call)
    cdef resume(self)
    cdef bint goes_on(self) noexcept
    cdef drop(self)
    cdef _park(self, Session session, result)
    cdef _catch_up(self, error)
    cdef _ended(self, error)
    cdef _step(self, value, error)
    cdef _begin(self)
    cdef _end(self, error)


cdef bint EAGER
cdef bint WITHDRAWS
cdef bint NAMED
cdef object WEBSOCKET_NAME
cdef object Task
cdef object ENDED
cdef object DONE
cdef object CLOSING
cdef object CLOSED
