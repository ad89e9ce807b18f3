import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Networks } from "../../src/access/networks.ts";
import { TargetFailure } from "../../src/callbacks/target-request.ts";
import { TargetAddresses } from "../../src/upstream/target-addresses.ts";
import { TargetClient } from "../../src/upstream/target-client.ts";
import { AnsweringServer, httpAnswer, type Responder } from "../support/answering-server.ts";
import { selfSigned } from "./certificate.ts";

const LOOPBACK = "127.0.0.0/8,::1/128";
const request = { headers: { "content-type": "text/xml" }, body: Buffer.from("<xml/>"), timeoutMs: 30_000 };

/** A client that may reach `networks`, and that finds these addresses under every name. */
function clientFor(networks: string, addresses: readonly string[] | (() => readonly string[]) = []) {
  const lookup = async () => (typeof addresses === "function" ? addresses() : addresses);
  return new TargetClient(new TargetAddresses(new Networks(networks), lookup));
}

/** Why the client did not send to `url`. */
async function refusalOf(client: TargetClient, url: string, timeoutMs = 30_000): Promise<string> {
  try {
    await client.send({ ...request, url, target: url, timeoutMs });
  } catch (error) {
    if (error instanceof TargetFailure) return error.reason;
    throw error;
  }
  return "sent";
}

