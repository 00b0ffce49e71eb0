/*
 * Makes one process see a folder through caches, as a client of a network file system does.
 *
 * Preloaded with LD_PRELOAD. A client of NFS, GlusterFS or CIFS caches which file is at a name, or that there is none;
 * the attributes of files; and the lists of folders. For some seconds it answers from its caches, although other
 * clients may have changed the folder. The server decides about changes, by the name at that moment. A client sees its
 * own changes at once. This library does the same to the calls of the C library, for all paths below one folder, the
 * root. Calls elsewhere, and locks, pass through.
 *
 * Settings, from the environment or from the functions at the end of this file:
 *   AGED_ROOT             the folder; without it the library changes nothing
 *   AGED_SECONDS          how long an entry of a cache is used after it was read; using it does not renew it
 *   AGED_FOREVER=1        an entry with a file is used for as long as the file has any name
 *   AGED_ATTRIBUTES=0     stat returns the present attributes of the cached file, not cached attributes
 *   AGED_LISTS=0          lists of folders are not cached, as with FUSE
 *   AGED_LATENCY          how many seconds each change takes to reach the server; other processes can act meanwhile
 *   AGED_NO_RENAME_FLAGS=1  renameat2 with flags fails with EINVAL
 *   AGED_ASKS_AGAIN=1     open and link do not use a cached file that has no name any more: the server answers ESTALE,
 *                         and the kernel then looks the name up again
 *
 * Each cached file is held by an O_PATH descriptor, so that no other file gets its inode number meanwhile.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __LP64__
#error "struct stat and struct stat64 must be the same, which they are on 64-bit Linux only"
#endif

#define BUCKETS 1024
#define NO_FILE (-1)
#define KEPT_FILES 4096 /* with more entries than this, the expired ones are removed */

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

/* One entry of the cache of names: the file at a name, or that there is none. */
struct entry {
    dev_t folder_device;
    ino_t folder_inode;
    char *name;
    int file;           /* an O_PATH descriptor; NO_FILE if there was no file */
    struct stat status; /* the cached attributes */
    double asked_at;
    struct entry *next;
};

/* The cached list of a folder. */
struct listing {
    dev_t device;
    ino_t inode;
    struct dirent64 *items;
    size_t count;
    double asked_at;
    int users; /* one for the cache, and one for each open folder that reads the list */
    struct listing *next;
};

/* An open folder that reads a listing. */
struct reading {
    DIR *handle;
    struct listing *listing;
    size_t at;
    struct reading *next;
};

/* A file that this process has opened for writing. Its size and times are known from the process's own writes. */
struct written {
    dev_t device;
    ino_t inode;
    struct written *next;
};

