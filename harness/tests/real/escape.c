/* Tries to leave: opens inodes of every filesystem of which something is mounted here by their handles, over each ABI of
 * the machine, and asks for what a container or a package's script has no business with.
 *
 * Exit 0: everything was refused. 1: something was not; each is a line. 2: nothing could be tried.
 * Built statically, so that it runs in any root: cc -static -O1 -o escape escape.c */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct handle {
    uint32_t bytes;
    int32_t type;
    unsigned char data[128];
};

enum abi { NATIVE, X32, I386 };
static const char *const ABI[] = {"native", "x32", "i386"};
static int tried, passed, strict;

static long open_by_handle(enum abi abi, int anchor, struct handle *handle) {
    int flags = O_RDONLY | O_NONBLOCK;
    switch (abi) {
#ifdef __x86_64__
    case X32:
        return syscall(304 | 0x40000000, anchor, handle, flags);
    case I386: {
        long answer;
        __asm__ volatile("int $0x80"
                         : "=a"(answer)
                         : "0"(342L), "b"((long)anchor), "c"((long)handle), "d"((long)flags)
                         : "memory", "r8", "r9", "r10", "r11");
        if (answer >= 0) return answer;
        errno = (int)-answer;
        return -1;
    }
#endif
    default:
        return syscall(SYS_open_by_handle_at, anchor, handle, flags);
    }
}

/* In a child of its own, for a filter may end whoever calls over another ABI: 0 refused, 1 not. */
static int attempt(enum abi abi, int anchor, struct handle *handle) {
    if (abi == NATIVE) {
        long fd = open_by_handle(abi, anchor, handle);
        if (fd >= 0) close((int)fd);
        /* Any other answer is the kernel's own, which has looked at the handle. */
        return fd >= 0 || (strict && errno != EPERM);
    }
    pid_t child = fork();
    if (child == 0) _exit(open_by_handle(abi, anchor, handle) >= 0);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0) return 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void try_handle(const char *mount, int anchor, struct handle *handle, const char *what) {
    for (enum abi abi = NATIVE; abi <= I386; abi++) {
        tried++;
        if (attempt(abi, anchor, handle)) {
            passed++;
            printf("not refused: %s by a handle, over %s, %s\n", what, mount, ABI[abi]);
        }
    }
}

static void put(struct handle *handle, int type, const void *data, unsigned length) {
    handle->type = type;
    handle->bytes = length;
    memcpy(handle->data, data, length);
}

/* Handles by number, as ext4, XFS, tmpfs and btrfs number their roots, and the one that the kernel itself gives. */
static void try_mount(const char *mount, struct handle *handle) {
    int anchor = open(mount, O_RDONLY | O_NONBLOCK);
    if (anchor < 0) anchor = open(mount, O_PATH);
    if (anchor < 0) return;
    static const uint32_t numbers[] = {1, 2, 3, 5, 11, 12, 32, 64, 96, 128, 256, 1024, 131073};
    char what[64];
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint32_t short_form[2] = {numbers[i], 0};
        uint32_t long_form[3] = {numbers[i], 0, 0};
        uint32_t btrfs[5] = {numbers[i], 0, 5, 0, 0};
        snprintf(what, sizeof what, "inode %u", numbers[i]);
        put(handle, 1, short_form, sizeof short_form);
        try_handle(mount, anchor, handle, what);
        put(handle, 0x81, long_form, sizeof long_form);
        try_handle(mount, anchor, handle, what);
        put(handle, 0x4d, btrfs, sizeof btrfs);
        try_handle(mount, anchor, handle, what);
    }
    static const char *const above[] = {"", "/.."};
    for (unsigned i = 0; i < 2; i++) {
        char path[4200];
        int id;
        snprintf(path, sizeof path, "%s%s", mount, above[i]);
        handle->bytes = sizeof handle->data;
        if (name_to_handle_at(AT_FDCWD, path, (struct file_handle *)handle, &id, 0) == 0) {
            try_handle(mount, anchor, handle, "the mount's own root");
        }
    }
    close(anchor);
}

