/* A libnvidia-ml.so.1 for machines without a GPU: the calls that our collector makes, answered from a
 * control file that is looked at anew at every call, so that a test changes the driver's behaviour while
 * a monitor runs against it. Structures and codes are those of nvml.h.
 *
 * Control file, a line each (all optional). CALL is the name of a function here, I the number of a GPU
 * as it was made (its UUID), which `order` may put at another index.
 *   gpus N                    number of GPUs (default 1)
 *   order I I ...             which GPU stands at index 0, 1, ...
 *   hang CALL [K]             never return from CALL; with K, from the K-th CALL of the process on
 *   slow CALL MS              return from CALL after MS milliseconds
 *   crash CALL, segv CALL     abort, or touch memory that is not there, inside CALL
 *   error CALL CODE [I]       return CODE from CALL; with I, for that GPU
 *   unsupported CALL [I]      the same with NVML_ERROR_NOT_SUPPORTED
 *   value CALL NUMBER [I]     the answer of CALL, if that is one number
 *   value FIELD NUMBER [I]    the value of this field (NVML_FI_*) in nvmlDeviceGetFieldValues (default 61)
 *   field_error FIELD CODE [I]  CODE inside the value of this field; the call itself succeeds
 *   field_type FIELD TYPE     nvmlValueType_t of this field's value (default 1, unsigned int)
 *   init_error CODE           return CODE from nvmlInit
 *   lost I                    GPU I answers NVML_ERROR_GPU_IS_LOST at every call on its handle
 *   lost_handle I             there is no handle for it either
 *   generation N              a session begun under another number is over: NVML_ERROR_UNINITIALIZED
 *   stale CODE                after `generation` has changed, only handles are bad, and answer CODE
 *   process PID BYTES [I [P]] a compute process on every GPU; on GPU I; on its MIG instance P.
 *                             BYTES of -1: not available
 *   graphics PID BYTES [I]    a graphics process
 *   mig I COUNT               GPU I is divided into COUNT instances
 *   private I                 who uses GPU I is told for its instances only, not for the whole
 *   xid CODE SERIAL [I]       report this Xid once, of GPU I (default 0), to who has registered before the line
 *                             was there; each has a larger SERIAL
 *   log PATH                  append the name of each call and the GPU it is about (or -)
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, TIMEOUT = 10, GPU_IS_LOST = 15
};
enum { MAX_LINES = 512, LINE = 256, MAX_HANDLES = 4096, MAX_NAMES = 128, MAX_PROCESSES = 256, MAX_MIG = 7, MAX_GPUS = 64 };
#define GIB (1ULL << 30)
#define NONE 0xFFFFFFFFu

typedef struct { int generation, gpu, part; } handle_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process_t;
typedef struct { unsigned int version; int sensor, value; } temperature_t;
typedef struct {
    unsigned int field, scope;
    long long timestamp, latency;
    int type, answer;
    union { double floating; unsigned int whole; unsigned long long large; int negative; unsigned short small; } value;
} field_value_t;
typedef struct {
    char legacy[16];
    unsigned int domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_t;

typedef struct { handle_t *device; unsigned long long type, data; unsigned int gpu_instance, compute_instance; } event_t;
typedef struct { int registered[MAX_GPUS]; long serial; } events_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[MAX_LINES][LINE];
static int line_count;
static struct stat seen;
static handle_t handles[MAX_HANDLES];
static int handle_count;
static struct { char name[64]; long calls; } names[MAX_NAMES];
static atomic_int calls, sessions, session_generation;

/* ---- the control file ---- */

static void look_at_control_file(void) {
    const char *path = getenv("PYLON_NVML_STAND_IN");
    struct stat now;
    FILE *file;
    if (!path || stat(path, &now)) {
        line_count = 0;
        memset(&seen, 0, sizeof seen);
        return;
    }
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
        now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec) return;
    seen = now;
    line_count = 0;
    file = fopen(path, "r");
    while (file && line_count < MAX_LINES && fgets(lines[line_count], LINE, file)) line_count++;
    if (file) fclose(file);
}

/* The newest `word NUMBER`. */
static int setting(const char *word, int otherwise) {
    char name[64];
    int i, number, answer = otherwise;
    for (i = 0; i < line_count; i++)
        if (sscanf(lines[i], "%63s %d", name, &number) == 2 && !strcmp(name, word)) answer = number;
    return answer;
}