/* The place of a path: an open descriptor of its folder, and the last part of the path. */
struct place {
    int folder;
    dev_t device;
    ino_t inode;
    const char *name;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static double seconds;
static bool is_forever, has_old_attributes = true, has_old_lists = true, has_no_rename_flags, asks_again;
static double passed; /* seconds that aged_pass() has added to the clock */
static bool stands_still;
static double latency;

static struct entry *entries[BUCKETS];
static size_t entry_count;
static struct listing *listings;
static struct reading *readings;
static struct written *written_files;

/* System calls, which bypass the caches. */

static int real_open(int folder, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

static int real_stat(int folder, const char *path, struct stat *status, int flags)
{
    return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}

static int real_rename(int source_folder, const char *source, int target_folder, const char *target, unsigned flags)
{
    return (int)syscall(SYS_renameat2, source_folder, source, target_folder, target, flags);
}

static int real_link(int source_folder, const char *source, int target_folder, const char *target, int flags)
{
    return (int)syscall(SYS_linkat, source_folder, source, target_folder, target, flags);
}

static int real_unlink(int folder, const char *path, int flags)
{
    return (int)syscall(SYS_unlinkat, folder, path, flags);
}

/* The C library's own function of a name; looked up once. */
static void *real(void **known, const char *name)
{
    if (!*known)
        *known = dlsym(RTLD_NEXT, name);
    return *known;
}

#define REAL(type, name) ((type)real(&(static_##name), #name))
static void *static_fdopendir, *static_readdir64, *static_closedir, *static_rewinddir, *static_faccessat;
typedef DIR *(*fdopendir_t)(int);
typedef struct dirent64 *(*readdir_t)(DIR *);
typedef int (*closedir_t)(DIR *);
typedef void (*rewinddir_t)(DIR *);
typedef int (*faccessat_t)(int, const char *, int, int);

/* Time, and whether an entry is still used. */

static double now(void)
{
    struct timespec time;
    if (stands_still)
        return passed;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9 + passed;
}

static bool status_of(int file, struct stat *status)
{
    return real_stat(file, "", status, AT_EMPTY_PATH) == 0;
}

static bool has_a_name(const struct entry *entry)
{
    struct stat status;
    return status_of(entry->file, &status) && status.st_nlink > 0;
}

static bool is_fresh(const struct entry *entry)
{
    if (now() < entry->asked_at + seconds)
        return true;
    return is_forever && entry->file != NO_FILE && has_a_name(entry);
}

/* Entries. */

static struct entry **bucket_of(const struct place *place)
{
    uint64_t hash = 14695981039346656037u ^ place->inode;
    for (const char *at = place->name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    return &entries[hash % BUCKETS];
}

static struct entry *entry_at(const struct place *place)
{
    for (struct entry *entry = *bucket_of(place); entry; entry = entry->next)
        if (entry->folder_inode == place->inode && entry->folder_device == place->device &&
            strcmp(entry->name, place->name) == 0)
            return entry;
    return NULL;
}

static void free_entry(struct entry **link)
{
    struct entry *gone = *link;
    *link = gone->next;
    if (gone->file != NO_FILE)
        close(gone->file);
    free(gone->name);
    free(gone);
    entry_count--;
}

/* Remove the expired entries, or all. Must not be called while a caller uses an entry. */
static void remove_entries(bool all)
{
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        for (struct entry **link = &entries[bucket]; *link;)
            if (all || !is_fresh(*link))
                free_entry(link);
            else
                link = &(*link)->next;
}

static void forget(const struct place *place)
{
    struct entry *entry = place->folder == NO_FILE ? NULL : entry_at(place);
    if (!entry)
        return;
    for (struct entry **link = bucket_of(place); *link; link = &(*link)->next)
        if (*link == entry) {
            free_entry(link);
            return;
        }
}

/* Cache the file at a name; NO_FILE if there is none. The entry owns the descriptor from now on. */
static struct entry *remember(const struct place *place, int file)
{
    struct entry *entry = entry_at(place);
    if (!entry) {
        struct entry **bucket = bucket_of(place);
        entry = calloc(1, sizeof *entry);
        if (!entry || !(entry->name = strdup(place->name)))
            abort();
        entry->folder_device = place->device;
        entry->folder_inode = place->inode;
        entry->next = *bucket;
        *bucket = entry;
        entry_count++;
    } else if (entry->file != NO_FILE) {
        close(entry->file);
    }
    entry->file = file;
    entry->asked_at = now();
    if (file != NO_FILE)
        status_of(file, &entry->status);
    return entry;
}

/* Ask the file system for the file at a name, and cache the answer. NULL for any error but ENOENT. */
static struct entry *ask(const struct place *place)
{
    int file = real_open(place->folder, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (file < 0 && errno != ENOENT) {
        forget(place);
        return NULL;
    }
    return remember(place, file < 0 ? NO_FILE : file);
}

/* The entry of a name; NULL if there is none, or if it has expired. */
static struct entry *known_at(const struct place *place)
{
    struct entry *entry = place->folder == NO_FILE ? NULL : entry_at(place);
    return entry && is_fresh(entry) ? entry : NULL;
}

/* The entry of a name, asked for if it is not cached. NULL outside of the root, and if `ask` returns NULL. */
static struct entry *look_up(const struct place *place)
{
    struct entry *entry = known_at(place);
    return entry || place->folder == NO_FILE ? entry : ask(place);
}

static bool is_found(const struct entry *entry)
{
    return entry && entry->file != NO_FILE;
}

static bool is_missing(const struct entry *entry)
{
    return entry && entry->file == NO_FILE;
}

static bool is_link(const struct entry *entry)
{
    return is_found(entry) && S_ISLNK(entry->status.st_mode);
}

static bool is_same_file(const struct entry *one, const struct entry *other)
{
    return is_found(one) && is_found(other) && one->status.st_ino == other->status.st_ino &&
           one->status.st_dev == other->status.st_dev;
}

/* A path to the file of an entry, which works whatever the file's name is now. */
static const char *way_to(const struct entry *entry, char way[32])
{
    snprintf(way, 32, "/proc/self/fd/%d", entry->file);
    return way;
}

/* Attributes. */

/* Cache the present attributes of a file that this process has changed, in the entries of all its names. */
static void renew_attributes(dev_t device, ino_t inode)
{
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        for (struct entry *entry = entries[bucket]; entry; entry = entry->next)
            if (is_found(entry) && entry->status.st_ino == inode && entry->status.st_dev == device)
                status_of(entry->file, &entry->status);
}

static bool is_written(const struct stat *status)
{
    for (struct written *known = written_files; known; known = known->next)
        if (known->inode == status->st_ino && known->device == status->st_dev)
            return true;
    return false;
}

static void note_written(int file)
{
    struct stat status;
    if (!status_of(file, &status) || is_written(&status))
        return;
    struct written *written = malloc(sizeof *written);
    if (!written)
        abort();
    *written = (struct written){status.st_dev, status.st_ino, written_files};
    written_files = written;
}

static void give_attributes(const struct entry *entry, struct stat *status)
{
    *status = entry->status;
    if (!has_old_attributes) {
        status_of(entry->file, status);
    } else if (is_written(&entry->status)) {
        /* The size and times are known from this process's own writes; the number of names is not. */
        status_of(entry->file, status);
        status->st_nlink = entry->status.st_nlink;
    }
}

/* Lists of folders. */

static void release(struct listing *listing)
{
    if (--listing->users > 0)
        return;
    free(listing->items);
    free(listing);
}

static void drop_listings(dev_t device, ino_t inode, bool all)
{
    for (struct listing **link = &listings; *link;) {
        struct listing *listing = *link;
        if (all || (listing->inode == inode && listing->device == device)) {
            *link = listing->next;
            release(listing);
        } else {
            link = &listing->next;
        }
    }
}

static void read_items(struct listing *listing, DIR *handle)
{
    size_t room = 0;
    for (struct dirent64 *item; (item = REAL(readdir_t, readdir64)(handle)); listing->count++) {
        if (listing->count == room) {
            room = room ? room * 2 : 64;
            listing->items = realloc(listing->items, room * sizeof *listing->items);
            if (!listing->items)
                abort();
        }
        memcpy(&listing->items[listing->count], item, item->d_reclen);
    }
}

/*
 * Remove the entries that a new list contradicts. A list from the server has the inode numbers, so it shows that another
 * file is at a name than the cached one. FUSE's readdirplus, and NFS after this client changed the folder, do the same.
 */
static void correct_entries(const struct listing *listing)
{
    for (size_t number = 0; number < listing->count; number++) {
        const struct dirent64 *item = &listing->items[number];
        struct place place = {0, listing->device, listing->inode, item->d_name};
        struct entry *entry = entry_at(&place);
        if (is_found(entry) && entry->status.st_ino != item->d_ino)
            forget(&place);
    }
}

/* The list of an open folder, cached or new, with one user added. */
static struct listing *listing_of(DIR *handle, const struct stat *status)
{
    for (struct listing *listing = listings; listing; listing = listing->next)
        if (listing->inode == status->st_ino && listing->device == status->st_dev) {
            if (!has_old_lists || now() >= listing->asked_at + seconds)
                break;
            listing->users++;
            return listing;
        }
    drop_listings(status->st_dev, status->st_ino, false);
    struct listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        abort();
    listing->device = status->st_dev;
    listing->inode = status->st_ino;
    listing->asked_at = now();
    read_items(listing, handle);
    correct_entries(listing);
    listing->users = 2;
    listing->next = listings;
    listings = listing;
    return listing;
}

static struct reading **reading_of(DIR *handle)
{
    struct reading **link = &readings;
    while (*link && (*link)->handle != handle)
        link = &(*link)->next;
    return link;
}

/* Places. */

static bool is_below_root(int folder)
{
    char way[32], path[PATH_MAX];
    snprintf(way, sizeof way, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(way, path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = 0;
    size_t root_length = strlen(root);
    return root_length && strncmp(path, root, root_length) == 0 && (!path[root_length] || path[root_length] == '/');
}

/* Find the place of a path. Returns false, with the folder NO_FILE, unless the path is below the root. */
static bool find_place(int folder, const char *path, struct place *place)
{
    char parent[PATH_MAX];
    struct stat status;
    place->folder = NO_FILE;
    if (!root[0] || !path || strlen(path) >= sizeof parent)
        return false;
    const char *slash = strrchr(path, '/');
    place->name = slash ? slash + 1 : path;
    if (!*place->name || strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0)
        return false;
    if (slash) {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(parent, path, length);
        parent[length] = 0;
    } else {
        strcpy(parent, ".");
    }
    int opened = real_open(folder, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (opened < 0)
        return false;
    if (!is_below_root(opened) || !status_of(opened, &status)) {
        close(opened);
        return false;
    }
    place->folder = opened;
    place->device = status.st_dev;
    place->inode = status.st_ino;
    return true;
}

/* Update the caches after this process has changed the content of a folder. */
static void note_changed(const struct place *place)
{
    drop_listings(place->device, place->inode, false);
    renew_attributes(place->device, place->inode);
}

/* Every call begins with enter() and ends with leave(); a call that changes something first waits in travel(). */

static void travel(void)
{
    struct timespec time = {(time_t)latency, (long)((latency - (double)(time_t)latency) * 1e9)};
    if (root[0] && latency > 0)
        nanosleep(&time, NULL);
}

static void enter(void)
{
    pthread_mutex_lock(&mutex);
    if (entry_count > KEPT_FILES)
        remove_entries(false);
}

static void leave(struct place *place, struct place *other)
{
    int number = errno;
    if (place && place->folder != NO_FILE)
        close(place->folder);
    if (other && other->folder != NO_FILE)
        close(other->folder);
    pthread_mutex_unlock(&mutex);
    errno = number;
}

static int refuse(int number)
{
    errno = number;
    return -1;
}

/* Calls that read attributes. */

static int aged_stat(int folder, const char *path, struct stat *status, int flags)
{
    struct place place;
    int result;
    enter();
    struct entry *entry = find_place(folder, path, &place) ? look_up(&place) : NULL;
    if (!entry || (is_link(entry) && !(flags & AT_SYMLINK_NOFOLLOW))) {
        result = real_stat(folder, path, status, flags);
    } else if (is_missing(entry)) {
        result = refuse(ENOENT);
    } else {
        give_attributes(entry, status);
        result = 0;
    }
    leave(&place, NULL);
    return result;
}

static int aged_access(int folder, const char *path, int mode, int flags)
{
    struct place place;
    char way[32];
    int result;
    enter();
    struct entry *entry = find_place(folder, path, &place) ? look_up(&place) : NULL;
    if (!entry || is_link(entry))
        result = REAL(faccessat_t, faccessat)(folder, path, mode, flags);
    else if (is_missing(entry))
        result = refuse(ENOENT);
    else
        result = REAL(faccessat_t, faccessat)(AT_FDCWD, way_to(entry, way), mode, flags & ~AT_SYMLINK_NOFOLLOW);
    leave(&place, NULL);
    return result;
}

/* Calls that open files. */

/* Open a file at the server by its name, and create it if it does not exist, as a change by this process. */
static int create(const struct place *place, int flags, mode_t mode)
{
    struct stat status;
    char way[32];
    bool was_there = real_stat(place->folder, place->name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    int file = real_open(place->folder, place->name, flags, mode);
    if (file < 0) {
        int number = errno;
        forget(place);
        return refuse(number);
    }
    snprintf(way, sizeof way, "/proc/self/fd/%d", file);
    remember(place, real_open(AT_FDCWD, way, O_PATH | O_CLOEXEC, 0));
    if (!was_there)
        note_changed(place);
    return file;
}

static int open_found(const struct place *place, struct entry *entry, int flags, mode_t mode)
{
    char way[32];
    if (asks_again && !has_a_name(entry)) {
        forget(place);
        if (flags & O_CREAT)
            return create(place, flags, mode);
        entry = ask(place);
        if (!entry || is_link(entry))
            return real_open(place->folder, place->name, flags, mode);
        if (is_missing(entry))
            return refuse(ENOENT);
    }
    return real_open(AT_FDCWD, way_to(entry, way), flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL), mode);
}

static int open_below_root(const struct place *place, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return is_found(known_at(place)) ? refuse(EEXIST) : create(place, flags, mode);
    struct entry *entry = look_up(place);
    if (!entry || is_link(entry))
        return real_open(place->folder, place->name, flags, mode);
    if (is_missing(entry))
        return flags & O_CREAT ? create(place, flags, mode) : refuse(ENOENT);
    return open_found(place, entry, flags, mode);
}

static int aged_open(int folder, const char *path, int flags, mode_t mode)
{
    struct place place;
    if (flags & O_CREAT)
        travel();
    enter();
    bool is_below = (flags & O_TMPFILE) != O_TMPFILE && find_place(folder, path, &place);
    if (!is_below) {
        leave(NULL, NULL); /* opening a path elsewhere, such as a pipe, may wait for another process */
        return real_open(folder, path, flags, mode);
    }
    int file = open_below_root(&place, flags, mode);
    if (file >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH))
        note_written(file);
    leave(&place, NULL);
    return file;
}

/* Calls that change names. */

static void renew_attributes_of(const struct stat *status)
{
    if (status->st_ino)
        renew_attributes(status->st_dev, status->st_ino);
}

static struct stat status_in(const struct entry *entry)
{
    return is_found(entry) ? entry->status : (struct stat){0};
}

/*
 * Update the caches after a rename. `file` is the cached file of the source; NO_FILE to ask the server for the target.
 * GlusterFS's client caches the source's file for the target, even if the server has moved another file, until a list
 * of the folder corrects the entry.
 */
static void note_renamed(const struct place *source, const struct place *target, unsigned flags, int file)
{
    if (source->folder != NO_FILE) {
        if (flags & RENAME_EXCHANGE)
            ask(source);
        else
            remember(source, NO_FILE);
        note_changed(source);
    }
    if (target->folder != NO_FILE) {
        struct entry *moved = file == NO_FILE ? ask(target) : remember(target, file);
        note_changed(target);
        if (is_found(moved))
            renew_attributes(moved->status.st_dev, moved->status.st_ino);
    }
}

static int aged_rename(int source_folder, const char *source, int target_folder, const char *target, unsigned flags)
{
    struct place from, to;
    int result;
    travel();
    enter();
    find_place(source_folder, source, &from);
    find_place(target_folder, target, &to);
    struct entry *moving = look_up(&from), *present = look_up(&to);
    struct stat replaced = status_in(present);
    if (is_missing(moving)) {
        result = refuse(ENOENT);
    } else if ((flags & RENAME_NOREPLACE) && is_found(present)) {
        result = refuse(EEXIST);
    } else if (is_same_file(moving, present)) {
        result = 0; /* POSIX: two names of one file, and both stay */
    } else if (flags && has_no_rename_flags && (moving || present)) {
        result = refuse(EINVAL);
    } else if ((result = real_rename(source_folder, source, target_folder, target, flags)) == 0) {
        bool is_one_way = !(flags & RENAME_EXCHANGE) && is_found(moving) && to.folder != NO_FILE;
        int file = is_one_way ? fcntl(moving->file, F_DUPFD_CLOEXEC, 0) : NO_FILE;
        note_renamed(&from, &to, flags, file);
        renew_attributes_of(&replaced);
    } else if (errno == ENOENT || errno == EEXIST) {
        int number = errno;
        forget(number == ENOENT ? &from : &to);
        errno = number;
    }
    leave(&from, &to);
    return result;
}

static int link_found(const struct place *from, struct entry *found, int target_folder, const char *target)
{
    char way[32];
    int result = real_link(AT_FDCWD, way_to(found, way), target_folder, target, AT_SYMLINK_FOLLOW);
    if (result == 0 || errno != ENOENT || has_a_name(found))
        return result;
    forget(from);
    return asks_again ? real_link(from->folder, from->name, target_folder, target, 0) : refuse(ENOENT);
}

static int aged_link(int source_folder, const char *source, int target_folder, const char *target, int flags)
{
    struct place from, to;
    int result;
    travel();
    enter();
    find_place(source_folder, source, &from);
    find_place(target_folder, target, &to);
    struct entry *found = look_up(&from);
    if (is_missing(found))
        result = refuse(ENOENT);
    else if (is_found(known_at(&to)))
        result = refuse(EEXIST);
    else if (!found || is_link(found))
        result = real_link(source_folder, source, target_folder, target, flags);
    else
        result = link_found(&from, found, target_folder, target);
    if (to.folder != NO_FILE && result == 0) {
        struct stat linked = status_in(ask(&to));
        note_changed(&to);
        renew_attributes_of(&linked);
    } else if (result < 0 && errno == EEXIST) {
        forget(&to);
        errno = EEXIST;
    }
    leave(&from, &to);
    return result;
}

static int aged_unlink(int folder, const char *path, int flags)
{
    struct place place;
    int result;
    travel();
    enter();
    struct entry *entry = find_place(folder, path, &place) ? look_up(&place) : NULL;
    struct stat gone = status_in(entry);
    if (is_missing(entry)) {
        result = refuse(ENOENT);
    } else if ((result = real_unlink(folder, path, flags)) == 0 && place.folder != NO_FILE) {
        remember(&place, NO_FILE);
        note_changed(&place);
        renew_attributes_of(&gone);
    } else if (result < 0 && errno == ENOENT) {
        forget(&place);
        errno = ENOENT;
    }
    leave(&place, NULL);
    return result;
}

/* Update the caches after a folder or a symbolic link was created at a name, or could not be. */
static int made(const struct place *place, int result)
{
    int number = errno;
    if (place->folder != NO_FILE) {
        forget(place);
        if (result == 0) {
            ask(place);
            note_changed(place);
        }
    }
    errno = number;
    return result;
}

static int aged_mkdir(int folder, const char *path, mode_t mode)
{
    struct place place;
    travel();
    enter();
    find_place(folder, path, &place);
    int result = is_found(known_at(&place)) ? refuse(EEXIST)
                                            : made(&place, (int)syscall(SYS_mkdirat, folder, path, mode));
    leave(&place, NULL);
    return result;
}

static int aged_symlink(const char *target, int folder, const char *path)
{
    struct place place;
    enter();
    find_place(folder, path, &place);
    int result = is_found(known_at(&place)) ? refuse(EEXIST)
                                            : made(&place, (int)syscall(SYS_symlinkat, target, folder, path));
    leave(&place, NULL);
    return result;
}

/* Calls that change a file's times, mode or size by name: they change the cached file. */

static struct entry *changing(const struct place *place, int flags)
{
    struct entry *entry = place->folder == NO_FILE ? NULL : look_up(place);
    return is_link(entry) && !(flags & AT_SYMLINK_NOFOLLOW) ? NULL : entry;
}

static int changed(struct entry *entry, int result)
{
    int number = errno;
    if (is_found(entry) && result == 0)
        renew_attributes(entry->status.st_dev, entry->status.st_ino);
    errno = number;
    return result;
}

static int aged_utimes(int folder, const char *path, const struct timespec times[2], int flags)
{
    struct place place;
    char way[32];
    int result;
    enter();
    find_place(folder, path, &place);
    struct entry *entry = changing(&place, flags);
    if (is_missing(entry))
        result = refuse(ENOENT);
    else if (!entry || is_link(entry))
        result = (int)syscall(SYS_utimensat, folder, path, times, flags);
    else
        result = changed(entry, (int)syscall(SYS_utimensat, AT_FDCWD, way_to(entry, way), times, 0));
    leave(&place, NULL);
    return result;
}

static int aged_chmod(int folder, const char *path, mode_t mode)
{
    struct place place;
    char way[32];
    int result;
    enter();
    find_place(folder, path, &place);
    struct entry *entry = changing(&place, 0);
    if (is_missing(entry))
        result = refuse(ENOENT);
    else if (!entry)
        result = (int)syscall(SYS_fchmodat, folder, path, mode);
    else
        result = changed(entry, (int)syscall(SYS_fchmodat, AT_FDCWD, way_to(entry, way), mode));
    leave(&place, NULL);
    return result;
}

static int aged_truncate(const char *path, off_t size)
{
    struct place place;
    char way[32];
    int result;
    enter();
    find_place(AT_FDCWD, path, &place);
    struct entry *entry = changing(&place, 0);
    if (is_missing(entry))
        result = refuse(ENOENT);
    else if (!entry)
        result = (int)syscall(SYS_truncate, path, size);
    else
        result = changed(entry, (int)syscall(SYS_truncate, way_to(entry, way), size));
    leave(&place, NULL);
    return result;
}

/* The functions of the C library that this library replaces. */

int stat(const char *path, struct stat *status) { return aged_stat(AT_FDCWD, path, status, 0); }
int stat64(const char *path, struct stat64 *status) { return aged_stat(AT_FDCWD, path, (struct stat *)status, 0); }
int lstat(const char *path, struct stat *status) { return aged_stat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW); }

int lstat64(const char *path, struct stat64 *status)
{
    return aged_stat(AT_FDCWD, path, (struct stat *)status, AT_SYMLINK_NOFOLLOW);
}

int fstatat(int folder, const char *path, struct stat *status, int flags)
{
    return aged_stat(folder, path, status, flags);
}

int fstatat64(int folder, const char *path, struct stat64 *status, int flags)
{
    return aged_stat(folder, path, (struct stat *)status, flags);
}

/* Programs built with a C library older than 2.33 call these functions. */
int __xstat(int version, const char *path, struct stat *status);
int __xstat64(int version, const char *path, struct stat64 *status);
int __lxstat(int version, const char *path, struct stat *status);
int __lxstat64(int version, const char *path, struct stat64 *status);
int __fxstatat(int version, int folder, const char *path, struct stat *status, int flags);
int __fxstatat64(int version, int folder, const char *path, struct stat64 *status, int flags);

int __xstat(int version, const char *path, struct stat *status)
{
    (void)version;
    return stat(path, status);
}

int __xstat64(int version, const char *path, struct stat64 *status)
{
    (void)version;
    return stat64(path, status);
}

int __lxstat(int version, const char *path, struct stat *status)
{
    (void)version;
    return lstat(path, status);
}

int __lxstat64(int version, const char *path, struct stat64 *status)
{
    (void)version;
    return lstat64(path, status);
}

int __fxstatat(int version, int folder, const char *path, struct stat *status, int flags)
{
    (void)version;
    return fstatat(folder, path, status, flags);
}

int __fxstatat64(int version, int folder, const char *path, struct stat64 *status, int flags)
{
    (void)version;
    return fstatat64(folder, path, status, flags);
}

/* Returns the present attributes of the cached file. */
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *status)
{
    struct place place;
    int result;
    enter();
    struct entry *entry = find_place(folder, path, &place) ? look_up(&place) : NULL;
    if (!entry || (is_link(entry) && !(flags & AT_SYMLINK_NOFOLLOW)))
        result = (int)syscall(SYS_statx, folder, path, flags, mask, status);
    else if (is_missing(entry))
        result = refuse(ENOENT);
    else
        result = (int)syscall(SYS_statx, entry->file, "", AT_EMPTY_PATH, mask, status);
    leave(&place, NULL);
    return result;
}

int access(const char *path, int mode) { return aged_access(AT_FDCWD, path, mode, 0); }
int faccessat(int folder, const char *path, int mode, int flags) { return aged_access(folder, path, mode, flags); }

#define OPEN(folder, path, flags)                                              \
    mode_t mode = 0;                                                           \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {           \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode = va_arg(arguments, mode_t);                                      \
        va_end(arguments);                                                     \
    }                                                                          \
    return aged_open(folder, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int openat(int folder, const char *path, int flags, ...) { OPEN(folder, path, flags); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(folder, path, flags); }
int creat(const char *path, mode_t mode) { return aged_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);
int __open_2(const char *path, int flags) { return aged_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return aged_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return aged_open(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return aged_open(folder, path, flags, 0); }

int rename(const char *source, const char *target) { return aged_rename(AT_FDCWD, source, AT_FDCWD, target, 0); }

int renameat(int source_folder, const char *source, int target_folder, const char *target)
{
    return aged_rename(source_folder, source, target_folder, target, 0);
}

int renameat2(int source_folder, const char *source, int target_folder, const char *target, unsigned flags)
{
    return aged_rename(source_folder, source, target_folder, target, flags);
}

int link(const char *source, const char *target) { return aged_link(AT_FDCWD, source, AT_FDCWD, target, 0); }

int linkat(int source_folder, const char *source, int target_folder, const char *target, int flags)
{
    return aged_link(source_folder, source, target_folder, target, flags);
}

int unlink(const char *path) { return aged_unlink(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return aged_unlink(folder, path, flags); }
int rmdir(const char *path) { return aged_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { return aged_mkdir(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return aged_mkdir(folder, path, mode); }
int symlink(const char *target, const char *path) { return aged_symlink(target, AT_FDCWD, path); }
int symlinkat(const char *target, int folder, const char *path) { return aged_symlink(target, folder, path); }

int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
    return aged_utimes(folder, path, times, flags);
}

int chmod(const char *path, mode_t mode) { return aged_chmod(AT_FDCWD, path, mode); }

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    return flags ? refuse(EOPNOTSUPP) : aged_chmod(folder, path, mode);
}

int truncate(const char *path, off_t size) { return aged_truncate(path, size); }
int truncate64(const char *path, off64_t size) { return aged_truncate(path, size); }

DIR *fdopendir(int folder)
{
    struct stat status;
    DIR *handle = REAL(fdopendir_t, fdopendir)(folder);
    if (!handle || !root[0])
        return handle;
    enter();
    if (is_below_root(folder) && status_of(folder, &status)) {
        struct reading *reading = malloc(sizeof *reading);
        if (!reading)
            abort();
        *reading = (struct reading){handle, listing_of(handle, &status), 0, readings};
        readings = reading;
    }
    leave(NULL, NULL);
    return handle;
}

DIR *opendir(const char *path)
{
    int folder = aged_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return NULL;
    DIR *handle = fdopendir(folder);
    if (!handle) {
        int number = errno;
        close(folder);
        errno = number;
    }
    return handle;
}

struct dirent64 *readdir64(DIR *handle)
{
    enter();
    struct reading *reading = *reading_of(handle);
    struct dirent64 *item = NULL;
    if (reading && reading->at < reading->listing->count)
        item = &reading->listing->items[reading->at++];
    leave(NULL, NULL);
    return reading ? item : REAL(readdir_t, readdir64)(handle);
}

struct dirent *readdir(DIR *handle) { return (struct dirent *)readdir64(handle); }

void rewinddir(DIR *handle)
{
    struct stat status;
    REAL(rewinddir_t, rewinddir)(handle);
    enter();
    struct reading *reading = *reading_of(handle);
    if (reading && status_of(dirfd(handle), &status)) {
        release(reading->listing);
        reading->listing = listing_of(handle, &status);
        reading->at = 0;
    }
    leave(NULL, NULL);
}

int closedir(DIR *handle)
{
    enter();
    struct reading **link = reading_of(handle), *reading = *link;
    if (reading) {
        *link = reading->next;
        release(reading->listing);
        free(reading);
    }
    leave(NULL, NULL);
    return REAL(closedir_t, closedir)(handle);
}

/* Functions for the process itself, which it calls through ctypes. */

/* Empty all caches. */
void aged_forget(void);
void aged_forget(void)
{
    enter();
    remove_entries(true);
    drop_listings(0, 0, true);
    while (written_files) {
        struct written *gone = written_files;
        written_files = gone->next;
        free(gone);
    }
    leave(NULL, NULL);
}

/* Empty all caches, and set the root, the age of entries in seconds, and AGED_FOREVER. */
void aged_configure(const char *folder, double for_seconds, int forever);
void aged_configure(const char *folder, double for_seconds, int forever)
{
    char path[PATH_MAX];
    aged_forget();
    enter();
    snprintf(root, sizeof root, "%s", folder && *folder && realpath(folder, path) ? path : "");
    seconds = for_seconds;
    is_forever = forever;
    leave(NULL, NULL);
}

/* Set the other settings, each 0 or 1. */
void aged_options(int old_attributes, int old_lists, int no_rename_flags, int asking_again);
void aged_options(int old_attributes, int old_lists, int no_rename_flags, int asking_again)
{
    enter();
    has_old_attributes = old_attributes;
    has_old_lists = old_lists;
    has_no_rename_flags = no_rename_flags;
    asks_again = asking_again;
    leave(NULL, NULL);
}

/* Let all entries grow older by some seconds, without waiting. */
void aged_pass(double more_seconds);
void aged_pass(double more_seconds)
{
    enter();
    passed += more_seconds;
    leave(NULL, NULL);
}

/* Stop the clock, so that only aged_pass() makes entries older and a slow machine changes no test. Empties all caches. */
void aged_stand_still(int standing_still);
void aged_stand_still(int standing_still)
{
    aged_forget();
    enter();
    stands_still = standing_still;
    leave(NULL, NULL);
}

/* Set how many seconds each change takes. */
void aged_latency(double for_seconds);
void aged_latency(double for_seconds)
{
    latency = for_seconds;
}

static bool is_set(const char *name, const char *value)
{
    const char *found = getenv(name);
    return found && strcmp(found, value) == 0;
}

static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void begin(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* each cached name takes a descriptor */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    pthread_atfork(before_fork, after_fork, after_fork);
    const char *for_seconds = getenv("AGED_SECONDS"), *for_changes = getenv("AGED_LATENCY");
    latency = for_changes ? atof(for_changes) : 0;
    aged_configure(getenv("AGED_ROOT"), for_seconds ? atof(for_seconds) : 0, is_set("AGED_FOREVER", "1"));
    aged_options(!is_set("AGED_ATTRIBUTES", "0"), !is_set("AGED_LISTS", "0"), is_set("AGED_NO_RENAME_FLAGS", "1"),
                 is_set("AGED_ASKS_AGAIN", "1"));
}
