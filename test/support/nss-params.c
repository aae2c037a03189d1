/*
 * NSS softokn for programs that call C_Initialize(NULL), as pkcs11-tool does: its parameters come from NSS_LIB_PARAMS, as
 * with NSS 3.95 and later.
 */
#include <dlfcn.h>
#include <stdlib.h>

struct arguments {
  void *mutexes[4];
  unsigned long flags;
  char *parameters;
  void *reserved;
};

struct functions {
  unsigned char version[2];
  unsigned long (*initialize)(void *);
  void *rest[67];
};

static struct functions *nss;
static struct functions own;

static unsigned long initialize(void *given) {
  struct arguments arguments = { .flags = 2 /* CKF_OS_LOCKING_OK */, .parameters = getenv("NSS_LIB_PARAMS") };
  (void)given;
  return nss->initialize(&arguments);
}

unsigned long C_GetFunctionList(struct functions **list) {
  void *library = dlopen(SOFTOKN, RTLD_NOW | RTLD_LOCAL);
  unsigned long (*get)(struct functions **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
  if (get == NULL || get(&nss) != 0) return 5; /* CKR_GENERAL_ERROR */
  own = *nss;
  own.initialize = initialize;
  *list = &own;
  return 0;
}