/* Whether there is `word I` for this GPU. */
static int marked(const char *word, int gpu) {
    char name[64];
    int i, number;
    for (i = 0; i < line_count; i++)
        if (sscanf(lines[i], "%63s %d", name, &number) == 2 && !strcmp(name, word) && number == gpu) return 1;
    return 0;
}

static int instances(int gpu) {
    int i, number, count;
    for (i = 0; i < line_count; i++)
        if (sscanf(lines[i], "mig %d %d", &number, &count) == 2 && number == gpu) return count;
    return 0;
}

/* `word CALL NUMBER [I]`: whether there is one for this call and GPU, and its number. */
static int ruled(const char *word, const char *call, int gpu, long *number) {
    char name[64], of[64];
    int i, fields, only;
    long found;
    for (i = 0; i < line_count; i++) {
        fields = sscanf(lines[i], "%63s %63s %ld %d", name, of, &found, &only);
        if (fields < 3 || strcmp(name, word) || strcmp(of, call) || (fields == 4 && only != gpu)) continue;
        *number = found;
        return 1;
    }
    return 0;
}

/* `word CALL [NUMBER]`: whether there is one; the number, or `otherwise`. */
static int said(const char *word, const char *call, long otherwise, long *number) {
    char name[64], of[64];
    int i, fields;
    for (i = 0; i < line_count; i++) {
        *number = otherwise;
        fields = sscanf(lines[i], "%63s %63s %ld", name, of, number);
        if (fields >= 2 && !strcmp(name, word) && !strcmp(of, call)) return 1;
    }
    return 0;
}

static long count_call(const char *call, int gpu) {
    char path[LINE];
    int i;
    calls++;
    for (i = 0; i < line_count; i++) {
        FILE *file;
        if (sscanf(lines[i], "log %255s", path) != 1 || !(file = fopen(path, "a"))) continue;
        if (gpu < 0) fprintf(file, "%s -\n", call); else fprintf(file, "%s %d\n", call, gpu);
        fclose(file);
    }
    for (i = 0; i < MAX_NAMES - 1 && names[i].name[0] && strcmp(names[i].name, call); i++) {}
    if (!names[i].name[0]) snprintf(names[i].name, sizeof names[i].name, "%s", call);
    return ++names[i].calls;
}

/* Do what the control file says about `call`; give its answer. The lock is not held while it hangs. */
static int enter(const char *call, int gpu) {
    long number, slow_ms = 0, nth;
    int answer = SUCCESS, hangs, crashes, segv;
    pthread_mutex_lock(&lock);
    look_at_control_file();
    nth = count_call(call, gpu);
    hangs = said("hang", call, 1, &number) && nth >= number;
    crashes = said("crash", call, 0, &number);
    segv = said("segv", call, 0, &number);
    ruled("slow", call, gpu, &slow_ms);
    if (ruled("error", call, gpu, &number)) answer = (int)number;
    if (said("unsupported", call, -1, &number) && (number < 0 || number == gpu)) answer = NOT_SUPPORTED;
    pthread_mutex_unlock(&lock);
    if (crashes) abort();
    if (segv) { volatile int *volatile nowhere = NULL; *nowhere = 1; }
    while (hangs) sleep(1);
    if (slow_ms) usleep((useconds_t)slow_ms * 1000);
    return answer;
}

static int enter_session(const char *call, int gpu) {
    int answer = enter(call, gpu);
    if (answer != SUCCESS) return answer;
    if (!sessions) return UNINITIALIZED;
    if (session_generation != setting("generation", 0) && setting("stale", UNINITIALIZED) == UNINITIALIZED) return UNINITIALIZED;
    return SUCCESS;
}

static int enter_device(const char *call, handle_t *device) {
    int answer = enter(call, device->gpu);
    if (answer != SUCCESS) return answer;
    if (!sessions) return UNINITIALIZED;
    if (device->generation != setting("generation", 0)) return setting("stale", UNINITIALIZED);
    if (marked("lost", device->gpu) || marked("lost_handle", device->gpu)) return GPU_IS_LOST;
    return SUCCESS;
}

/* ---- sessions and handles ---- */

static int begin(const char *call) {
    int answer = enter(call, -1);
    if (answer == SUCCESS) answer = setting("init_error", SUCCESS);
    /* As the real one: a session that is open already is counted, not begun anew. */
    if (answer == SUCCESS && !sessions++) session_generation = setting("generation", 0);
    return answer;
}
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return begin("nvmlInitWithFlags"); }
int nvmlInit_v2(void) { return begin("nvmlInit_v2"); }
int nvmlShutdown(void) {
    int answer = enter("nvmlShutdown", -1);
    if (answer != SUCCESS) return answer;
    if (!sessions) return UNINITIALIZED;
    sessions--;
    return SUCCESS;
}
const char *nvmlErrorString(int code) { (void)code; return "stand-in error"; }

