/* utimensat(2) sets a file's times to the nanosecond.
   Usage: PROGRAM FOLDER. Ends with 0 if that holds there, with 1 if not, with 2 if it cannot tell. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int stops(int code, const char *doing)
{
    printf("%s: %s\n", doing, strerror(errno));
    return code;
}

int main(int count, char **words)
{
    const struct timespec times[2] = { { 1, 1 }, { 1600000000, 123456789 } };
    struct stat status;
    int file;

    if (count != 2 || chdir(words[1]) != 0)
        return stops(2, "going to the folder");
    file = open("file", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (file < 0 || close(file) != 0)
        return stops(2, "making a file");
    if (utimensat(AT_FDCWD, "file", times, 0) != 0)
        return stops(1, "utimensat");
    if (stat("file", &status) != 0)
        return stops(1, "stat");
    printf("mtime: expected %ld.%09ld, saw %ld.%09ld\n", (long)times[1].tv_sec, times[1].tv_nsec,
           (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    printf("atime: expected %ld.%09ld, saw %ld.%09ld\n", (long)times[0].tv_sec, times[0].tv_nsec,
           (long)status.st_atim.tv_sec, status.st_atim.tv_nsec);
    return status.st_mtim.tv_sec == times[1].tv_sec && status.st_mtim.tv_nsec == times[1].tv_nsec &&
                   status.st_atim.tv_sec == times[0].tv_sec && status.st_atim.tv_nsec == times[0].tv_nsec
               ? 0
               : 1;
}
