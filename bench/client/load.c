/* The load client of fastws's benchmarks: one thread, epoll, no dependencies.
 *
 * It opens WebSocket (or HTTP/1.1 keep-alive) connections to one server, works for a bounded time, and prints one line
 * of JSON: messages, seconds, latency, its own CPU time, and the CPU time of the server's processes in the same
 * window (--pid), because on loopback a rate alone often tells what the client can do, not the server.
 *
 * Rules. It must cost less than the server it measures: frames are built once and sent from the same memory, a window
 * of messages is one write, a read is parsed where it lies and payloads are skipped. It must not flatter: payloads are
 * compared byte by byte while warming up, lengths and opcodes always, and any surprise ends it with exit code 1.
 * Work stops and drains before each reading of the server's CPU time, so that what is in flight belongs to no slice.
 *
 * Load is closed: a connection sends its next window when the last one is answered. So latencies describe a server
 * with `connections * window` messages in flight, not one with independent arrivals.
 *
 * Left to bench.py: starting servers, pinning, memory, ratios. See --help for the modes.
 */
#define _GNU_SOURCE
#include "measure.h"
#include "messages.h"
#include "options.h"
#include "tls.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef enum { CONNECTING, SHAKING, HANDSHAKE, OPEN, CLOSING } State;
enum { HEAD_LIMIT = 8192, READ_SIZE = 256 * 1024, MAX_EVENTS = 512 };

typedef struct {
    int fd;
    Tls *tls; /* NULL: in plain */
    State state;
    bool wants_write;
    /* write state: what is left of the message window, or of a small control frame */
    const uint8_t *out;
    size_t out_left;
    uint8_t control[144];
    /* read state: a head (handshake or HTTP response), or a frame */
    char *head;
    size_t head_length;
    uint8_t frame_header[10];
    unsigned header_have;
    uint8_t frame_first;    /* FIN, reserved bits, opcode of the frame that is being read */
    bool in_payload, in_message;
    uint64_t payload_left, message_length;
    uint8_t ping[125];
    size_t ping_length;
    unsigned pending;       /* answers still to come */
    uint64_t began;         /* when the window was written, or the connection begun */
} Connection;

/* state of the run */
static Connection *connections;
static int poller;
static uint8_t *read_buffer;
static bool verifying, running;
static unsigned active, opened, opening, next_to_open;
static uint64_t done, deadline, round_began;
static Histogram *latencies;

/* ---- writing ---- */

static void watch(Connection *c, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
    c->wants_write = write;
}

static void flush(Connection *c) {
    while (c->out_left) {
        ssize_t sent = c->tls ? tls_send(c->tls, c->out, c->out_left) : send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) die("send: %s", strerror(errno));
            break;
        }
        c->out += sent;
        c->out_left -= (size_t)sent;
    }
    if ((c->out_left > 0) != c->wants_write) watch(c, c->out_left > 0);
}

static void send_bytes(Connection *c, const void *bytes, size_t length) {
    if (c->out_left) die("a window was begun while the last was still being written");
    c->out = bytes;
    c->out_left = length;
    flush(c);
}

static void send_control(Connection *c, unsigned opcode, const uint8_t *data, size_t length) {
    uint8_t frame[144];
    size_t total = write_frame(frame, (uint8_t)(0x80 | opcode), data, length);
    if (c->out_left) return; /* in the middle of a window: that window keeps the connection alive as well as a pong */
    memcpy(c->control, frame, total);
    send_bytes(c, c->control, total);
}

static bool more_wanted(uint64_t now) { return running && now < deadline && done < message_limit; }

static void start_window(Connection *c, uint64_t now) {
    c->pending = window;
    c->began = now;
    if (browser) number_heads();
    send_bytes(c, window_bytes, window_length);
    if (browser && c->out_left) die("the heads of another connection would overwrite these");
}

static void start_round(uint64_t now) { /* fanout: a window from the first connection, for all */
    for (unsigned i = 0; i < connection_count; i++) connections[i].pending = window;
    active = connection_count;
    round_began = now;
    send_bytes(&connections[0], window_bytes, window_length);
}

/* ---- connections ---- */

static void open_connection(Connection *c) {
    memset(c, 0, sizeof *c);
    c->began = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (sources > 0 && strncmp(host, "127.", 4) == 0) {
        address.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(c - connections) % (uint32_t)sources);
        if (bind(c->fd, (struct sockaddr *)&address, sizeof address)) die("bind: %s", strerror(errno));
    }
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address: %s", host);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect to %s:%d: %s", host, port, strerror(errno));
    c->wants_write = true;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
    opening++;
}

