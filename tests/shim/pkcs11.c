/* A PKCS#11 module between a server and its token that writes down every signature and misbehaves on command.
 *
 * Forwards to the module named by HOLDFAST_SHIM_MODULE. Appends a line to HOLDFAST_SHIM_RECORD before and after each
 * C_Sign: before the token sees the bytes, so that a process that is killed anywhere inside leaves them:
 *
 *     sign <pid> <number> <key: CKA_ID in hex> <bytes in hex>
 *     done <pid> <number> <CK_RV as the token returned it> <signature in hex>
 *     call <name>            a call that makes signatures or keys another way: nobody here should
 *     order <verb> <value>   an order was carried out
 *     session <pid> open     one more session of this process; `close`: one less; `none`: all are closed
 *
 * Orders stand in HOLDFAST_SHIM_ORDER, one line: `<how many C_Sign to let pass> <verb> <value>`. An order is removed
 * before it is carried out, so a server that starts again does not meet it again. Verbs:
 *
 *     kill-entry     die by SIGKILL before the token sees the bytes
 *     kill-return    die after the token signed, before the caller hears of it
 *     fail V         return V (CKR_...) without asking the token
 *     unknown V      let the token sign, return V
 *     flip V         let the token sign, flip bit V of the signature
 *     short          let the token sign, return one byte less
 *     empty          return CKR_OK and leave the buffer as it is
 *     delay V        wait V milliseconds before the token sees the bytes
 *     late V         let the token sign, wait V milliseconds
 *     lose           close the session, then ask the token
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG, CK_RV, CK_HANDLE;
struct attribute { CK_ULONG type; void *value; CK_ULONG length; };

/* CK_FUNCTION_LIST of PKCS #11 2.40: a version, then 68 functions in the order of the standard. */
enum { FUNCTIONS = 68, FINALIZE = 1, GET_FUNCTION_LIST = 3, OPEN_SESSION = 12, CLOSE_SESSION = 13, CLOSE_ALL = 14, GET_ATTRIBUTE_VALUE = 24, SIGN_INIT = 42, SIGN = 43,
       SIGN_UPDATE = 44, SIGN_RECOVER = 47, SIGN_ENCRYPT_UPDATE = 56, GENERATE_KEY = 58, GENERATE_KEY_PAIR = 59 };
struct list { CK_BYTE major, minor; void *functions[FUNCTIONS]; };
enum { CKA_ID = 0x102, CKR_OK = 0, CKR_GENERAL_ERROR = 5 };

typedef CK_RV (*get_list_t)(struct list **);
typedef CK_RV (*open_t)(CK_HANDLE, CK_ULONG, void *, void *, CK_HANDLE *);
typedef CK_RV (*close_t)(CK_HANDLE);
typedef CK_RV (*finalize_t)(void *);
typedef CK_RV (*attributes_t)(CK_HANDLE, CK_HANDLE, struct attribute *, CK_ULONG);
typedef CK_RV (*sign_init_t)(CK_HANDLE, void *, CK_HANDLE);
typedef CK_RV (*sign_t)(CK_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
typedef CK_RV (*any_t)(CK_HANDLE, void *, void *, void *, void *, void *, void *, void *);

static struct list *token, ours;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long number;
/* The key of each session: a session is used by one thread at a time. */
static struct { CK_HANDLE session; char key[129]; } keys[1024];

/* One write to a file that only grows: whole, or not there. */
static void note(const char *line, size_t length)
{
    static int file = -1;
    if (file < 0) {
        const char *path = getenv("HOLDFAST_SHIM_RECORD");
        file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    }
    if (file < 0 || write(file, line, length) != (ssize_t)length)
        abort();
}

static size_t hex(char *out, const CK_BYTE *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
    return 2 * length;
}

struct order { char verb[16]; unsigned long value; };

/* The order whose turn it is, at this C_Sign. Called under the lock. */
static int take_alone(const char *path, struct order *order);
static int take(struct order *order)
{
    const char *path = getenv("HOLDFAST_SHIM_ORDER");
    if (!path || access(path, F_OK) != 0)
        return 0;
    /* Other servers read the same orders. */
    char name[4096];
    snprintf(name, sizeof name, "%s.lock", path);
    int held = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (held < 0 || flock(held, LOCK_EX) != 0)
        abort();
    int taken = take_alone(path, order);
    close(held);
    return taken;
}

/* The same, with the orders to ourselves. */
static int take_alone(const char *path, struct order *order)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    unsigned long pass = 0;
    order->value = 0;
    int read = fscanf(file, "%lu %15s %lu", &pass, order->verb, &order->value);
    fclose(file);
    if (read < 2)
        return 0;
    char next[4096];
    if (pass > 0) {
        snprintf(next, sizeof next, "%s.next", path);
        FILE *less = fopen(next, "we");
        if (!less)
            abort();
        fprintf(less, "%lu %s %lu\n", pass - 1, order->verb, order->value);
        fclose(less);
        if (rename(next, path) != 0)
            abort();
        return 0;
    }
    if (unlink(path) != 0)
        abort();
    char line[64];
    note(line, (size_t)snprintf(line, sizeof line, "order %s %lu\n", order->verb, order->value));
    return 1;
}

