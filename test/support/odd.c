/*
 * A PKCS#11 3.2 module that misbehaves on demand, for the tests. Compiled by odd.ts.
 *
 * One slot, 7; any session handle. What is odd:
 *   C_GetInfo            manufacturerID is ODD_TEXT of the environment, libraryDescription is SECRET of the environment
 *   C_GetTokenInfo       label is the string in pReserved, serialNumber says how often C_Initialize ran; ends with zeros
 *   C_GenerateRandom     never returns
 *   C_SeedRandom         crashes
 *   C_DigestInit         takes 300 ms
 *   C_WaitForSlotEvent   first tells the slots in ODD_EVENTS of the environment, a digit each; then it returns when
 *                        C_Finalize was called, or never with ODD_STUBBORN in the environment
 *   C_Finalize           says so on standard output, with ODD_STUBBORN
 *   C_Finalize and loading never return where ODD_HANGS is "finalize" or "load"; C_Initialize where it is "initialize"
 *   C_EncryptInit        writes an initialisation vector of its own into CK_GCM_PARAMS
 *   C_EncryptUpdate      writes another one there
 *   C_Digest             says that it wrote more than there was room for
 *   C_EncryptMessage     changes its parameter
 *   C_GetAttributeValue  CK_ULONGs of 4 and 2 bytes, an empty CK_BBOOL and one of 8 bytes, all ones
 *   C_EncapsulateKey     (3.2) a ciphertext of 5 bytes, and key 77
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong;
typedef unsigned char byte;
typedef struct { ulong type; void *value; ulong length; } attribute;
typedef struct { ulong type; void *parameter; ulong length; } mechanism;
typedef struct { byte *iv; ulong iv_length, iv_bits; byte *aad; ulong aad_length, tag_bits; } gcm;
typedef struct { void *mutex[4]; ulong flags; const char *reserved; } init_args;
typedef struct { byte *name; void *list; ulong flags; } interface;

enum { OK = 0, ARGUMENTS_BAD = 7, NO_EVENT = 8, NOT_SUPPORTED = 0x54, TOO_SMALL = 0x150, NOT_INITIALIZED = 0x190, ALREADY = 0x191 };

static char reserved[33];
static int initialised, times;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void text(byte *to, size_t size, const char *from) {
  memset(to, ' ', size);
  if (from) memcpy(to, from, strlen(from) < size ? strlen(from) : size);
}

static void hang_if(const char *where) {
  const char *hangs = getenv("ODD_HANGS");
  if (hangs && !strcmp(hangs, where)) for (;;) pause();
}

static ulong initialize(init_args *args) {
  hang_if("initialize");
  if (initialised) return ALREADY;
  if (!args || !(args->flags & 2)) return ARGUMENTS_BAD;
  memset(reserved, 0, sizeof reserved);
  if (args->reserved) strncpy(reserved, args->reserved, 32);
  initialised = 1;
  times++;
  return OK;
}

static ulong finalize(void *unused) {
  hang_if("finalize");
  pthread_mutex_lock(&lock);
  initialised = 0;
  pthread_cond_broadcast(&ended);
  if (getenv("ODD_STUBBORN")) write(1, "finalised", 9);
  pthread_mutex_unlock(&lock);
  return OK;
}

static ulong get_info(byte *info) {
  memset(info, 0, 88);
  info[0] = 3, info[1] = 2;
  text(info + 2, 32, getenv("ODD_TEXT"));
  text(info + 48, 32, getenv("SECRET"));
  return OK;
}

static ulong get_slot_list(byte present, ulong *list, ulong *count) {
  if (list && *count < 1) { *count = 1; return TOO_SMALL; }
  if (list) *list = 7;
  *count = 1;
  return OK;
}

static ulong get_token_info(ulong slot, byte *info) {
  memset(info, 0, 208);
  text(info, 32, reserved);
  info[80] = '0' + times;
  return OK;
}

static ulong open_session(ulong slot, ulong flags, void *a, void *b, ulong *session) {
  static ulong last = 0xfffffffffffffff0;
  if (!initialised) return NOT_INITIALIZED;
  *session = ++last;
  return OK;
}

static ulong one(ulong a) { return initialised ? OK : NOT_INITIALIZED; }

static ulong get_session_info(ulong session, ulong *info) {
  info[0] = 7, info[1] = 3, info[2] = 6, info[3] = ~0ul;
  return OK;
}

static ulong get_attribute_value(ulong session, ulong object, attribute *t, ulong count) {
  for (ulong i = 0; i < count; i++) {
    ulong size = t[i].type == 0x100 ? 4 : t[i].type == 0 ? 2 : t[i].type == 1 ? 0 : t[i].type == 0x121 ? 8 : t[i].type == 0x103 ? 8
               : t[i].type == 0x161 ? 3 : 4;
    if (t[i].value && t[i].length >= size) {
      memset(t[i].value, 0, size);
      if (size) *(byte *)t[i].value = 3;
      if (t[i].type == 0x121 || t[i].type == 0x90) memset(t[i].value, 0xff, size);
    } else if (t[i].value) return t[i].length = ~0ul, TOO_SMALL;
    t[i].length = size;
  }
  return OK;
}

static ulong random_hangs(ulong session, byte *out, ulong length) {
  for (;;) pause();
}

static ulong seed_crashes(ulong session, byte *seed, ulong length) {
  *(volatile int *)8 = 1;
  return OK;
}

static ulong digest_init(ulong session, mechanism *m) {
  usleep(300000);
  return OK;
}

static ulong wait_for_slot_event(ulong flags, ulong *slot, void *unused) {
  static int told;
  const char *events = getenv("ODD_EVENTS");
  if (events && events[told]) return *slot = events[told++] - '0', OK;
  if (flags & 1) return NO_EVENT;
  if (getenv("ODD_STUBBORN")) for (;;) pause();
  pthread_mutex_lock(&lock);
  while (initialised) pthread_cond_wait(&ended, &lock);
  pthread_mutex_unlock(&lock);
  return NOT_INITIALIZED;
}

static gcm *begun;

static ulong encrypt_init(ulong session, mechanism *m, ulong key) {
  begun = m->length == sizeof(gcm) ? m->parameter : NULL;
  if (begun) memset(begun->iv, 0xab, begun->iv_length);
  return OK;
}

static ulong encrypt_update(ulong session, byte *in, ulong length, byte *out, ulong *out_length) {
  if (begun) memset(begun->iv, 0xcd, begun->iv_length);
  *out_length = 0;
  return OK;
}

static ulong digest(ulong session, byte *in, ulong length, byte *out, ulong *out_length) {
  *out_length += 1;
  return OK;
}

static ulong encrypt_message(ulong session, byte *p, ulong p_length, byte *aad, ulong aad_length, byte *in, ulong length,
                             byte *out, ulong *out_length) {
  p[0] ^= 0xff;
  for (ulong i = 0; i < length; i++) out[i] = in[i] ^ aad[0];
  *out_length = length;
  return OK;
}

static ulong encapsulate(ulong session, mechanism *m, ulong key, attribute *t, ulong count, byte *out, ulong *length,
                         ulong *made) {
  if (!out || *length < 5) { *length = 5; return out ? TOO_SMALL : OK; }
  memcpy(out, "12345", *length = 5);
  *made = 77;
  return OK;
}

static struct { byte major, minor; void *f[104]; } list = { 3, 2, {
  [0] = initialize, [1] = finalize, [2] = get_info, [4] = get_slot_list, [6] = get_token_info, [12] = open_session,
  [13] = one, [14] = one, [15] = get_session_info, [24] = get_attribute_value, [29] = encrypt_init, [31] = encrypt_update,
  [37] = digest_init, [38] = digest, [63] = seed_crashes, [64] = random_hangs, [67] = wait_for_slot_event, [73] = encrypt_message,
  [92] = encapsulate } };

#ifdef CLASSIC
/* Only C_GetFunctionList, and what CLASSIC says is odd about it: LIST_FAILS, LIST_NULL, SAYS_3 (behind its 68 functions is
 * something else), MANY_SLOTS. */