static void open_more(void) {
    while (next_to_open < connection_count && opening < opening_at_once) open_connection(&connections[next_to_open++]);
}

static void finish_connection(Connection *c, uint64_t now) { /* connect mode: this one has done its work */
    if (c->tls) tls_end(c->tls);
    c->tls = NULL;
    close(c->fd);
    free(c->head);
    done++;
    if (more_wanted(now)) open_connection(c);
    else active--;
}

static void ready(Connection *c) {
    c->state = OPEN;
    opening--;
    opened++;
    if (mode == CONNECT || (mode == IDLE && touch)) {
        c->pending = 1;
        active += mode == IDLE;
        send_bytes(c, one_message, one_length);
    }
    if (mode != CONNECT) open_more();
}

static void on_message(Connection *c, uint64_t now) {
    if (!c->pending--) die("a message that nobody asked for");
    if (mode == CONNECT) {
        histogram_add(latencies, now - c->began);
        c->state = CLOSING;
        send_control(c, CLOSE, (const uint8_t *)"\x03\xe8", 2);
        return;
    }
    if (mode == IDLE) {
        histogram_add(latencies, now - c->began);
        active--;
        return;
    }
    done++;
    histogram_add(latencies, now - (mode == FANOUT ? round_began : c->began));
    if (c->pending) return;
    if (mode == FANOUT) {
        if (!--active && more_wanted(now)) start_round(now);
    } else if (more_wanted(now)) {
        start_window(c, now);
    } else {
        active--;
    }
}

/* ---- reading frames ---- */

static void end_of_frame(Connection *c, uint64_t now) {
    unsigned opcode = c->frame_first & 15;
    if (opcode == PING) send_control(c, PONG, c->ping, c->ping_length);
    if (opcode >= 8) return;
    c->in_message = !(c->frame_first & 0x80);
    if (c->in_message) return;
    if (deflate ? c->message_length == 0 : c->message_length != size)
        die("sent a message of %zu bytes, got one of %llu", size, (unsigned long long)c->message_length);
    on_message(c, now);
}

static void begin_frame(Connection *c) {
    const uint8_t *header = c->frame_header;
    unsigned opcode = header[0] & 15, code = header[1] & 127;
    uint64_t length = code;
    if (header[1] & 128) die("a masked frame from the server");
    if (code == 126) length = (uint64_t)header[2] << 8 | header[3];
    if (code == 127) {
        length = 0;
        for (unsigned i = 2; i < 10; i++) length = length << 8 | header[i];
    }
    if (opcode == CLOSE) {
        if (c->state != CLOSING) die("the server closed the WebSocket");
    } else if (opcode == PING) {
        if (length > sizeof c->ping) die("a ping of %llu bytes", (unsigned long long)length);
        c->ping_length = length;
    } else if (opcode == PONG || opcode > BINARY || (header[0] & (deflate ? 0x30 : 0x70))) {
        die("unexpected frame: first byte 0x%02x", header[0]);
    } else {
        unsigned expected = c->in_message ? CONTINUATION : binary ? BINARY : TEXT;
        if (opcode != expected) die("expected opcode %u, got %u", expected, opcode);
        c->message_length = (c->in_message ? c->message_length : 0) + length;
        if (!deflate && c->message_length > size) die("sent a message of %zu bytes, got more back", size);
    }
    c->frame_first = header[0];
    c->header_have = 0;
    c->payload_left = length;
    c->in_payload = true;
}

static void feed_frames(Connection *c, const uint8_t *data, size_t length, uint64_t now) {
    const uint8_t *end = data + length;
    for (;;) {
        if (!c->in_payload) {
            unsigned need = 2;
            while (c->header_have < need && data < end) {
                c->frame_header[c->header_have++] = *data++;
                if (c->header_have >= 2) {
                    unsigned code = c->frame_header[1] & 127;
                    need = code == 126 ? 4 : code == 127 ? 10 : 2;
                }
            }
            if (c->header_have < need) return;
            begin_frame(c);
        }
        uint64_t take = c->payload_left < (uint64_t)(end - data) ? c->payload_left : (uint64_t)(end - data);
        unsigned opcode = c->frame_first & 15;
        if (opcode == PING) {
            memcpy(c->ping + (c->ping_length - c->payload_left), data, take);
        } else if (verifying && opcode <= BINARY && !deflate) {
            if (memcmp(data, payload + (c->message_length - c->payload_left), take)) die("the payload came back changed");
        }
        data += take;
        c->payload_left -= take;
        if (c->payload_left) return;
        c->in_payload = false;
        end_of_frame(c, now);
    }
}

