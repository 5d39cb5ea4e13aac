/* A fifo can be made, is one, and passes bytes.
   Usage: PROGRAM FOLDER. Ends with 0 if that holds there, with 1 if not, with 2 if it cannot tell. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int stops(int code, const char *doing)
{
    printf("%s: %s\n", doing, strerror(errno));
    return code;
}

int main(int count, char **words)
{
    struct stat status;
    char seen[8] = "";
    int end;
    pid_t writer;

    if (count != 2 || chdir(words[1]) != 0)
        return stops(2, "going to the folder");
    if (mkfifo("fifo", 0644) != 0)
        return stops(1, "making a fifo");
    if (lstat("fifo", &status) != 0)
        return stops(1, "lstat of the fifo");
    if (!S_ISFIFO(status.st_mode)) {
        printf("lstat says that it has the mode %lo, no fifo\n", (unsigned long)status.st_mode);
        return 1;
    }
    fflush(stdout);
    /* Whoever waits for the other end for ever is ended. */
    writer = fork();
    if (writer < 0)
        return stops(2, "starting a process");
    alarm(20);
    if (writer == 0) {
        end = open("fifo", O_WRONLY);
        return end >= 0 && write(end, "bytes", 5) == 5 ? 0 : 1;
    }
    end = open("fifo", O_RDONLY);
    if (end < 0)
        return stops(1, "opening the fifo");
    if (read(end, seen, 7) != 5 || strcmp(seen, "bytes") != 0)
        return stops(1, "reading from the fifo");
    waitpid(writer, NULL, 0);
    printf("a fifo was made and passed 5 bytes\n");
    return 0;
}