enum { LIST_FAILS = 1, LIST_NULL, SAYS_3, MANY_SLOTS };

static ulong many_slots(byte present, ulong *list, ulong *count) {
  if (!list) *count = 1ul << 40;
  return OK;
}

ulong C_GetFunctionList(void **out) {
  static struct { byte major, minor; void *f[68]; void *behind[40]; } classic = { 2, 40 };
  memcpy(classic.f, list.f, sizeof classic.f);
  memset(classic.behind, 0x5a, sizeof classic.behind);
  if (CLASSIC == SAYS_3) classic.major = 3, classic.minor = 0;
  if (CLASSIC == MANY_SLOTS) classic.f[4] = many_slots;
  *out = CLASSIC == LIST_NULL ? NULL : &classic;
  return CLASSIC == LIST_FAILS ? 5 : OK;
}
#else
ulong C_GetFunctionList(void **out) {
  static struct { byte major, minor; void *f[68]; } classic = { 2, 40 };
  memcpy(classic.f, list.f, sizeof classic.f);
  *out = &classic;
  return OK;
}

ulong C_GetInterfaceList(interface *out, ulong *count) {
  hang_if("load");
  static interface offered[] = { { (byte *)"Vendor odd", &list, 0 }, { (byte *)"PKCS 11", &list, 0 } };
  if (out) memcpy(out, offered, sizeof offered);
  *count = 2;
  return OK;
}
#endif