/* ---- reading heads ---- */
/* Append to the head until its blank line; returns how many of the bytes belong to it, or 0 when more are needed. */
static size_t feed_head(Connection *c, const uint8_t *data, size_t length) {
    if (!c->head) c->head = allocate(HEAD_LIMIT + 1);
    size_t take = HEAD_LIMIT - c->head_length < length ? HEAD_LIMIT - c->head_length : length, before = c->head_length;
    memcpy(c->head + before, data, take);
    c->head_length += take;
    c->head[c->head_length] = 0;
    char *end = memmem(c->head, c->head_length, "\r\n\r\n", 4);
    if (!end) {
        if (c->head_length == HEAD_LIMIT) die("a response head of over %d bytes", HEAD_LIMIT);
        return 0;
    }
    size_t head_length = (size_t)(end - c->head) + 4;
    c->head[head_length] = 0;
    return head_length - before;
}

static void feed_responses(Connection *c, const uint8_t *data, size_t length, uint64_t now) {
    while (length) {
        if (!c->in_payload) {
            size_t used = feed_head(c, data, length);
            if (!used) return;
            if (strncmp(c->head, "HTTP/1.1 200 ", 13)) die("not a 200: %.60s", c->head);
            const char *field = strcasestr(c->head, "\r\ncontent-length:");
            if (!field) die("a response without Content-Length");
            c->payload_left = strtoull(field + 17, NULL, 10);
            if (post && c->payload_left != size) die("sent a body of %zu bytes, got one of %s", size, field + 17);
            c->head_length = 0;
            c->in_payload = true;
            data += used;
            length -= used;
        }
        size_t take = c->payload_left < length ? c->payload_left : length;
        if (post && verifying && memcmp(data, payload + size - c->payload_left, take)) die("the body came back changed");
        data += take;
        length -= take;
        c->payload_left -= take;
        if (c->payload_left) return;
        c->in_payload = false;
        on_message(c, now);
    }
}

static void feed_handshake(Connection *c, const uint8_t *data, size_t length, uint64_t now) {
    size_t used = feed_head(c, data, length);
    if (!used) return;
    if (strncmp(c->head, "HTTP/1.1 101 ", 13)) die("the upgrade was refused: %.200s", c->head);
    if (!strstr(c->head, ACCEPT)) die("a wrong Sec-WebSocket-Accept: %s", c->head);
    bool agreed = strcasestr(c->head, "\r\nsec-websocket-extensions:") != NULL;
    if (agreed != deflate) die("permessage-deflate %s: %s", deflate ? "was declined" : "was not offered", c->head);
    free(c->head);
    c->head = NULL;
    ready(c);
    feed_frames(c, data + used, length - used, now);
}

static void connected(Connection *c) {
    if (mode == HTTP) {
        watch(c, false);
        ready(c);
        return;
    }
    c->state = HANDSHAKE;
    c->out = (const uint8_t *)request;
    c->out_left = request_length;
    flush(c);
}

static void shake(Connection *c) {
    if (tls_shake(c->tls)) connected(c);
    else if (errno != EAGAIN) die("TLS: %s", strerror(errno));
    else if (c->wants_write) watch(c, false);
}

static void on_readable(Connection *c) {
    if (c->state == SHAKING) {
        shake(c);
        return;
    }
    ssize_t length = c->tls ? tls_receive(c->tls, read_buffer, READ_SIZE) : recv(c->fd, read_buffer, READ_SIZE, 0);
    uint64_t now = now_ns();
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        if (c->state == CLOSING && length == 0) {
            finish_connection(c, now);
            return;
        }
        die("the server closed a connection: %s", length ? strerror(errno) : "end of file");
    }
    if (mode == HTTP) feed_responses(c, read_buffer, (size_t)length, now);
    else if (c->state == HANDSHAKE) feed_handshake(c, read_buffer, (size_t)length, now);
    else feed_frames(c, read_buffer, (size_t)length, now);
    if (c->tls && c->state != CONNECTING && tls_has_more(c->tls)) on_readable(c); /* of which epoll knows nothing */
}

