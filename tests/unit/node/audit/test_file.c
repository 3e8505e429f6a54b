/* tests/unit/node/audit/test_file.c: the device "file" against real files: where it writes, under which
 * mode, and what it does when its file goes away. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/core/audit.h"
#include "test.h"

extern const struct audit_ops audit_file;

static char folder[] = "/tmp/coffer-audit-XXXXXX";
static char path[512];
static struct arena *arena;
static const _Atomic bool go_on;
static const char *const folders[] = {folder, NULL};

static void set_up(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    arena = arena_new(1024);
    (void)umask(077);
}

static void tear_down(void)
{
    char command[600];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    arena_free(arena);
}

static const char *in_folder(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static cf_status make(const char *file, const char *mode, bool is_configured, void **ret)
{
    static struct audit_settings settings;
    static char data[512];
    (void)snprintf(data, sizeof(data), "%s/data", folder);
    struct json *options = json_object_new(arena);
    json_set_text(arena, options, "file_path", file);
    if (mode != NULL) {
        json_set_text(arena, options, "mode", mode);
    }
    settings = (struct audit_settings){.path = CF_SLICE("f/"), .options = options,
                                       .is_trusted = is_configured, .directories = folders,
                                       .forbidden = data};
    struct cf_error err = {0};
    return audit_file.make(&settings, ret, &err);
}

static cf_status put(void *device, const char *line)
{
    struct cf_error err = {0};
    return audit_file.write(device, cf_slice_str(line), &go_on, &err);
}

static void ck_holds(const char *file, const char *want)
{
    char got[4096] = "";
    FILE *in = fopen(file, "r");
    ck_assert_ptr_nonnull(in);
    size_t size = fread(got, 1, sizeof(got) - 1, in);
    got[size] = '\0';
    (void)fclose(in);
    ck_assert_str_eq(got, want);
}

static unsigned mode_of(const char *file)
{
    struct stat info;
    ck_assert_int_eq(lstat(file, &info), 0);
    return info.st_mode & 07777;
}

START_TEST(lines_are_appended)
{
    void *device;
    set_up();
    ck_assert_int_eq(make(in_folder("sub/dir/a.log"), NULL, false, &device), CF_OK);
    ck_assert_int_eq(put(device, ""), CF_OK); /* opens it */
    ck_assert_int_eq(access(in_folder("sub/dir/a.log"), F_OK), 0);
    ck_assert_int_eq(put(device, "{1}\n{2}\n"), CF_OK);
    ck_assert_int_eq(put(device, "{3}\n"), CF_OK);
    ck_holds(path, "{1}\n{2}\n{3}\n");
    ck_assert_uint_eq(mode_of(path), 0600);
    audit_file.free(device);
    tear_down();
}
END_TEST

START_TEST(audit_inode_gone)
{
    void *device;
    char other[600];
    set_up();
    ck_assert_int_eq(make(in_folder("a.log"), NULL, false, &device), CF_OK);
    ck_assert_int_eq(put(device, "{1}\n"), CF_OK);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(put(device, "{2}\n"), CF_OK);
    ck_holds(path, "{2}\n");
    (void)snprintf(other, sizeof(other), "%s.1", path); /* a rotation without a signal */
    ck_assert_int_eq(rename(path, other), 0);
    ck_assert_int_eq(put(device, "{3}\n"), CF_OK);
    ck_holds(other, "{2}\n");
    ck_holds(path, "{3}\n");
    audit_file.reopen(device); /* and one with a signal */
    ck_assert_int_eq(put(device, "{4}\n"), CF_OK);
    ck_holds(path, "{3}\n{4}\n");
    audit_file.free(device);
    tear_down();
}
END_TEST

START_TEST(never_executable)
{
    void *device;
    static const struct {
        const char *asked;
        unsigned want;
    } modes[] = {{"0777", 0666}, {"755", 0644}, {"0640", 0640}, {"0100", 0}, {NULL, 0600}};
    set_up();
    for (size_t i = 0; i < CF_LENGTH(modes); i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%zu.log", i);
        ck_assert_int_eq(make(in_folder(name), modes[i].asked, false, &device), CF_OK);
        ck_assert_int_eq(put(device, "{}\n"), CF_OK);
        ck_assert_uint_eq(mode_of(path), modes[i].want);
        audit_file.free(device);
    }
    /* One that is there, and "leave it as it is". */
    int fd = open(in_folder("run.sh"), O_CREAT | O_WRONLY, 0700);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    ck_assert_int_eq(make(path, "0000", false, &device), CF_OK);
    ck_assert_int_eq(put(device, "{}\n"), CF_OK);
    ck_assert_uint_eq(mode_of(path), 0600);
    audit_file.free(device);
    static const char *const bad[] = {"", "8", "x", "1777", "-1", "07777777"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_int_eq(make(in_folder("b.log"), bad[i], false, &device), CF_INVALID);
    }
    tear_down();
}
END_TEST