static void pause_for(unsigned long milliseconds)
{
    struct timespec time = { (time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

static CK_RV sign_init(CK_HANDLE session, void *mechanism, CK_HANDLE key)
{
    CK_BYTE id[64];
    struct attribute attribute = { CKA_ID, id, sizeof id };
    CK_RV known = ((attributes_t)token->functions[GET_ATTRIBUTE_VALUE])(session, key, &attribute, 1);
    pthread_mutex_lock(&lock);
    size_t place = 0;
    while (place + 1 < sizeof keys / sizeof *keys && keys[place].session != session && keys[place].session != 0)
        place++;
    keys[place].session = session;
    strcpy(keys[place].key, "-");
    if (known == CKR_OK && attribute.length > 0 && attribute.length <= sizeof id)
        keys[place].key[hex(keys[place].key, id, attribute.length)] = 0;
    pthread_mutex_unlock(&lock);
    return ((sign_init_t)token->functions[SIGN_INIT])(session, mechanism, key);
}

/* Sessions, counted. */
static CK_RV counted(CK_RV result, const char *what)
{
    char line[64];
    if (result == CKR_OK) {
        int length = snprintf(line, sizeof line, "session %d %s\n", (int)getpid(), what);
        pthread_mutex_lock(&lock);
        note(line, (size_t)length);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
static CK_RV open_session(CK_HANDLE slot, CK_ULONG flags, void *application, void *notify, CK_HANDLE *session)
{
    return counted(((open_t)token->functions[OPEN_SESSION])(slot, flags, application, notify, session), "open");
}
static CK_RV close_session(CK_HANDLE session)
{
    return counted(((close_t)token->functions[CLOSE_SESSION])(session), "close");
}
static CK_RV close_all(CK_HANDLE slot)
{
    return counted(((close_t)token->functions[CLOSE_ALL])(slot), "none");
}
static CK_RV finalize(void *reserved)
{
    return counted(((finalize_t)token->functions[FINALIZE])(reserved), "none");
}

static CK_RV sign(CK_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature, CK_ULONG *size)
{
    sign_t real = (sign_t)token->functions[SIGN];
    if (!signature) /* How long will it be? Nothing is signed. */
        return real(session, data, length, signature, size);
    struct order order = { "", 0 };
    char *line = malloc(256 + 2 * (length > 4096 ? length : 4096));
    if (!line)
        abort();
    pthread_mutex_lock(&lock);
    unsigned long own = ++number;
    const char *key = "-";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].session == session)
            key = keys[i].key;
    size_t end = (size_t)sprintf(line, "sign %d %lu %s ", (int)getpid(), own, key);
    end += hex(line + end, data, length);
    line[end++] = '\n';
    note(line, end);
    int ordered = take(&order);
    pthread_mutex_unlock(&lock);
#define ORDERED(word) (ordered && strcmp(order.verb, word) == 0)
    if (ORDERED("kill-entry"))
        kill(getpid(), SIGKILL), pause();
    CK_RV result = CKR_OK;
    if (ORDERED("fail") || ORDERED("empty")) {
        free(line);
        return ORDERED("fail") ? order.value : CKR_OK;
    }
    if (ORDERED("delay"))
        pause_for(order.value);
    if (ORDERED("lose"))
        close_session(session);
    result = real(session, data, length, signature, size);
    end = (size_t)sprintf(line, "done %d %lu %lu ", (int)getpid(), own, result);
    if (result == CKR_OK)
        end += hex(line + end, signature, *size);
    line[end++] = '\n';
    pthread_mutex_lock(&lock);
    note(line, end);
    pthread_mutex_unlock(&lock);
    free(line);
    if (ORDERED("kill-return"))
        kill(getpid(), SIGKILL), pause();
    if (ORDERED("late"))
        pause_for(order.value);
    if (ORDERED("unknown"))
        return order.value;
    if (ORDERED("flip") && result == CKR_OK && *size > 0)
        signature[order.value / 8 % *size] ^= (CK_BYTE)(1u << order.value % 8);
    if (ORDERED("short") && result == CKR_OK && *size > 0)
        *size -= 1;
    return result;
}

/* Ways to a signature or a key that the server does not take. */
#define NOTED(name, place)                                                                                            \
    static CK_RV name(CK_HANDLE a, void *b, void *c, void *d, void *e, void *f, void *g, void *h)                      \
    {                                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        note("call " #name "\n", sizeof "call " #name);                                                                \
        pthread_mutex_unlock(&lock);                                                                                   \
        return ((any_t)token->functions[place])(a, b, c, d, e, f, g, h);                                               \
    }
NOTED(sign_update, SIGN_UPDATE)
NOTED(sign_recover, SIGN_RECOVER)
NOTED(sign_encrypt_update, SIGN_ENCRYPT_UPDATE)
NOTED(generate_key, GENERATE_KEY)
NOTED(generate_key_pair, GENERATE_KEY_PAIR)

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(struct list **answer)
{
    pthread_mutex_lock(&lock);
    if (!token) {
        const char *path = getenv("HOLDFAST_SHIM_MODULE");
        void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        get_list_t list = module ? (get_list_t)dlsym(module, "C_GetFunctionList") : NULL;
        if (!list || list(&token) != CKR_OK) {
            pthread_mutex_unlock(&lock);
            return CKR_GENERAL_ERROR;
        }
        ours = *token;
        ours.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
        ours.functions[FINALIZE] = (void *)finalize;
        ours.functions[OPEN_SESSION] = (void *)open_session;
        ours.functions[CLOSE_SESSION] = (void *)close_session;
        ours.functions[CLOSE_ALL] = (void *)close_all;
        ours.functions[SIGN_INIT] = (void *)sign_init;
        ours.functions[SIGN] = (void *)sign;
        ours.functions[SIGN_UPDATE] = (void *)sign_update;
        ours.functions[SIGN_RECOVER] = (void *)sign_recover;
        ours.functions[SIGN_ENCRYPT_UPDATE] = (void *)sign_encrypt_update;
        ours.functions[GENERATE_KEY] = (void *)generate_key;
        ours.functions[GENERATE_KEY_PAIR] = (void *)generate_key_pair;
    }
    pthread_mutex_unlock(&lock);
    *answer = &ours;
    return CKR_OK;
}
