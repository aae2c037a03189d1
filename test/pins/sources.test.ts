/** Where PINs come from. */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { Pin } from "../../src/cryptoki/pin.ts";
import { UriError } from "../../src/cryptoki/uri.ts";
import { type PinSource, PinSourceError, pinSourceFromUri, readPin } from "../../src/pins/sources.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "keywright-pins-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function read(source: PinSource, inside: string): Promise<string> {
  const pin = await readPin(source, { folder: inside, purpose: "a test" });
  return pin.use((bytes) => Buffer.from(bytes).toString("latin1"));
}

describe("a file", () => {
  test.each([
    ["1234\n", "1234"],
    ["1234\r\n", "1234"],
    ["1234", "1234"],
    [" 12 34 \n\n", " 12 34 \n"],
    ["p!$\xff\x00\x01\n", "p!$\xff\x00\x01"],
  ])("with %j gives %j: one newline is not part of it, any bytes are a PIN (B10, B11)", async (contents, pin) => {
    const inside = folder();
    writeFileSync(join(inside, "pin"), Buffer.from(contents, "latin1"), { mode: 0o600 });
    expect(await read({ file: "pin" }, inside)).toBe(pin);
  });

  test("that everybody can read is refused, but not behind a shut folder, nor when that is allowed", async () => {
    const inside = folder();
    writeFileSync(join(inside, "pin"), "1234", { mode: 0o644 });
    chmodSync(join(inside, "pin"), 0o644);
    expect(await read({ file: "pin" }, inside)).toBe("1234");
    chmodSync(inside, 0o755);
    await expect(read({ file: "pin" }, inside)).rejects.toThrow("everybody on this machine can read");
    expect(await read({ file: "pin", allowWorldReadable: true }, inside)).toBe("1234");
  });

  test("that is endless or too long is refused", async () => {
    await expect(read({ file: "/dev/zero", allowWorldReadable: true }, "/")).rejects.toThrow("more than 4096");
  });
});

describe("a pipe", () => {
  function pipe(): { readonly inside: string; readonly path: string } {
    const inside = folder();
    const path = join(inside, "pipe");
    expect(spawnSync("mkfifo", ["-m", "600", path]).status).toBe(0);
    return { inside, path };
  }

  test("gives its PIN in as many parts as it comes", async () => {
    const { inside, path } = pipe();
    const writer = spawn("sh", ["-c", `exec > ${path}; sleep 0.3; printf 12; sleep 0.3; echo 34`]);
    expect(await read({ file: "pipe" }, inside)).toBe("1234");
    expect(writer.exitCode ?? 0).toBe(0);
  });

  test("that nobody writes to, or has written nothing to, is an error that says so", { timeout: 20_000 }, async () => {
    const { inside, path } = pipe();
    await expect(read({ file: "pipe" }, inside)).rejects.toThrow(
      /^no PIN for a test: .*pipe: a pipe that nobody writes to$/,
    );
    spawn("sh", ["-c", `: > ${path}`]);
    await expect(read({ file: "pipe" }, inside)).rejects.toThrow("a pipe that nobody writes to");
  });

  test("that has no end is refused, a descriptor too", async () => {
    const { inside, path } = pipe();
    const writer = spawn("sh", ["-c", `yes > ${path}`]);
    await expect(read({ file: "pipe" }, inside)).rejects.toThrow("more than 4096");
    writer.kill();
    const fd = openSync("/dev/zero", "r");
    onTestFinished(() => closeSync(fd));
    await expect(read({ fd }, inside)).rejects.toThrow("more than 4096");
    await expect(read({ fd: 999 }, inside)).rejects.toThrow("no PIN for a test: file descriptor 999: EBADF");
  });
});

describe("other sources", () => {
  test("an environment variable is removed once read, and can be read again", async () => {
    process.env.KEYWRIGHT_TEST_PIN = "1234";
    expect(await read({ env: "KEYWRIGHT_TEST_PIN" }, "/")).toBe("1234");
    expect(process.env.KEYWRIGHT_TEST_PIN).toBeUndefined();
    expect(await read({ env: "KEYWRIGHT_TEST_PIN" }, "/")).toBe("1234");
    await expect(read({ env: "KEYWRIGHT_TEST_UNSET" }, "/")).rejects.toThrow("is not set");
  });

  test("a file descriptor, a command, a systemd credential, a person", async () => {
    const inside = folder();
    writeFileSync(join(inside, "pin"), "1234\n", { mode: 0o600 });
    const fd = openSync(join(inside, "pin"), "r");
    expect(await read({ fd }, inside)).toBe("1234");
    closeSync(fd);
    expect(await read({ command: ["cat", "pin"] }, inside)).toBe("1234");
    await expect(read({ command: ["false"] }, inside)).rejects.toThrow("false ended with exit code 1");
    await expect(read({ command: ["/nowhere"] }, inside)).rejects.toThrow("cannot run /nowhere");
    process.env.CREDENTIALS_DIRECTORY = inside;
    expect(await read({ credential: "pin" }, "/")).toBe("1234");
    delete process.env.CREDENTIALS_DIRECTORY;
    await expect(read({ credential: "pin" }, "/")).rejects.toThrow("CREDENTIALS_DIRECTORY");
    const asked: string[] = [];
    const prompt = (question: string) => {
      asked.push(question);
      return Promise.resolve(Buffer.from("1234"));
    };
    await readPin({ prompt: true }, { folder: "/", purpose: "the user PIN of demo", prompt });
    expect(asked).toEqual(["PIN: the user PIN of demo"]);
    await expect(read({ prompt: true }, "/")).rejects.toThrow("there is no terminal to ask on");
  });

  test("a URI's pin-source is a file; a command in a URI is not run", () => {
    expect(pinSourceFromUri("/etc/pin")).toEqual({ file: "/etc/pin" });
    expect(pinSourceFromUri("file:/etc/a%20pin")).toEqual({ file: "/etc/a pin" });
    expect(pinSourceFromUri("file:///etc/pin")).toEqual({ file: "/etc/pin" });
    expect(() => pinSourceFromUri("|touch /tmp/x")).toThrow(PinSourceError);
    expect(() => pinSourceFromUri("file:%zz")).toThrow(UriError);
    expect(() => pinSourceFromUri("file://[/etc/pin")).toThrow(UriError);
  });
});

describe("a PIN", () => {
  test("cannot be printed, logged or put into JSON", () => {
    const pin = Pin.from("1234");
    expect([inspect({ pin }), JSON.stringify({ pin }), `${pin}`, String(pin)]).toEqual([
      "{ pin: [pin] }",
      '{"pin":"[pin]"}',
      "[pin]",
      "[pin]",
    ]);
  });

  test("is overwritten when it is wiped, and cannot be used then", () => {
    const pin = Pin.from("1234");
    const bytes = pin.use((inside) => inside);
    pin.wipe();
    expect([...bytes]).toEqual([0, 0, 0, 0]);
    expect(() => pin.use((inside) => inside)).toThrow("used and wiped");
  });
});
