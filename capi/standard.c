/*
 * The numbers of standard input, output and error, where the program has none.
 */
#include "standard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mln_path.h"

int standard_occupy(void)
{
    const char *null_device;

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        int opened = open(null_device = mln_path_null(), O_RDWR); /* the lowest number that is free */
        if (opened < 0) {
            int cause = errno;
            log_line(error, "descriptor %d is closed, and %s cannot be opened in its place: %s", fd, null_device, strerror(cause));
            errno = cause;
            return -1;
        }
        if (opened > STDERR_FILENO) /* another thread was faster */
            close(opened);
    }
    return 0;
}