START_TEST(never_outside)
{
    void *device;
    char inside[600], target[600];
    set_up();
    static const char *const bad[] = {"/etc/passwd", "relative.log", "", "/", "/tmp",
                                      "/tmp/coffer-audit-elsewhere/a.log"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_msg(make(bad[i], NULL, false, &device) == CF_INVALID, "%s", bad[i]);
    }
    static const char *const names[] = {"../a.log", "x/../../a.log", "./a.log", "x//a.log", "x/",
                                        "data/db/CURRENT"};
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        ck_assert_msg(make(in_folder(names[i]), NULL, false, &device) == CF_INVALID, "%s",
                      names[i]);
    }
    (void)snprintf(inside, sizeof(inside), "%sx/a.log", folder); /* begins alike */
    ck_assert_int_eq(make(inside, NULL, false, &device), CF_INVALID);
    /* Links: to a file, to a directory, and a second name. */
    (void)snprintf(target, sizeof(target), "%s/target", folder);
    int fd = open(target, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    ck_assert_int_eq(symlink(target, in_folder("link.log")), 0);
    ck_assert_int_eq(symlink("/tmp", in_folder("linked")), 0);
    ck_assert_int_eq(link(target, in_folder("second.log")), 0);
    static const char *const links[] = {"link.log", "linked/a.log", "second.log"};
    for (size_t i = 0; i < CF_LENGTH(links); i++) {
        ck_assert_int_eq(make(in_folder(links[i]), NULL, false, &device), CF_OK);
        ck_assert_msg(put(device, "{}\n") == CF_DENIED, "%s", links[i]);
        audit_file.free(device);
    }
    ck_holds(target, "");
    ck_assert_int_eq(mkdir(in_folder("folder"), 0700), 0);
    ck_assert_int_eq(make(path, NULL, false, &device), CF_OK);
    ck_assert_int_ne(put(device, "{}\n"), CF_OK);
    audit_file.free(device);
    tear_down();
}
END_TEST

/* What the operator names may be a pipe; a pipe that nobody reads is a failure and not a hanging thread. */
START_TEST(a_pipe_of_the_operators)
{
    void *device;
    char got[16] = "";
    set_up();
    ck_assert_int_eq(mkfifo(in_folder("pipe"), 0600), 0);
    ck_assert_int_eq(make(path, NULL, true, &device), CF_OK);
    ck_assert_int_eq(put(device, "{1}\n"), CF_IO);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    ck_assert_int_eq(put(device, "{2}\n"), CF_OK);
    ck_assert_int_eq(read(fd, got, sizeof(got) - 1), 4);
    ck_assert_str_eq(got, "{2}\n");
    (void)close(fd);
    audit_file.free(device);
    ck_assert_int_eq(make(path, NULL, false, &device), CF_OK); /* nobody else's may be */
    ck_assert_int_ne(put(device, "{}\n"), CF_OK);
    audit_file.free(device);
    tear_down();
}
END_TEST

/* A line that does not fit is taken back whole: a limit on the size of files stands for the disk. */
START_TEST(no_half_lines)
{
    void *device;
    struct rlimit before, small;
    set_up();
    ck_assert_int_eq(make(in_folder("a.log"), NULL, false, &device), CF_OK);
    ck_assert_int_eq(put(device, "{1}\n"), CF_OK);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){6, before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ck_assert_int_ne(put(device, "{22222}\n"), CF_OK);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_holds(path, "{1}\n");
    ck_assert_int_eq(put(device, "{3}\n"), CF_OK);
    ck_holds(path, "{1}\n{3}\n");
    audit_file.free(device);
    /* The kernel's own word for a full disk is told apart. */
    ck_assert_int_eq(make("/dev/full", NULL, true, &device), CF_OK);
    ck_assert_int_eq(put(device, "{}\n"), CF_NO_SPACE);
    audit_file.free(device);
    tear_down();
}
END_TEST

TEST_MAIN("node/audit/file", lines_are_appended, audit_inode_gone, never_executable, never_outside,
          a_pipe_of_the_operators, no_half_lines)
