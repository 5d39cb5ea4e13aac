/* A file whose last name is gone is still written, read and truncated through its descriptor.
   Usage: PROGRAM FOLDER. Ends with 0 if that holds there, with 1 if not, with 2 if it cannot tell. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int stops(int code, const char *doing)
{
    printf("%s: %s\n", doing, strerror(errno));
    return code;
}

int main(int count, char **words)
{
    struct stat status;
    char seen[16];
    int file, other;

    if (count != 2 || chdir(words[1]) != 0)
        return stops(2, "going to the folder");
    file = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
    if (file < 0 || write(file, "before", 6) != 6)
        return stops(2, "making a file");
    if (unlink("file") != 0)
        return stops(2, "removing the open file");
    if (fstat(file, &status) != 0)
        return stops(1, "fstat of the unlinked file");
    if (pwrite(file, " and after", 10, 6) != 10)
        return stops(1, "writing to the unlinked file");
    if (pread(file, seen, 16, 0) != 16 || memcmp(seen, "before and after", 16) != 0)
        return stops(1, "reading the unlinked file");
    other = open("file", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (other < 0 || write(other, "another", 7) != 7)
        return stops(2, "making another file of that name");
    if (ftruncate(file, 6) != 0)
        return stops(1, "truncating the unlinked file");
    if (fstat(file, &status) != 0)
        return stops(1, "fstat of the truncated file");
    printf("truncated to 6 bytes, it has %ld\n", (long)status.st_size);
    if (status.st_size != 6)
        return 1;
    if (fstat(other, &status) != 0)
        return stops(2, "fstat of the other file");
    printf("the other file of that name has 7 bytes: it has %ld\n", (long)status.st_size);
    return status.st_size == 7 ? 0 : 1;
}