/* mountinfo writes spaces and the like as octal numbers. */
static void plain(char *path) {
    char *to = path;
    for (char *from = path; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* Asks in a child, so that what is granted changes nothing here. */
static void ask(const char *what, int expected, long number, long a, long b, long c, long d) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        long answer = syscall(number, a, b, c, d, 0L, 0L);
        _exit(answer >= 0 ? 0 : errno);
    }
    int status = 0;
    tried++;
    if (child < 0 || waitpid(child, &status, 0) < 0) return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected) {
        passed++;
        printf("%s: status %#x, expected error %d\n", what, status, expected);
    }
}

static void ask_for_all(void) {
    static const struct { const char *name; long flag; } spaces[] = {
        {"mount", CLONE_NEWNS}, {"cgroup", 0x02000000}, {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC},
        {"user", CLONE_NEWUSER}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
    };
    char what[64];
    for (unsigned i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        snprintf(what, sizeof what, "unshare, %s namespace", spaces[i].name);
        ask(what, EPERM, SYS_unshare, spaces[i].flag, 0, 0, 0);
        snprintf(what, sizeof what, "unshare, user and %s namespace", spaces[i].name);
        ask(what, EPERM, SYS_unshare, spaces[i].flag | CLONE_NEWUSER, 0, 0, 0);
        snprintf(what, sizeof what, "clone, %s namespace", spaces[i].name);
        ask(what, EPERM, SYS_clone, spaces[i].flag | SIGCHLD, 0, 0, 0);
    }
    ask("unshare, time namespace", EPERM, SYS_unshare, 0x80, 0, 0, 0);
    ask("unshare, no namespace", 0, SYS_unshare, CLONE_FS, 0, 0, 0);
    ask("clone3", ENOSYS, SYS_clone3, 0, 0, 0, 0);
    ask("io_uring_setup", EPERM, SYS_io_uring_setup, 1, 0, 0, 0);
    ask("mount", EPERM, SYS_mount, 0, 0, 0, 0);
    ask("fsopen", EPERM, SYS_fsopen, (long)"tmpfs", 0, 0, 0);
    ask("open_tree", EPERM, SYS_open_tree, AT_FDCWD, (long)"/", 0, 0);
    ask("setns", EPERM, SYS_setns, -1, 0, 0, 0);
    ask("bpf", EPERM, SYS_bpf, -1, 0, 0, 0);
    ask("keyctl", EPERM, SYS_keyctl, 0, -3, 0, 0);
    ask("userfaultfd", EPERM, SYS_userfaultfd, 0, 0, 0, 0);
    ask("perf_event_open", EPERM, SYS_perf_event_open, 0, 0, -1, -1);
    ask("a socket of AF_VSOCK", EPERM, SYS_socket, 40, 1, 0, 0);
    ask("a socket of AF_ALG", EPERM, SYS_socket, 38, 5, 0, 0);
    ask("a socket of AF_UNIX", 0, SYS_socket, 1, 1, 0, 0);
}

/* `handles` alone: only what opens files; where there is no filter, the rest says nothing. */
int main(int argc, char **argv) {
    strict = argc < 2 || strcmp(argv[1], "handles") != 0;
    /* Below 4 GiB, where the calls of 32 bits can name it. */
    int low = 0;
#ifdef MAP_32BIT
    low = MAP_32BIT;
#endif
    struct handle *handle = mmap(0, sizeof *handle, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | low, -1, 0);
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    if (handle == MAP_FAILED || !mounts) {
        perror("preparing");
        return 2;
    }
    char *line = 0, mount[4096];
    size_t room = 0;
    int anchors = 0;
    while (getline(&line, &room, mounts) > 0) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", mount) != 1) continue;
        plain(mount);
        try_mount(mount, handle);
        anchors++;
    }
    if (strict) ask_for_all();
    printf("%d attempts over %d mounts, %d passed\n", tried, anchors, passed);
    if (anchors == 0) return 2;
    return passed > 0;
}
