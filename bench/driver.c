/*
 * The same operations from C, through dlopen: what a call costs without us, or through p11-kit-client.so from a server.
 *
 * usage: driver LIBRARY LABEL PIN, the user PIN of the token with that label
 * Says "ready", then reads lines, and answers each:
 *   OPERATION COUNT     the nanoseconds that COUNT of them took
 *   during:OPERATION MS how many began within MS milliseconds, and the nanoseconds that these took
 *   slowest:OPERATION MS of those that began within MS milliseconds: the time of the slowest, in nanoseconds, that of the
 *                       slowest but one in a thousand, and how many there were
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

static void begin(const char *label)
{
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };

	check("C_Initialize", p11->C_Initialize(&args));
	check("C_OpenSession",
	      p11->C_OpenSession(find_slot(label), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
}

static void login(const char *pin)
{
	check("C_Login", p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)));
}

/* A pair of the session, which goes again at once. */
static void generate(CK_ULONG bits)
{
	CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
	CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
	CK_BYTE exponent[] = { 1, 0, 1 };
	CK_ATTRIBUTE public[] = {
		{ CKA_TOKEN, &no, sizeof no },
		{ CKA_MODULUS_BITS, &bits, sizeof bits },
		{ CKA_PUBLIC_EXPONENT, exponent, sizeof exponent },
	};
	CK_ATTRIBUTE private[] = { { CKA_TOKEN, &no, sizeof no }, { CKA_SIGN, &yes, sizeof yes } };
	CK_OBJECT_HANDLE half, other;

	check("C_GenerateKeyPair", p11->C_GenerateKeyPair(session, &mechanism, public, 3, private, 2, &half, &other));
	check("C_DestroyObject", p11->C_DestroyObject(session, half));
	check("C_DestroyObject", p11->C_DestroyObject(session, other));
}

static const char *label, *pin;
static CK_OBJECT_HANDLE ec, rsa;
static int logged_in;

/* Handles of private objects end with the login. */
static void ready(void)
{
	if (logged_in)
		return;
	login(pin);
	ec = find_key("ec");
	rsa = find_key("rsa");
	logged_in = 1;
}

static void operate(const char *what)
{
	CK_SESSION_INFO info;

	if (strcmp(what, "connect") == 0) {
		/* p11-kit-client.so connects when it is initialised. */
		check("C_Finalize", p11->C_Finalize(NULL));
		begin(label);
		logged_in = 0;
		return;
	}
	ready();
	if (strcmp(what, "info") == 0) {
		check("C_GetSessionInfo", p11->C_GetSessionInfo(session, &info));
	} else if (strcmp(what, "ecdsa") == 0) {
		sign(CKM_ECDSA, ec);
	} else if (strcmp(what, "rsa") == 0) {
		sign(CKM_SHA256_RSA_PKCS, rsa);
	} else if (strcmp(what, "login") == 0) {
		check("C_Logout", p11->C_Logout(session));
		logged_in = 0;
		ready();
	} else if (strcmp(what, "generate") == 0) {
		generate(3072);
	} else {
		fprintf(stderr, "driver: no operation %s\n", what);
		exit(1);
	}
}

static long long now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int longer(const void *a, const void *b)
{
	long long one = *(const long long *)a, other = *(const long long *)b;

	return (one < other) - (one > other);
}

static void tell_slowest(const char *what, long ms)
{
	const size_t most = 4000000;
	long long *times = malloc(most * sizeof *times), start = now(), before = start;
	size_t n = 0;

	while (n < most && before - start < ms * 1000000LL) {
		long long after;

		operate(what);
		after = now();
		times[n++] = after - before;
		before = after;
	}
	qsort(times, n, sizeof *times, longer);
	printf("%lld %lld %zu\n", times[0], times[n / 1000], n);
	free(times);
}

int main(int argc, char **argv)
{
	void *library;
	CK_C_GetFunctionList get;
	char line[32];
	long count;

	if (argc != 4 || (library = dlopen(argv[1], RTLD_NOW)) == NULL) {
		fprintf(stderr, "driver: %s\n", argc == 4 ? dlerror() : "usage: driver LIBRARY LABEL PIN");
		return 1;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	check("C_GetFunctionList", get(&p11));
	label = argv[2];
	pin = argv[3];
	begin(label);
	ready();
	puts("ready");
	fflush(stdout);
	while (scanf("%31s %ld", line, &count) == 2) {
		char *colon = strchr(line, ':');
		const char *what = colon == NULL ? line : colon + 1;
		long long start = now();
		long done = 0;

		if (strncmp(line, "slowest:", 8) == 0) {
			tell_slowest(what, count);
		} else if (strncmp(line, "during:", 7) == 0) {
			for (; now() - start < count * 1000000LL; done++)
				operate(what);
			printf("%ld %lld\n", done, now() - start);
		} else {
			for (; done < count; done++)
				operate(what);
			printf("%lld\n", now() - start);
		}
		fflush(stdout);
	}
	check("C_Finalize", p11->C_Finalize(NULL));
	return 0;
}
