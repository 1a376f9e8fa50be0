/* The load client's command line: what may be asked, its defaults, and the help text. */
#ifndef FASTWS_BENCH_OPTIONS_H
#define FASTWS_BENCH_OPTIONS_H

#include "measure.h"

#include <getopt.h>
#include <stdbool.h>
#include <string.h>

enum { MAX_PIDS = 64 };
typedef enum { ECHO, FANOUT, IDLE, CONNECT, HTTP } Mode;
static const char *const MODE_NAMES[] = {"echo", "fanout", "idle", "connect", "http"};

static Mode mode = ECHO;
static const char *host = "127.0.0.1", *path = "/", *payload_file;
static int port, sources = 16, pids[MAX_PIDS], pid_count;
static unsigned connection_count = 64, window = 1, second_window, opening_at_once = 128;
static size_t size = 64;
static uint64_t message_limit = UINT64_MAX;
static double duration = 1.0, warmup = 0.2;
static bool binary, deflate, tls, touch = true, browser, post;
static unsigned timeout_seconds;

static const char USAGE[] =
    "usage: load --port PORT [options]\n"
    "  --mode echo|fanout|idle|connect|http   echo: windows of messages, each answered by itself; fanout: a window from\n"
    "                 the first connection, answered to all; idle: open, echo once, hold until standard input is closed;\n"
    "                 connect: new connections, each with one echo and a close handshake; http: keep-alive GETs\n"
    "  --browser      http: a browser's heads, no two of which are the same\n"
    "  --post         http: each request has a body of --size bytes of JSON, which is to come back\n"
    "  --host ADDRESS (127.0.0.1)  --path PATH (/)  --sources N   client addresses 127.0.0.2 and on (16; 0: any)\n"
    "  --connections N (64)  --window N   messages in flight on each connection (1)\n"
    "  --second-window N   do it all again with this window, on the same connections; prints a second line\n"
    "  --size BYTES (64)  --binary   binary messages of random bytes instead of text of ASCII letters\n"
    "  --deflate --payload FILE   offer permessage-deflate and send these, already compressed (without their last\n"
    "                 00 00 ff ff), each behind its length as 4 bytes\n"
    "  --tls          over TLS; any certificate will do\n"
    "  --opening N    connections that are opened at a time (128)\n"
    "  --seconds S (1)  --messages N   stop at whichever comes first  --warmup S (0.2)  --no-touch   idle: without an echo\n"
    "  --pid PID      a process of the server (repeatable): its CPU time is reported\n"
    "  --timeout S    fail when the whole run takes longer (60); idle: when opening does, and holding ends after 600\n";

static Mode mode_named(const char *name) {
    for (int i = 0; i < 5; i++) if (!strcmp(name, MODE_NAMES[i])) return (Mode)i;
    die("unknown mode %s", name);
}

static void parse_options(int argc, char **argv) {
    static const struct option options[] = {
        {"mode", 1, 0, 'm'}, {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"sources", 1, 0, 'S'},
        {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'}, {"size", 1, 0, 's'}, {"binary", 0, 0, 'b'},
        {"deflate", 0, 0, 'd'}, {"payload", 1, 0, 'f'}, {"seconds", 1, 0, 't'}, {"messages", 1, 0, 'n'},
        {"warmup", 1, 0, 'u'}, {"no-touch", 0, 0, 'N'}, {"pid", 1, 0, 'i'}, {"timeout", 1, 0, 'T'}, {"opening", 1, 0, 'o'},
        {"second-window", 1, 0, 'W'}, {"browser", 0, 0, 'B'}, {"post", 0, 0, 'O'}, {"tls", 0, 0, 'L'},
        {"help", 0, 0, 'H'}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'm': mode = mode_named(optarg); break;
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'P': path = optarg; break;
        case 'S': sources = atoi(optarg); break;
        case 'c': connection_count = (unsigned)atoi(optarg); break;
        case 'w': window = (unsigned)atoi(optarg); break;
        case 'W': second_window = (unsigned)atoi(optarg); break;
        case 's': size = (size_t)atoll(optarg); break;
        case 'b': binary = true; break;
        case 'd': deflate = true; break;
        case 'L': tls = true; break;
        case 'f': payload_file = optarg; break;
        case 't': duration = atof(optarg); break;
        case 'n': message_limit = (uint64_t)atoll(optarg); break;
        case 'u': warmup = atof(optarg); break;
        case 'N': touch = false; break;
        case 'B': browser = true; break;
        case 'O': post = true; break;
        case 'o': opening_at_once = (unsigned)atoi(optarg); break;
        case 'i':
            if (pid_count == MAX_PIDS) die("at most %d processes", MAX_PIDS);
            pids[pid_count++] = atoi(optarg);
            break;
        case 'T': timeout_seconds = (unsigned)atoi(optarg); break;
        case 'H': fputs(USAGE, stdout); exit(0);
        default: fputs(USAGE, stderr); exit(2);
        }
    }
    if (port < 1 || port > 65535 || !connection_count || !window || !opening_at_once || sources > 250) die("bad options; see --help");
    if (deflate != (payload_file != NULL)) die("--deflate and --payload belong together");
    if ((browser || post) && mode != HTTP) die("--browser and --post are of --mode http");
    if (post && size < 32) die("--post needs 32 bytes");
    if (!timeout_seconds) timeout_seconds = 60;
}

#endif
