/* The floor of the benchmarks: an echo server of bare epoll, as little as can answer the load client. `floor PORT`.
 *
 * What this costs is the kernel's share and the unmasking; no server in any language is cheaper on this interface.
 * It is no server: it believes whatever it is told, has no limits, and knows one Sec-WebSocket-Key. It serves what
 * apps.py serves: an echo, a message to all on /fanout, 13 bytes over HTTP or a body that came.
 */
#define _GNU_SOURCE
#include "measure.h"
#include "wire.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, MAX_EVENTS = 512, MAX_MEMBERS = 65536 };

typedef struct {
    int fd;
    bool open, fanout, leaving;
    size_t member;          /* its place among the members, when it is one */
    uint8_t *in;            /* the beginning of a frame or of a head whose rest has not come */
    size_t in_length, in_size;
    uint8_t *out;           /* what the kernel did not take */
    size_t out_length, out_at;
} Connection;

static int poller;
static uint8_t read_buffer[READ_SIZE], *answer;
static size_t answer_length, answer_size;
static Connection *members[MAX_MEMBERS];
static size_t member_count;

static const char HELLO[] = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\r\nHello, world!";

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) die("out of memory for %zu bytes", bytes);
    return memory;
}

static void watch(Connection *c, int operation, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void drop(Connection *c) {
    if (c->fanout) {
        members[c->member] = members[--member_count];
        members[c->member]->member = c->member;
    }
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

/* Give bytes to the kernel; what it does not take is kept until it does. */
static void give(Connection *c, const uint8_t *data, size_t length) {
    ssize_t sent = 0;
    if (!c->out_length) {
        sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return; /* it is gone: the read will tell */
        if (sent < 0) sent = 0;
        if ((size_t)sent == length) return;
        watch(c, EPOLL_CTL_MOD, true);
        if (data == answer && !c->fanout) { /* the rest stays where it is */
            c->out = answer;
            c->out_at = (size_t)sent;
            c->out_length = length;
            answer = NULL;
            answer_size = 0;
            return;
        }
    }
    size_t rest = length - (size_t)sent;
    c->out = grown(c->out, c->out_length + rest);
    memcpy(c->out + c->out_length, data + sent, rest);
    c->out_length += rest;
}

static void give_more(Connection *c) {
    ssize_t sent = send(c->fd, c->out + c->out_at, c->out_length - c->out_at, MSG_NOSIGNAL);
    if (sent > 0) c->out_at += (size_t)sent;
    if (c->out_at < c->out_length) return;
    free(c->out);
    c->out = NULL;
    c->out_length = c->out_at = 0;
    watch(c, EPOLL_CTL_MOD, false);
}

/* ---- frames ---- */

static void append_frame(uint8_t first, const uint8_t *masked, const uint8_t *mask, size_t length) {
    if (answer_size < answer_length + length + 10) {
        answer_size = answer_length + length + 10 + READ_SIZE;
        answer = grown(answer, answer_size);
    }
    uint8_t *to = answer + answer_length;
    *to++ = first;
    if (length < 126) {
        *to++ = (uint8_t)length;
    } else {
        unsigned width = length < 65536 ? 2 : 8;
        *to++ = width == 2 ? 126 : 127;
        for (unsigned i = width; i--;) *to++ = (uint8_t)(length >> (8 * i));
    }
    uint32_t mask4;
    memcpy(&mask4, mask, 4);
    uint64_t mask8 = (uint64_t)mask4 << 32 | mask4, word;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, masked + i, 8);
        word ^= mask8;
        memcpy(to + i, &word, 8);
    }
    for (; i < length; i++) to[i] = masked[i] ^ mask[i & 3];
    answer_length = (size_t)(to - answer) + length;
}

