/* tools/dev/etcd_put.c: puts into etcd as fast as it takes them, for tools/dev/compare-etcd.
 *
 *   etcd_put HOST PORT CLIENTS CONNECTIONS SECONDS WARMUP_SECONDS KEYS SIZE
 *
 * Each client has one put out at a time; the clients are spread over the connections. It speaks just
 * so much HTTP/2 and gRPC as a put needs (RFC 9113; the request is five bytes of frame and two
 * fields), because a generator that costs more than the server would measure itself. A put counts
 * when its answer carries a message: an error comes as trailers alone. Prints one JSON object. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };
enum { CLIENTS_MAX = 1024, FRAME_HEAD = 9, SAMPLES_MAX = 1 << 22, WINDOW_STEP = 16384 };

struct client {
    uint32_t stream;
    uint64_t sent_us;
    bool answered; /* a message came */
};

struct connection {
    int fd;
    unsigned clients;
    struct client client[CLIENTS_MAX];
    uint32_t next_stream, unacknowledged;
    uint8_t in[1 << 16], out[1 << 20];
    size_t in_size, out_size;
};

static uint8_t header_block[256];
static size_t header_size;
static unsigned keys, value_size;
static uint64_t operations, errors, measure_from_us, random_state = 88172645463325252u;
static uint32_t *samples;
static size_t sample_count;
static bool ending;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void die(const char *what)
{
    fprintf(stderr, "etcd_put: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static void literal(uint8_t name_index, const char *name, const char *value)
{
    header_block[header_size++] = name_index;
    if (name != NULL) {
        header_block[header_size++] = (uint8_t)strlen(name);
        memcpy(header_block + header_size, name, strlen(name));
        header_size += strlen(name);
    } else if (name_index == 0x0f) {
        header_block[header_size++] = 31 - 15; /* content-type is 31 of the static table */
    }
    header_block[header_size++] = (uint8_t)strlen(value);
    memcpy(header_block + header_size, value, strlen(value));
    header_size += strlen(value);
}

static void make_headers(const char *authority)
{
    header_block[header_size++] = 0x83; /* :method POST */
    header_block[header_size++] = 0x86; /* :scheme http */
    literal(0x04, NULL, "/etcdserverpb.KV/Put");
    literal(0x01, NULL, authority);
    literal(0x0f, NULL, "application/grpc");
    literal(0x00, "te", "trailers");
}

static uint8_t *add(struct connection *c, size_t size)
{
    if (c->out_size + size > sizeof(c->out)) {
        fprintf(stderr, "etcd_put: the server does not read\n");
        exit(1);
    }
    c->out_size += size;
    return c->out + c->out_size - size;
}

static void add_frame(struct connection *c, uint8_t type, uint8_t flags, uint32_t stream,
                      const void *body, uint32_t size)
{
    uint8_t *p = add(c, FRAME_HEAD + size);
    p[0] = (uint8_t)(size >> 16), p[1] = (uint8_t)(size >> 8), p[2] = (uint8_t)size;
    p[3] = type, p[4] = flags;
    p[5] = (uint8_t)(stream >> 24), p[6] = (uint8_t)(stream >> 16);
    p[7] = (uint8_t)(stream >> 8), p[8] = (uint8_t)stream;
    if (size > 0) {
        memcpy(p + FRAME_HEAD, body, size);
    }
}

static void put(struct connection *c, struct client *client)
{
    uint8_t message[16384], *p = message + 5;
    char key[32];
    int key_size = snprintf(key, sizeof(key), "bench/%08u", next_random() % keys);
    *p++ = 0x0a;
    *p++ = (uint8_t)key_size;
    memcpy(p, key, (size_t)key_size);
    p += key_size;
    *p++ = 0x12;
    for (unsigned n = value_size; ; n >>= 7) {
        *p++ = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        if (n <= 0x7f) {
            break;
        }
    }
    for (unsigned i = 0; i < value_size; i++) {
        p[i] = (uint8_t)('a' + (i + operations) % 26);
    }
    p += value_size;
    uint32_t size = (uint32_t)(p - message - 5);
    message[0] = 0;
    message[1] = (uint8_t)(size >> 24), message[2] = (uint8_t)(size >> 16);
    message[3] = (uint8_t)(size >> 8), message[4] = (uint8_t)size;
    client->stream = c->next_stream;
    client->answered = false;
    client->sent_us = now_us();
    c->next_stream += 2;
    add_frame(c, HEADERS, END_HEADERS, client->stream, header_block, (uint32_t)header_size);
    add_frame(c, DATA, END_STREAM, client->stream, message, size + 5);
}

static struct client *find(struct connection *c, uint32_t stream)
{
    for (unsigned i = 0; i < c->clients; i++) {
        if (c->client[i].stream == stream) {
            return &c->client[i];
        }
    }
    return NULL;
}

static void finished(struct connection *c, struct client *client)
{
    uint64_t now = now_us();
    if (now >= measure_from_us && !ending) {
        operations += client->answered;
        errors += !client->answered;
        if (sample_count < SAMPLES_MAX) {
            samples[sample_count++] = (uint32_t)(now - client->sent_us);
        }
    }
    if (!ending) {
        put(c, client);
    }
}

static void on_frame(struct connection *c, uint8_t type, uint8_t flags, uint32_t stream,
                     const uint8_t *body, uint32_t size)
{
    struct client *client = stream != 0 ? find(c, stream) : NULL;
    if (type == SETTINGS && !(flags & ACK)) {
        add_frame(c, SETTINGS, ACK, 0, NULL, 0);
    } else if (type == PING && !(flags & ACK)) {
        add_frame(c, PING, ACK, 0, body, size);
    } else if (type == GOAWAY) {
        fprintf(stderr, "etcd_put: the server says goodbye\n");
        exit(1);
    } else if (type == DATA) {
        c->unacknowledged += size;
        if (c->unacknowledged >= WINDOW_STEP) {
            uint32_t step = htonl(c->unacknowledged);
            add_frame(c, WINDOW_UPDATE, 0, 0, &step, 4);
            c->unacknowledged = 0;
        }
        if (client != NULL && size > 5) {
            client->answered = true;
        }
    }
    bool ended = type == RST_STREAM || ((type == DATA || type == HEADERS) && (flags & END_STREAM));
    if (client != NULL && ended) {
        finished(c, client);
    }
}

static void flush(struct connection *c)
{
    size_t done = 0;
    while (done < c->out_size) {
        ssize_t n = write(c->fd, c->out + done, c->out_size - done);
        if (n < 0 && errno != EINTR) {
            die("write");
        }
        done += n > 0 ? (size_t)n : 0;
    }
    c->out_size = 0;
}

static void readable(struct connection *c)
{
    ssize_t n = read(c->fd, c->in + c->in_size, sizeof(c->in) - c->in_size);
    if (n <= 0) {
        die("read");
    }
    c->in_size += (size_t)n;
    size_t at = 0;
    while (c->in_size - at >= FRAME_HEAD) {
        const uint8_t *p = c->in + at;
        uint32_t size = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        uint32_t stream = ((uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]);
        if (c->in_size - at < FRAME_HEAD + size) {
            break;
        }
        on_frame(c, p[3], p[4], stream & 0x7fffffff, p + FRAME_HEAD, size);
        at += FRAME_HEAD + size;
    }
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
    flush(c);
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    int on = 1;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        die("address");
    }
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        die("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    freeaddrinfo(found);
    return fd;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    qsort(samples, sample_count, sizeof(*samples), by_size);
    printf("{\"operations\": %llu, \"errors\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, "
           "\"p50_us\": %u, \"p99_us\": %u, \"client_cpu_s\": %.2f}\n",
           (unsigned long long)operations, (unsigned long long)errors, seconds,
           (double)operations / seconds, sample_count > 0 ? samples[sample_count / 2] : 0,
           sample_count > 0 ? samples[sample_count * 99 / 100] : 0, cpu);
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "etcd_put HOST PORT CLIENTS CONNECTIONS SECONDS WARMUP KEYS SIZE\n");
        return 1;
    }
    unsigned clients = (unsigned)atoi(argv[3]), connections = (unsigned)atoi(argv[4]);
    keys = (unsigned)atoi(argv[7]);
    value_size = (unsigned)atoi(argv[8]);
    if (connections < 1 || clients < connections || clients > CLIENTS_MAX || keys < 1 ||
        value_size > 8192) {
        fprintf(stderr, "etcd_put: at most %d clients, not fewer than connections; 8192 bytes\n",
                CLIENTS_MAX);
        return 1;
    }
    int poll_fd = epoll_create1(0);
    struct connection **all = calloc(connections, sizeof(*all));
    samples = malloc(sizeof(*samples) * SAMPLES_MAX);
    make_headers("etcd");
    uint64_t start = now_us();
    measure_from_us = start + (uint64_t)(atof(argv[6]) * 1e6);
    uint64_t end = measure_from_us + (uint64_t)(atof(argv[5]) * 1e6);
    for (unsigned i = 0; i < connections; i++) {
        struct connection *c = all[i] = calloc(1, sizeof(*c));
        c->fd = dial(argv[1], argv[2]);
        c->next_stream = 1;
        memcpy(add(c, 24), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        add_frame(c, SETTINGS, 0, 0, NULL, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
    }
    for (unsigned i = 0; i < clients; i++) {
        struct connection *c = all[i % connections];
        put(c, &c->client[c->clients++]);
    }
    for (unsigned i = 0; i < connections; i++) {
        flush(all[i]);
    }
    while (!ending) {
        struct epoll_event events[64];
        int n = epoll_wait(poll_fd, events, 64, 100);
        ending = now_us() >= end;
        for (int i = 0; i < n && !ending; i++) {
            readable(events[i].data.ptr);
        }
    }
    report((double)(now_us() - measure_from_us) / 1e6);
    return errors > 0 || operations == 0;
}