async function answering(respond: Responder) {
  const server = await AnsweringServer.start(respond);
  return {
    server,
    port: Number(new URL(server.url).port),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What is no machine on the Internet, in the forms that a URL or a name server may give it. */
const INNER = [
  ...["127.0.0.1", "127.9.8.7", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
  ...["100.64.0.1", "169.254.169.254", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255"],
  ...["100.100.100.200", "168.63.129.16", "203.0.113.7"],
  ...[
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2001::1",
  ],
  ...[
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
  ],
];

test.each(INNER)("P6: nothing is sent to %s, named by its address or by a name", async (address) => {
  const host = address.includes(":") ? `[${address}]` : address;
  for (const url of [`https://${host}/wx`, `http://${host}/wx`])
    expect([url, await refusalOf(clientFor(""), url)]).toEqual([url, "address_not_allowed"]);
  expect(await refusalOf(clientFor("", [address]), "https://shop.example.com/wx")).toBe(
    "address_not_allowed",
  );
});

test.each([
  ["http://2130706433/", "127.0.0.1 as one number"],
  ["http://0x7f.1/", "with fewer parts"],
  ["http://0177.0.0.1/", "in octal"],
  ["http://127.0.0.1./", "with a dot at its end"],
])("P6: %s, which is %s, is an address as any other", async (url) => {
  expect(await refusalOf(clientFor(""), url)).toBe("address_not_allowed");
});

test("P6: what hands out credentials in a cloud is not asked, whatever is configured", async () => {
  const all = clientFor("0.0.0.0/0,::/0");
  for (const address of [
    "169.254.169.254",
    "100.100.100.200",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "0.0.0.0",
  ])
    expect([address, await refusalOf(all, `http://${address}/latest/meta-data`)]).toEqual([
      address,
      "address_not_allowed",
    ]);
});

test("P6: URLs that are none of a target are refused", async () => {
  const client = clientFor(LOOPBACK, ["127.0.0.1"]);
  for (const url of [
    "",
    "shop.example.com",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "https://user:pass@127.0.0.1/",
    "http://user@127.0.0.1/",
  ])
    expect([url, await refusalOf(client, url)]).toEqual([url, "bad_url"]);
  expect(await refusalOf(clientFor(LOOPBACK), "https://no.such.host/")).toBe("unknown_host");
});

test("a public address is asked with TLS alone, and one that is listed without it too", async () => {
  const isPlain = async (networks: string, address: string) => {
    const addresses = new TargetAddresses(new Networks(networks), async () => [address]);
    const of = (url: string) =>
      addresses.of(new URL(url)).then(
        ({ origin }) => origin,
        (error: TargetFailure) => error.reason,
      );
    return [await of("https://shop.test"), await of("http://shop.test")];
  };
  expect(await isPlain("", "8.8.8.8")).toEqual(["https://8.8.8.8", "address_not_allowed"]);
  expect(await isPlain("", "2606:4700::1")).toEqual(["https://[2606:4700::1]", "address_not_allowed"]);
  expect(await isPlain("10.0.0.0/8", "10.1.2.3")).toEqual(["https://10.1.2.3", "http://10.1.2.3"]);
});

test("P6: the address that was checked is the one that is connected to, under the name, and is looked up once for it", async () => {
  await using it = await answering(({ socket }) => socket.write(httpAnswer("success")));
  const answers = [["127.0.0.1"], ["169.254.169.254"]];
  const client = clientFor(LOOPBACK, () => answers.shift() ?? []);
  expect(await refusalOf(client, `http://shop.test:${it.port}/wx?a=1`)).toBe("sent");
  const [first = ""] = it.server.requests.map(({ text }) => text);
  expect(first).toStartWith("POST /wx?a=1 HTTP/1.1\r\n");
  expect(/^host: (.*)\r$/im.exec(first)?.[1]).toBe(`shop.test:${it.port}`);
  // The name server has another answer now: that is checked anew.
  expect(await refusalOf(client, `http://shop.test:${it.port}/wx`)).toBe("address_not_allowed");
  expect(it.server.requests).toHaveLength(1);
});

test("P6: of several addresses of a name one that is allowed is taken", async () => {
  await using it = await answering(({ socket }) => socket.write(httpAnswer("success")));
  const client = clientFor(LOOPBACK, ["10.0.0.1", "169.254.169.254", "127.0.0.1"]);
  expect(await refusalOf(client, `http://shop.test:${it.port}/wx`)).toBe("sent");
});

test("P6: a redirect is an answer, and not followed", async () => {
  const to = { Location: "http://169.254.169.254/latest/meta-data" };
  await using it = await answering(({ socket }) => socket.write(httpAnswer("", to, 302)));
  const client = clientFor(LOOPBACK);
  const url = `http://127.0.0.1:${it.port}/wx`;
  expect(await client.send({ ...request, url, target: url })).toEqual({ status: 302, body: Buffer.from("") });
  expect(it.server.requests).toHaveLength(1);
});

const BROKEN: Record<string, [Responder, string]> = {
  "that never comes": [() => undefined, "timeout"],
  "whose body never ends": [
    ({ socket }) => socket.write("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nsucc"),
    "timeout",
  ],
  "that is too large": [({ socket }) => socket.write(httpAnswer("x".repeat(65_537))), "answer_too_large"],
  "that is too large, in chunks, and says that it is short": [
    ({ socket }) =>
      socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n${"x".repeat(65_537)}\r\n0\r\n\r\n`,
      ),
    "answer_too_large",
  ],
  "that breaks off": [
    ({ socket }) => socket.end("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nsucc"),
    "broken_off",
  ],
  "that is no HTTP": [({ socket }) => socket.end("hello\r\n\r\n"), "broken_off"],
};

test.each(Object.entries(BROKEN))("an answer %s is a failure", async (_what, [respond, reason]) => {
  await using it = await answering(respond);
  const ms = reason === "timeout" ? 300 : 30_000;
  expect(await refusalOf(clientFor(LOOPBACK), `http://127.0.0.1:${it.port}/wx`, ms)).toBe(reason);
});

test("a server that is not there, and a name that is looked up for ever, are failures", async () => {
  const it = await answering(() => undefined);
  const { port } = it;
  await it[Symbol.asyncDispose]();
  expect(await refusalOf(clientFor(LOOPBACK), `http://127.0.0.1:${port}/`)).toBe("unreachable");
  const never = new TargetAddresses(new Networks(LOOPBACK), () => new Promise(() => undefined));
  expect(await refusalOf(new TargetClient(never), "http://shop.test/", 100)).toBe("timeout");
});

test("connections are kept for the next push", async () => {
  await using it = await answering(({ socket }) => socket.write(httpAnswer("success")));
  const client = clientFor(LOOPBACK);
  for (let n = 0; n < 3; n++) await refusalOf(client, `http://127.0.0.1:${it.port}/wx`);
  expect(it.server.requests.map(({ connection }) => connection)).toEqual([0, 0, 0]);
});

test("however many servers do not answer, another is asked at once, and of one server's targets each that does", async () => {
  await using stack = new AsyncDisposableStack();
  const quick: Responder = ({ socket }) => socket.write(httpAnswer("success"));
  const it = stack.use(await answering(quick));
  // Of this one the target /slow alone does not answer.
  const half = stack.use(
    await answering((each) => (each.text.startsWith("POST /slow") ? undefined : quick(each))),
  );
  const stuck: number[] = [];
  for (let n = 0; n < 20; n++) stuck.push(stack.use(await answering(() => undefined)).port);
  const client = clientFor(LOOPBACK);
  const slow = [...stuck.map((port) => `http://127.0.0.1:${port}/`), `http://127.0.0.1:${half.port}/slow`];
  const waiting = slow.flatMap((url) => Array.from({ length: 100 }, () => refusalOf(client, url, 4000)));
  for (const { port } of [it, half]) {
    const sent = refusalOf(client, `http://127.0.0.1:${port}/wx`);
    expect(await Promise.race([sent, ...waiting])).toBe("sent");
  }
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(["timeout"]));
});

test("a server that is alone is asked more at once, and still not all", async () => {
  await using silent = await answering(() => undefined);
  const client = clientFor(LOOPBACK);
  const url = `http://127.0.0.1:${silent.port}/`;
  await Promise.all(Array.from({ length: 100 }, () => refusalOf(client, url, 1000)));
  expect(silent.server.requests).toHaveLength(22);
});

test("P6: the certificate that is expected is the name's, and a connection of one name serves no other", async () => {
  const tls = [selfSigned("shop.test"), selfSigned("crm.test")];
  const [shop, crm] = tls.map((each) =>
    Bun.serve({ hostname: "127.0.0.1", port: 0, tls: each, fetch: () => new Response("ok") }),
  );
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-test-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => {
    rmSync(folder, { recursive: true });
    void shop?.stop(true);
    void crm?.stop(true);
  });
  const ca = join(folder, "ca.pem");
  writeFileSync(ca, tls.map(({ cert }) => cert).join("\n"));
  const source = JSON.stringify(join(import.meta.dir, "../../src"));
  const program = `
    const { TargetClient } = await import(${source} + "/upstream/target-client.ts");
    const { TargetAddresses } = await import(${source} + "/upstream/target-addresses.ts");
    const { Networks } = await import(${source} + "/access/networks.ts");
    const client = new TargetClient(new TargetAddresses(new Networks("${LOOPBACK}"), async () => ["127.0.0.1"]));
    for (const name of ["shop.test", "crm.test", "shop.test"]) {
      const url = "https://" + name + ":${shop?.port}/";
      const sent = client.send({ url, target: url, headers: {}, body: Buffer.from("x"), timeoutMs: 30000 });
      console.log(name, await sent.then(({ body }) => new TextDecoder().decode(body), (error) => error.reason));
    }`;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca };
  const child = Bun.spawn([process.execPath, "-e", program], { env, stdout: "pipe" });
  const lines = (await child.stdout.text()).trim().split("\n");
  expect(lines).toEqual(["shop.test ok", "crm.test bad_certificate", "shop.test ok"]);
});
