/*
 * The same operations from C, through dlopen: what a call costs without us.
 *
 * usage: driver LIBRARY LABEL PIN, the user PIN of the token with that label
 * Reads lines "OPERATION COUNT"; answers each with the nanoseconds that COUNT of them took.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;

static void check(const char *what, CK_RV rv)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "driver: %s: 0x%lx\n", what, rv);
	exit(1);
}

/* The slot of the token with a label, which the token pads with blanks. */
static CK_SLOT_ID find_slot(const char *label)
{
	CK_SLOT_ID slots[64];
	CK_ULONG count = 64;
	CK_TOKEN_INFO info;
	size_t length = strlen(label);

	check("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &count));
	for (CK_ULONG i = 0; i < count; i++) {
		check("C_GetTokenInfo", p11->C_GetTokenInfo(slots[i], &info));
		if (memcmp(info.label, label, length) == 0 && (length == 32 || info.label[length] == ' '))
			return slots[i];
	}
	fprintf(stderr, "driver: no token %s\n", label);
	exit(1);
}

static CK_OBJECT_HANDLE find_key(const char *label)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE match[] = {
		{ CKA_CLASS, &class, sizeof class },
		{ CKA_LABEL, (void *)label, strlen(label) },
	};
	CK_OBJECT_HANDLE found = 0;
	CK_ULONG count = 0;

	check("C_FindObjectsInit", p11->C_FindObjectsInit(session, match, 2));
	check("C_FindObjects", p11->C_FindObjects(session, &found, 1, &count));
	check("C_FindObjectsFinal", p11->C_FindObjectsFinal(session));
	if (count == 1)
		return found;
	fprintf(stderr, "driver: no key %s\n", label);
	exit(1);
}

static void sign(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
	static CK_BYTE data[32] = { 9 };
	CK_BYTE signature[256];
	CK_ULONG length = sizeof signature;
	CK_MECHANISM mechanism = { type, NULL, 0 };

	check("C_SignInit", p11->C_SignInit(session, &mechanism, key));
	check("C_Sign", p11->C_Sign(session, data, sizeof data, signature, &length));
}

int main(int argc, char **argv)
{
	void *library;
	CK_C_GetFunctionList get;
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	CK_OBJECT_HANDLE ec, rsa;
	char what[32];
	long count;

	if (argc != 4 || (library = dlopen(argv[1], RTLD_NOW)) == NULL) {
		fprintf(stderr, "driver: %s\n", argc == 4 ? dlerror() : "usage: driver LIBRARY LABEL PIN");
		return 1;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	check("C_GetFunctionList", get(&p11));
	check("C_Initialize", p11->C_Initialize(&args));
	check("C_OpenSession", p11->C_OpenSession(find_slot(argv[2]), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
						  &session));
	check("C_Login", p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)argv[3], strlen(argv[3])));
	ec = find_key("ec");
	rsa = find_key("rsa");
	while (scanf("%31s %ld", what, &count) == 2) {
		struct timespec before, after;
		CK_SESSION_INFO info;

		clock_gettime(CLOCK_MONOTONIC, &before);
		for (long i = 0; i < count; i++) {
			if (strcmp(what, "info") == 0)
				check("C_GetSessionInfo", p11->C_GetSessionInfo(session, &info));
			else if (strcmp(what, "ecdsa") == 0)
				sign(CKM_ECDSA, ec);
			else
				sign(CKM_SHA256_RSA_PKCS, rsa);
		}
		clock_gettime(CLOCK_MONOTONIC, &after);
		printf("%lld\n", (after.tv_sec - before.tv_sec) * 1000000000LL + (after.tv_nsec - before.tv_nsec));
		fflush(stdout);
	}
	check("C_Finalize", p11->C_Finalize(NULL));
	return 0;
}