/* Answer the frames that are complete; returns the bytes they took. */
static size_t take_frames(Connection *c, const uint8_t *data, size_t length) {
    size_t used = 0;
    answer_length = 0;
    for (;;) {
        const uint8_t *frame = data + used;
        size_t left = length - used, head = 6;
        if (left < head) break;
        uint64_t size = frame[1] & 127;
        if (size >= 126) {
            unsigned width = size == 126 ? 2 : 8;
            head += width;
            if (left < head) break;
            size = 0;
            for (unsigned i = 0; i < width; i++) size = size << 8 | frame[2 + i];
        }
        if (left - head < size) break;
        c->leaving = (frame[0] & 15) == CLOSE;
        if ((frame[0] & 15) != PONG) append_frame(frame[0], frame + head, frame + head - 4, size);
        used += head + size;
    }
    if (answer_length && c->fanout && !c->leaving)
        for (size_t i = 0; i < member_count; i++) give(members[i], answer, answer_length);
    else if (answer_length) give(c, answer, answer_length);
    return used;
}

/* ---- heads ---- */

static void give_body(Connection *c, const uint8_t *body, size_t size) {
    static char head[128];
    int written = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", size);
    answer = grown(answer, (size_t)written + size);
    answer_size = (size_t)written + size;
    memcpy(answer, head, (size_t)written);
    memcpy(answer + written, body, size);
    give(c, answer, answer_size);
}

static size_t take_heads(Connection *c, const uint8_t *data, size_t length) {
    size_t used = 0;
    for (;;) {
        const uint8_t *end = memmem(data + used, length - used, "\r\n\r\n", 4);
        if (!end) return used;
        const uint8_t *head = data + used;
        size_t body = (size_t)(end - data) + 4;
        if (!strncmp((const char *)head, "POST ", 5)) {
            const char *field = memmem(head, (size_t)(end - head), "Content-Length: ", 16);
            size_t size = field ? strtoull(field + 16, NULL, 10) : 0;
            if (length - body < size) return used;
            give_body(c, data + body, size);
            used = body + size;
            continue;
        }
        used = body;
        if (!memmem(head, (size_t)(end - head), KEY, sizeof KEY - 1)) {
            give(c, (const uint8_t *)HELLO, sizeof HELLO - 1);
            continue;
        }
        static char upgrade[256];
        int written = snprintf(upgrade, sizeof upgrade, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", ACCEPT);
        c->open = true;
        c->fanout = !strncmp((const char *)head, "GET /fanout ", 12);
        if (c->fanout) {
            if (member_count == MAX_MEMBERS) die("at most %d members", MAX_MEMBERS);
            c->member = member_count;
            members[member_count++] = c;
        }
        give(c, (const uint8_t *)upgrade, (size_t)written);
        return used;
    }
}

/* Room for the whole of the frame that has begun, and a little more. */
static size_t wanted(const Connection *c) {
    uint64_t size = 0;
    if (c->open && c->in_length >= 10 && (c->in[1] & 127) == 127)
        for (unsigned i = 2; i < 10; i++) size = size << 8 | c->in[i];
    return size + READ_SIZE;
}

static void on_readable(Connection *c) {
    uint8_t *data = read_buffer;
    size_t room = READ_SIZE;
    if (c->in_length) {
        if (c->in_size - c->in_length < READ_SIZE / 4) {
            c->in_size = wanted(c) > c->in_size ? wanted(c) : 2 * c->in_size;
            c->in = grown(c->in, c->in_size);
        }
        data = c->in + c->in_length;
        room = c->in_size - c->in_length;
    }
    ssize_t got = recv(c->fd, data, room, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(c);
        return;
    }
    size_t length = c->in_length + (size_t)got, used = 0;
    if (c->in_length) data = c->in;
    if (!c->open) used = take_heads(c, data, length);
    if (c->open) used += take_frames(c, data + used, length - used);
    if (c->leaving) {
        drop(c);
        return;
    }
    size_t rest = length - used;
    if (rest && data == read_buffer) {
        c->in_size = rest + READ_SIZE;
        c->in = grown(NULL, c->in_size);
        memcpy(c->in, data + used, rest);
    } else if (rest) {
        memmove(c->in, data + used, rest);
    } else {
        free(c->in);
        c->in = NULL;
    }
    c->in_length = rest;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = grown(NULL, sizeof *c);
        memset(c, 0, sizeof *c);
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, false);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) die("usage: floor PORT");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* memory of large messages is used again, not given back and faulted in */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        die("port %s: %s", argv[1], strerror(errno));
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            Connection *c = events[i].data.ptr;
            if (!c) accept_all(listener);
            else if (events[i].events & EPOLLOUT) give_more(c);
            else on_readable(c);
        }
    }
}
