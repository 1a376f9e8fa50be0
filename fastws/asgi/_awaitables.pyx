# cython: language_level=3, nonecheck=False, auto_pickle=False, autotestdict=False
"""`receive` and `send` of a call without a native coroutine for each call of them, for Python 3.10 and 3.11.

There a native coroutine is an object with a frame of its own, that the interpreter enters through C, and a message takes
two of them: a quarter of all its instructions. Later interpreters run them without leaving their loop; these have the
coroutines of application.py, as an install without a compiler has.

To whoever calls or awaits them they are the same. The functions are coroutine functions (Cython's own, which do the work
where they are called in an unusual way, but whose call is taken over here), and what they return is a coroutine: nothing
happens before it is awaited, it can be made a task, closed, thrown into, and is missed where nobody awaits it.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from types import CoroutineType

cimport cython

from fastws.asgi.http_cycle cimport HttpCycle
from fastws.asgi.session cimport Session
from fastws.asgi.waiting cimport Waiting

from fastws.asgi.responder import plain_event

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        pass
    ctypedef object (*vectorcallfunc)(PyObject *, PyObject **, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    int PyErr_WarnFormat(object, Py_ssize_t, const char *, ...) except -1

cdef extern from *:
    """
    /* The function's own vectorcall, NULL where it has none that could be taken over. */
    static vectorcallfunc fastws_replace_call(PyObject *function, void *with) {
        PyTypeObject *type = Py_TYPE(function);
        vectorcallfunc *place, before;
        if (!PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL) || type->tp_vectorcall_offset <= 0) return NULL;
        if (PyVectorcall_Function(function) == NULL) return NULL;
        place = (vectorcallfunc *)((char *)function + type->tp_vectorcall_offset);
        before = *place;
        *place = (vectorcallfunc)with;
        return before;
    }
    static int fastws_set_am_send(PyTypeObject *type, void *with) {
        if (type->tp_as_async == NULL) return 0;
        type->tp_as_async->am_send = (sendfunc)with;
        return 1;
    }
    """
    vectorcallfunc fastws_replace_call(object, void *)
    bint fastws_set_am_send(PyTypeObject *, void *)

cdef enum Stage:
    DONE  # as is one that was made by no call
    NEW
    WAITING

cdef enum:
    RETURNED = 0  # PYGEN_RETURN
    YIELDED = 1  # PYGEN_NEXT


@cython.final
@cython.freelist(64)
cdef class _Step:
    """One call of `receive` or `send`: a coroutine to all who ask (an instance of `types.CoroutineType`, even)."""

    cdef Session session  # one of these two
    cdef HttpCycle cycle
    cdef object event  # to be sent; of no meaning where it receives
    cdef object future  # what it waits in
    cdef Waiting waiting  # whose future that is, if one has it
    cdef Stage stage
    cdef bint receives

    def __dealloc__(self):
        if self.stage == NEW:
            PyErr_WarnFormat(RuntimeWarning, 1, b"coroutine '%s.%s' was never awaited", self.owner(), self.verb())

    cdef inline const char *verb(self) noexcept:
        return b"receive" if self.receives else b"send"

    cdef inline const char *owner(self) noexcept:
        return b"HttpCall" if self.session is None else b"WebSocketCall"

    cdef int go_on(self, PyObject **result) except -1:
        """Go on until it waits, for `result`, or is done, with `result`; which of both."""
        cdef Stage stage = self.stage
        self.stage = DONE
        if stage == DONE:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if self.receives:
            return self.receive(result) if self.session is not None else self.receive_request(result)
        if stage == WAITING:
            self.future.result()
            return give(None, RETURNED, result)
        return self.begin_to_send(result)

    cdef int receive(self, PyObject **result) except -1:
        cdef object found
        if self.waiting is not None:
            self.waiting.busy = False
            self.waiting = None
        found = self.session._next_event()
        if found is not None:
            return give(found, RETURNED, result)
        found = self.session._wait_for_event()
        if type(found) is Waiting:
            self.waiting = found
            self.waiting.busy = True
            found = self.waiting.future
        return self.wait(found, result)

    cdef int receive_request(self, PyObject **result) except -1:
        cdef object found = self.cycle._next_event()
        if found is not None:
            return give(found, RETURNED, result)
        return self.wait(self.cycle.wait_for_event(), result)

    cdef int begin_to_send(self, PyObject **result) except -1:
        cdef object waiter
        cdef dict event = <dict>self.event if type(self.event) is dict else plain_event(self.event)
        if self.session is not None:
            waiter = self.session._send_event(event)
        else:
            waiter = self.cycle._send_event(event)
        if waiter is None:
            return give(None, RETURNED, result)
        return self.wait(waiter, result)

    cdef int wait(self, object future, PyObject **result) except -1:
        future._asyncio_future_blocking = True  # what a task asks of a future that it is to wait in
        self.future = future
        self.stage = WAITING
        return give(future, YIELDED, result)

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """As a coroutine's."""
        cdef PyObject *result
        cdef int how = self.go_on(&result)
        cdef object given = <object>result
        Py_DECREF(given)
        if how == YIELDED:
            return given
        raise StopIteration(given)

    def throw(self, kind, value=None, traceback=None):
        """As a coroutine's, which lets everything pass."""
        self.stage = DONE
        error = kind if value is None else value
        if isinstance(error, type):
            error = error()
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self):
        """As a coroutine's."""
        self.stage = DONE

    @property
    def __class__(self):
        return CoroutineType

    @property
    def __name__(self):
        return self.verb().decode()

    @property
    def __qualname__(self):
        return f"{self.owner().decode()}.{self.verb().decode()}"

    @property
    def cr_await(self):
        return self.future if self.stage == WAITING else None

    @property
    def cr_running(self):
        return False

    @property
    def cr_suspended(self):
        return self.stage == WAITING

    @property
    def cr_frame(self):
        return None


