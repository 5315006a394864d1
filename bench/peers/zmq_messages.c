/*
 * zmq_messages.c - ZeroMQ: DEALER sockets over ipc (PAIR is for threads), one zmq_msg_send() for each message. Large ones are in
 * memory of this program's, which ZeroMQ gives back when it has sent them.
 */
#include "exchange.h"

#include <pthread.h>
#include <zmq.h>

enum { LARGE = 64 << 10 };

static void *context, *own_end;
static zmq_msg_t to_send, received;

static void connect_ends(int is_parent, const char *address)
{
    int queue = queue_length();
    char url[128];

    snprintf(url, sizeof url, "ipc://@%s", address);
    if (!is_parent)
        end_with_parent();
    EXPECT((context = zmq_ctx_new()) != NULL);
    EXPECT((own_end = zmq_socket(context, ZMQ_DEALER)) != NULL);
    EXPECT(zmq_setsockopt(own_end, ZMQ_SNDHWM, &queue, sizeof queue) == 0);
    EXPECT(zmq_setsockopt(own_end, ZMQ_RCVHWM, &queue, sizeof queue) == 0);
    EXPECT((is_parent ? zmq_bind(own_end, url) : zmq_connect(own_end, url)) == 0);
    EXPECT(zmq_msg_init(&received) == 0);
}

/* Large messages that were sent, to be used again. All have the same size. */
struct buffer {
    struct buffer *next;
    char bytes[];
};

static struct buffer *unused;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* In ZeroMQ's thread. */
static void give_back(void *bytes, void *buffer)
{
    struct buffer *b = buffer;

    (void)bytes;
    pthread_mutex_lock(&lock);
    b->next = unused;
    unused = b;
    pthread_mutex_unlock(&lock);
}

static char *new_large(size_t n)
{
    struct buffer *b;

    pthread_mutex_lock(&lock);
    if ((b = unused) != NULL)
        unused = b->next;
    pthread_mutex_unlock(&lock);
    EXPECT(b != NULL || (b = malloc(sizeof *b + n)) != NULL);
    EXPECT(zmq_msg_init_data(&to_send, b->bytes, n, give_back, b) == 0);
    return b->bytes;
}

static char *new_message(size_t n)
{
    if (n >= LARGE)
        return new_large(n);
    EXPECT(zmq_msg_init_size(&to_send, n) == 0);
    return zmq_msg_data(&to_send);
}

static int send_message(int wait)
{
    int result = zmq_msg_send(&to_send, own_end, wait ? 0 : ZMQ_DONTWAIT);

    EXPECT(result >= 0 || (errno == EAGAIN && !wait));
    return result >= 0;
}

static void return_message(void)
{
    EXPECT(zmq_msg_send(&received, own_end, 0) >= 0); /* it is an empty one then */
}

static char *receive_message(size_t *n, int wait)
{
    int result = zmq_msg_recv(&received, own_end, wait ? 0 : ZMQ_DONTWAIT);

    EXPECT(result >= 0 || (errno == EAGAIN && !wait));
    if (result < 0)
        return NULL;
    *n = (size_t)result;
    return zmq_msg_data(&received);
}

static void disconnect_ends(void)
{
    zmq_msg_close(&received);
    zmq_close(own_end);
    zmq_ctx_term(context); /* lets go of what is still to be sent first */
}