static handle_t *handle(int gpu, int part) {
    int i, generation = setting("generation", 0);
    if (setting("stale", UNINITIALIZED) != UNINITIALIZED) generation = session_generation;
    pthread_mutex_lock(&lock);
    for (i = 0; i < handle_count; i++)
        if (handles[i].generation == generation && handles[i].gpu == gpu && handles[i].part == part) break;
    if (i == handle_count && handle_count < MAX_HANDLES - 1) handles[handle_count++] = (handle_t){generation, gpu, part};
    pthread_mutex_unlock(&lock);
    return &handles[i];
}

static int gpu_at(int index) {
    int i, place, used, gpu;
    for (i = 0; i < line_count; i++) {
        const char *rest = lines[i] + 5;
        if (strncmp(lines[i], "order", 5)) continue;
        for (place = 0; sscanf(rest, "%d%n", &gpu, &used) == 1; place++, rest += used)
            if (place == index) return gpu;
    }
    return index;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    int answer = enter_session("nvmlDeviceGetCount_v2", -1);
    *count = (unsigned int)setting("gpus", 1);
    return answer;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, handle_t **device) {
    int gpu = gpu_at((int)index), answer = enter_session("nvmlDeviceGetHandleByIndex_v2", gpu);
    if (answer != SUCCESS) return answer;
    if (index >= (unsigned int)setting("gpus", 1)) return INVALID_ARGUMENT;
    if (marked("lost_handle", gpu)) return GPU_IS_LOST;
    *device = handle(gpu, -1);
    return SUCCESS;
}
int nvmlDeviceGetUUID(handle_t *device, char *uuid, unsigned int length) {
    int answer = enter_device("nvmlDeviceGetUUID", device);
    if (answer != SUCCESS) return answer;
    if (device->part < 0) snprintf(uuid, length, "GPU-%08d-0000-0000-0000-000000000000", device->gpu);
    else snprintf(uuid, length, "MIG-%08d-0000-0000-0000-%012d", device->gpu, device->part);
    return SUCCESS;
}

/* ---- what a GPU tells ---- */

#define DEVICE_CALL(NAME, ARGUMENTS, BODY)                 \
    int NAME ARGUMENTS {                                   \
        int answer = enter_device(#NAME, device);          \
        const char *call = #NAME;                          \
        (void)call;                                        \
        if (answer != SUCCESS) return answer;              \
        BODY;                                              \
        return SUCCESS;                                    \
    }
/* A whole GPU tells it, a part of one does not. */
#define WHOLE_CALL(NAME, ARGUMENTS, BODY) \
    DEVICE_CALL(NAME, ARGUMENTS, if (device->part >= 0) return NOT_SUPPORTED; BODY)

static long told(const char *call, handle_t *device, long otherwise) {
    long number = otherwise;
    return ruled("value", call, device->gpu, &number) ? number : otherwise;
}
#define TELL(OTHERWISE) told(call, device, OTHERWISE)

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    int answer = enter_session("nvmlSystemGetDriverVersion", -1);
    if (answer == SUCCESS) snprintf(version, length, "999.01");
    return answer;
}
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13010; return enter_session("nvmlSystemGetCudaDriverVersion", -1); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return enter_session("nvmlSystemGetCudaDriverVersion_v2", -1); }

DEVICE_CALL(nvmlDeviceGetName, (handle_t *device, char *name, unsigned int length),
            snprintf(name, length, "Stand-in %d", device->gpu))
WHOLE_CALL(nvmlDeviceGetPciInfo_v3, (handle_t *device, pci_t *info),
           memset(info, 0, sizeof *info); info->bus = (unsigned int)device->gpu + 1;
           snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus))
WHOLE_CALL(nvmlDeviceGetUtilizationRates, (handle_t *device, utilization_t *rates),
           if (instances(device->gpu)) return NOT_SUPPORTED;
           rates->gpu = (unsigned int)TELL(calls % 101); rates->memory = 20)