cdef inline int give(object value, int how, PyObject **result) noexcept:
    Py_INCREF(value)
    result[0] = <PyObject *>value
    return how


cdef int send_step(object self, object value, PyObject **result) except -1:
    return (<_Step>self).go_on(result)


if not fastws_set_am_send(<PyTypeObject *>_Step, <void *>send_step):
    raise ImportError("the class of these coroutines is none to the interpreter")


async def receive(self):
    """ASGI: the next event for the application."""
    event = self.next_event()
    while event is None:
        await self.wait_for_event()
        event = self.next_event()
    return event


async def send(self, event):
    """ASGI: send `event`; returns when the peer reads fast enough for more."""
    waiter = self.send_event(event)
    if waiter is not None:
        await waiter


cdef vectorcallfunc call_receive
cdef vectorcallfunc call_send


cdef _Step step_of(PyObject **arguments, size_t count, PyObject *names, Py_ssize_t usual):
    """A step that has not begun; None where it is not called with `usual` arguments, of which the first has its steps."""
    cdef _Step step
    cdef object call
    cdef bint of_session
    if names != NULL or PyVectorcall_NARGS(count) != usual:
        return None
    call = <object>arguments[0]
    of_session = isinstance(call, Session)
    if not of_session and not isinstance(call, HttpCycle):
        return None
    step = _Step.__new__(_Step)
    step.stage = NEW
    if of_session:
        step.session = <Session>call
    else:
        step.cycle = <HttpCycle>call
    return step


cdef object begin_receive(PyObject *function, PyObject **arguments, size_t count, PyObject *names):
    cdef _Step step = step_of(arguments, count, names, 1)
    if step is None:
        return call_receive(function, arguments, count, names)
    step.receives = True
    return step


cdef object begin_send(PyObject *function, PyObject **arguments, size_t count, PyObject *names):
    cdef _Step step = step_of(arguments, count, names, 2)
    if step is None:
        return call_send(function, arguments, count, names)
    step.event = <object>arguments[1]
    return step


call_receive = fastws_replace_call(receive, <void *>begin_receive)
call_send = fastws_replace_call(send, <void *>begin_send)
if call_receive == NULL or call_send == NULL:
    raise ImportError("functions of this build of Cython's have no call that can be taken over")
