/* TLS of the load client, by OpenSSL where its headers are: a client that believes any certificate. */
#ifndef FASTWS_BENCH_TLS_H
#define FASTWS_BENCH_TLS_H

#include "measure.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#if __has_include(<openssl/ssl.h>)
#include <openssl/err.h>
#include <openssl/ssl.h>

typedef SSL Tls;
static SSL_CTX *tls_context;

static Tls *tls_begin(int fd) {
    if (!tls_context) {
        tls_context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_read_ahead(tls_context, 1); /* one read for many records */
    }
    SSL *tls = SSL_new(tls_context);
    if (!tls || !SSL_set_fd(tls, fd)) die("no TLS");
    SSL_set_connect_state(tls);
    return tls;
}

/* As send(2) and recv(2): -1 with EAGAIN where the socket must be ready first, 0 at the end. */
static ssize_t tls_result(Tls *tls, int result) {
    if (result > 0) return result;
    int error = SSL_get_error(tls, result);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    if (error == SSL_ERROR_SYSCALL) return errno ? -1 : 0;
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) die("TLS: %s", ERR_reason_error_string(ERR_get_error()));
    errno = EAGAIN;
    return -1;
}

static bool tls_shake(Tls *tls) { return tls_result(tls, SSL_do_handshake(tls)) > 0; } /* false: not yet */
static ssize_t tls_send(Tls *tls, const void *data, size_t size) { return tls_result(tls, SSL_write(tls, data, (int)size)); }
static ssize_t tls_receive(Tls *tls, void *data, size_t size) { return tls_result(tls, SSL_read(tls, data, (int)size)); }
static bool tls_has_more(Tls *tls) { return SSL_has_pending(tls); }
static void tls_end(Tls *tls) { SSL_free(tls); }

#else

typedef void Tls;
static Tls *tls_begin(int fd) { (void)fd; die("--tls needs OpenSSL's headers where the client is compiled"); }
static bool tls_shake(Tls *tls) { return tls != NULL; }
static ssize_t tls_send(Tls *tls, const void *data, size_t size) { return tls && data ? (ssize_t)size : 0; }
static ssize_t tls_receive(Tls *tls, void *data, size_t size) { return tls && data ? (ssize_t)size : 0; }
static bool tls_has_more(Tls *tls) { return tls != NULL; }
static void tls_end(Tls *tls) { (void)tls; }

#endif
#endif