static void on_writable(Connection *c) {
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) die("connect to %s:%d: %s", host, port, strerror(error));
        if (!tls) {
            connected(c);
            return;
        }
        c->tls = tls_begin(c->fd);
        c->state = SHAKING;
    }
    if (c->state == SHAKING) shake(c);
    else flush(c);
}

static bool turn(void) { /* false: standard input was closed */
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(poller, events, MAX_EVENTS, 1000);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        Connection *c = events[i].data.ptr;
        if (!c) {
            char byte;
            if (read(STDIN_FILENO, &byte, 1) <= 0) return false;
            continue;
        }
        if (events[i].events & EPOLLOUT) on_writable(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
    return true;
}

/* ---- the run ---- */
static Spent server_spent(void) {
    struct timespec settle = {.tv_nsec = 3000000}; /* let the server go back to sleep: its account is exact then */
    nanosleep(&settle, NULL);
    Spent total = {0};
    for (int i = 0; i < pid_count; i++) add_spent(&total, pids[i]);
    return total;
}

static Spent own_spent(void) {
    Spent spent = {0};
    add_spent(&spent, getpid());
    return spent;
}

static void work(double seconds) { /* until the time or the count is over, and everything in flight is answered */
    uint64_t now = now_ns();
    done = 0;
    memset(latencies, 0, sizeof *latencies);
    deadline = now + (uint64_t)(seconds * 1e9);
    running = true;
    if (mode == FANOUT) {
        start_round(now);
    } else {
        active = connection_count;
        for (unsigned i = 0; i < connection_count; i++) {
            if (mode == CONNECT) open_connection(&connections[i]);
            else start_window(&connections[i], now);
        }
    }
    while (active) turn();
    running = false;
}

static double quantile_us(double quantile) { return (double)histogram_quantile(latencies, quantile) / 1e3; }

static void hold(double seconds) { /* idle: say so, then answer pings until standard input is closed */
    printf("{\"mode\": \"idle\", \"open\": %u, \"seconds\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n", opened,
           seconds, quantile_us(0.5), quantile_us(0.99), (double)latencies->maximum / 1e3);
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event)) die("idle needs a pipe as its standard input");
    while (turn()) {}
}

static void measure(void) {
    verifying = true;
    if (warmup > 0) work(warmup);
    verifying = false;
    Spent server = server_spent(), own = own_spent();
    uint64_t own_cpu = own_cpu_ns(), began = now_ns();
    work(duration);
    double elapsed = (double)(now_ns() - began), client = (double)(own_cpu_ns() - own_cpu), messages = (double)done;
    Spent server_after = server_spent(), own_after = own_spent();
    double cpu = (double)(server_after.on_cpu - server.on_cpu);
    if (!done) die("nothing was answered");
    printf("{\"mode\": \"%s\", \"connections\": %u, \"window\": %u, \"size\": %zu, \"messages\": %.0f, \"seconds\": %.6f, "
           "\"per_second\": %.1f, ", MODE_NAMES[mode], connection_count, window, size, messages, elapsed / 1e9,
           messages / elapsed * 1e9);
    printf("\"server_us\": %.4f, \"server_utilisation\": %.4f, \"server_waited\": %.4f, ", cpu / 1e3 / messages, cpu / elapsed,
           (double)(server_after.waited - server.waited) / elapsed);
    printf("\"client_us\": %.4f, \"client_utilisation\": %.4f, \"client_waited\": %.4f, ", client / 1e3 / messages,
           client / elapsed, (double)(own_after.waited - own.waited) / elapsed);
    printf("\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f}\n", quantile_us(0.5), quantile_us(0.99),
           quantile_us(0.999), (double)latencies->maximum / 1e3);
}

static void on_alarm(int number) {
    (void)number;
    static const char text[] = "load: no end in time: the server has stopped answering\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    signal(SIGALRM, on_alarm);
    alarm(timeout_seconds);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    poller = epoll_create1(EPOLL_CLOEXEC);
    connections = allocate(connection_count * sizeof *connections);
    latencies = allocate(sizeof *latencies);
    read_buffer = allocate(READ_SIZE);
    build_request();
    build_messages();
    uint64_t began = now_ns();
    if (mode != CONNECT) {
        open_more();
        while (opened < connection_count || active) turn();
    }
    if (mode == IDLE) alarm(600);
    if (mode == IDLE) {
        hold((double)(now_ns() - began) / 1e9);
        return 0;
    }
    measure();
    if (second_window) { /* on the same connections: opening thousands takes longer than measuring */
        window = second_window;
        build_messages();
        measure();
    }
    return 0;
}