static unsigned long long used_of(const handle_t *device) {
    return device->part < 0 ? (1ULL + (unsigned)device->gpu) * GIB : GIB / 2;
}
static unsigned long long total_of(const handle_t *device) { return (device->part < 0 ? 80 : 10) * GIB; }
/* Version 1 counts what is reserved as used; version 2 does not. */
DEVICE_CALL(nvmlDeviceGetMemoryInfo, (handle_t *device, memory_t *memory),
            memory->total = total_of(device); memory->used = used_of(device) + GIB / 4;
            memory->free = memory->total - memory->used)
DEVICE_CALL(nvmlDeviceGetMemoryInfo_v2, (handle_t *device, memory_v2_t *memory),
            if (memory->version != (sizeof *memory | 2u << 24)) return 25;
            memory->total = total_of(device); memory->used = used_of(device); memory->reserved = GIB / 4;
            memory->free = memory->total - memory->used - memory->reserved)
WHOLE_CALL(nvmlDeviceGetTemperature, (handle_t *device, int sensor, unsigned int *value), (void)sensor; *value = (unsigned int)TELL(45))
WHOLE_CALL(nvmlDeviceGetTemperatureV, (handle_t *device, temperature_t *value), value->value = (int)TELL(46))
WHOLE_CALL(nvmlDeviceGetPowerUsage, (handle_t *device, unsigned int *milliwatt), *milliwatt = (unsigned int)TELL(250500))
WHOLE_CALL(nvmlDeviceGetEnforcedPowerLimit, (handle_t *device, unsigned int *milliwatt), *milliwatt = (unsigned int)TELL(700000))
WHOLE_CALL(nvmlDeviceGetTotalEnergyConsumption, (handle_t *device, unsigned long long *millijoule),
           *millijoule = (unsigned long long)TELL(1000L * calls))
WHOLE_CALL(nvmlDeviceGetClockInfo, (handle_t *device, int kind, unsigned int *mhz), *mhz = kind == 2 ? 2600 : 1500)
WHOLE_CALL(nvmlDeviceGetMaxClockInfo, (handle_t *device, int kind, unsigned int *mhz), *mhz = kind == 2 ? 2619 : 1980)
WHOLE_CALL(nvmlDeviceGetCurrentClocksThrottleReasons, (handle_t *device, unsigned long long *reasons),
           *reasons = (unsigned long long)TELL(4))
WHOLE_CALL(nvmlDeviceGetCurrentClocksEventReasons, (handle_t *device, unsigned long long *reasons),
           *reasons = (unsigned long long)TELL(4))
WHOLE_CALL(nvmlDeviceGetFanSpeed, (handle_t *device, unsigned int *percent), *percent = (unsigned int)TELL(30))
WHOLE_CALL(nvmlDeviceGetPcieThroughput, (handle_t *device, int counter, unsigned int *kilobytes),
           *kilobytes = counter ? 2000 : 1000)
WHOLE_CALL(nvmlDeviceGetTotalEccErrors, (handle_t *device, int kind, int counter, unsigned long long *count),
           (void)counter; *count = kind ? 0 : 3)

/* An error of one field lies inside its value. */
static void fill(const handle_t *device, field_value_t *value) {
    char field[16];
    long answer = SUCCESS, number = 61, type = 1;
    snprintf(field, sizeof field, "%u", value->field);
    ruled("field_error", field, device->gpu, &answer);
    ruled("value", field, device->gpu, &number);
    ruled("field_type", field, device->gpu, &type);
    value->answer = (int)answer;
    value->type = (int)type;
    value->value.large = 0;
    if (answer != SUCCESS) return;
    if (type == 0) value->value.floating = (double)number;
    else if (type == 5) value->value.negative = (int)number;
    else if (type == 6) value->value.small = (unsigned short)number;
    else if (type == 1) value->value.whole = (unsigned int)number;
    else value->value.large = (unsigned long long)number;
}
WHOLE_CALL(nvmlDeviceGetFieldValues, (handle_t *device, int count, field_value_t *values),
           for (int i = 0; i < count; i++) fill(device, &values[i]))
WHOLE_CALL(nvmlDeviceGetPersistenceMode, (handle_t *device, int *mode), *mode = (int)TELL(1))
WHOLE_CALL(nvmlDeviceGetComputeMode, (handle_t *device, int *mode), *mode = (int)TELL(0))

/* ---- parts ---- */

WHOLE_CALL(nvmlDeviceGetMigMode, (handle_t *device, unsigned int *current, unsigned int *pending),
           *current = *pending = instances(device->gpu) > 0)
