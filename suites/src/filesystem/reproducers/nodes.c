/* Device nodes can be made and keep their numbers.
   Usage, as root: PROGRAM FOLDER. Ends with 0 if that holds there, with 1 if not, with 2 if it cannot tell. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct {
    const char *name;
    mode_t kind;
    unsigned int major, minor;
} nodes[] = {
    { "null", S_IFCHR, 1, 3 },
    { "whiteout", S_IFCHR, 0, 0 },
    { "large", S_IFCHR, 500, 70000 },
    { "disk", S_IFBLK, 254, 1 },
};

int main(int count, char **words)
{
    struct stat status;
    unsigned int at;

    if (count != 2 || chdir(words[1]) != 0) {
        perror("going to the folder");
        return 2;
    }
    for (at = 0; at < sizeof nodes / sizeof *nodes; at++) {
        if (mknod(nodes[at].name, nodes[at].kind | 0600, makedev(nodes[at].major, nodes[at].minor)) != 0) {
            printf("mknod %s: %s\n", nodes[at].name, strerror(errno));
            /* Who may not make any at all shows nothing. */
            return errno == EPERM ? 2 : 1;
        }
        if (lstat(nodes[at].name, &status) != 0) {
            printf("lstat of %s: %s\n", nodes[at].name, strerror(errno));
            return 1;
        }
        printf("%s: expected mode %lo, %u:%u, saw %lo, %u:%u\n", nodes[at].name, (unsigned long)nodes[at].kind,
               nodes[at].major, nodes[at].minor, (unsigned long)(status.st_mode & S_IFMT), major(status.st_rdev),
               minor(status.st_rdev));
        if ((status.st_mode & S_IFMT) != nodes[at].kind || major(status.st_rdev) != nodes[at].major ||
            minor(status.st_rdev) != nodes[at].minor)
            return 1;
    }
    return 0;
}