WHOLE_CALL(nvmlDeviceGetMaxMigDeviceCount, (handle_t *device, unsigned int *count), *count = MAX_MIG)
WHOLE_CALL(nvmlDeviceGetMigDeviceHandleByIndex, (handle_t *device, unsigned int index, handle_t **part),
           if (index >= (unsigned int)instances(device->gpu)) return NOT_FOUND;
           *part = handle(device->gpu, (int)index))
DEVICE_CALL(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (handle_t *device, handle_t **whole),
            if (device->part < 0) return INVALID_ARGUMENT;
            *whole = handle(device->gpu, -1))
DEVICE_CALL(nvmlDeviceGetGpuInstanceId, (handle_t *device, unsigned int *id),
            if (device->part < 0) return INVALID_ARGUMENT;
            *id = (unsigned int)device->part + 1)
DEVICE_CALL(nvmlDeviceGetComputeInstanceId, (handle_t *device, unsigned int *id),
            if (device->part < 0) return INVALID_ARGUMENT;
            *id = 0)

/* ---- processes ---- */

static int list_processes(const char *call, const char *word, handle_t *device, unsigned int *count, process_t *rows) {
    unsigned int room = *count, found = 0, pid;
    int answer = enter_device(call, device), i, fields, gpu, part;
    char name[64];
    unsigned long long bytes;
    if (answer != SUCCESS) return answer;
    if (device->part < 0 && marked("private", device->gpu)) return NO_PERMISSION;
    if (!strcmp(word, "graphics") && instances(device->gpu)) return NOT_SUPPORTED;
    for (i = 0; i < line_count && found < MAX_PROCESSES; i++) {
        fields = sscanf(lines[i], "%63s %u %llu %d %d", name, &pid, &bytes, &gpu, &part);
        if (fields < 3 || strcmp(name, word) || (fields > 3 && gpu != device->gpu)) continue;
        if (device->part >= 0 && (fields < 5 || part != device->part)) continue;
        if (rows && found < room)
            rows[found] = (process_t){pid, bytes, fields == 5 ? (unsigned int)part + 1 : NONE, fields == 5 ? 0 : NONE};
        found++;
    }
    *count = found;
    return room < found ? INSUFFICIENT_SIZE : SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(handle_t *device, unsigned int *count, process_t *rows) {
    return list_processes("nvmlDeviceGetComputeRunningProcesses_v3", "process", device, count, rows);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(handle_t *device, unsigned int *count, process_t *rows) {
    return list_processes("nvmlDeviceGetGraphicsRunningProcesses_v3", "graphics", device, count, rows);
}

/* ---- events ---- */

int nvmlEventSetCreate(events_t **set) {
    int answer = enter_session("nvmlEventSetCreate", -1);
    if (answer == SUCCESS) *set = calloc(1, sizeof **set);
    return answer;
}
int nvmlEventSetFree(events_t *set) {
    int answer = enter_session("nvmlEventSetFree", -1);
    if (answer == SUCCESS) free(set);
    return answer;
}
/* What was reported before that is not reported again. */
static void forget_reported(events_t *set) {
    long code, serial;
    int i;
    for (i = 0; i < line_count; i++)
        if (sscanf(lines[i], "xid %ld %ld", &code, &serial) == 2 && serial > set->serial) set->serial = serial;
}
WHOLE_CALL(nvmlDeviceRegisterEvents, (handle_t *device, unsigned long long types, events_t *set),
           if (!(types & 8)) return INVALID_ARGUMENT;
           forget_reported(set); set->registered[device->gpu % MAX_GPUS] = 1)
int nvmlEventSetWait_v2(events_t *set, event_t *event, unsigned int milliseconds) {
    int answer = enter_session("nvmlEventSetWait_v2", -1), i, fields, gpu, found = -1;
    long code, serial;
    char name[64];
    if (answer != SUCCESS) return answer;
    for (i = 0; i < line_count && found < 0; i++) {
        gpu = 0;
        fields = sscanf(lines[i], "%63s %ld %ld %d", name, &code, &serial, &gpu);
        if (fields < 3 || strcmp(name, "xid") || serial <= set->serial || !set->registered[gpu % MAX_GPUS]) continue;
        found = gpu;
    }
    if (found < 0) { usleep(milliseconds * 1000); return TIMEOUT; }
    set->serial = serial;
    *event = (event_t){handle(found, -1), 8, (unsigned long long)code, NONE, NONE};
    return SUCCESS;
}
