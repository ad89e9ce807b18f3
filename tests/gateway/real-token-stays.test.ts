import { expect, test } from "bun:test";
import { type ArrivedRequest, httpAnswer } from "../support/answering-server.ts";
import { rawRequest } from "../support/raw-http.ts";
import { rawGatewayWorld } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const REAL = "real_access_token_1";

/** An upstream that quotes the whole request line. */
function quoting(type: string | undefined, status: number) {
  return ({ text, socket }: ArrivedRequest) => {
    const body = `<a href="${text.split(" ", 2)[1] ?? ""}">moved</a>`;
    const head = type === undefined ? "" : `Content-Type: ${type}\r\n`;
    socket.write(`HTTP/1.1 ${status} X\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  };
}

test.each([
  "text/html",
  "text/html; charset=utf-8",
  "text/xml",
  "application/xml",
  "application/problem+json",
  "text/javascript",
  undefined,
])("P6: a page of the type %s that quotes the URL quotes the caller's own token", async (type) => {
  await using t = await rawGatewayWorld(quoting(type, 302), { client: { delivery: "virtual" } });
  const token = await t.it.token();
  const { text, status } = await t.it.send(`${INFO}?access_token=${token}`, { redirect: "manual" });
  expect(status).toBe(302);
  expect(text).toBe(`<a href="${INFO}?access_token=${token}">moved</a>`);
});

test("a page is no refusal: only JSON and plain text tell that a token is dead", async () => {
  const dead = '{"errcode":42001,"errmsg":"access_token expired"}';
  await using t = await rawGatewayWorld(httpAnswer(dead, { "Content-Type": "text/html" }));
  expect((await t.it.send(`${INFO}?access_token=${await t.it.token()}`)).text).toBe(dead);
  expect(t.calls).toHaveLength(1);
});

test("P6: an errmsg of WeChat's that quotes the token is handed on and kept without it", async () => {
  await using t = await rawGatewayWorld(
    ({ text, socket }) =>
      void socket.write(
        httpAnswer(JSON.stringify({ errcode: 48001, errmsg: `bad: ${text.split(" ", 2)[1]}` })),
      ),
    { client: { delivery: "virtual" } },
  );
  const query = `type=jsapi&access_token=${await t.it.token()}`;
  // The second one is told what was kept of the first.
  for (const again of [1, 2]) {
    const { errcode, errmsg } = await t.it.send(`/cgi-bin/ticket/getticket?${query}`);
    expect([again, errcode, errmsg.includes(REAL)]).toEqual([again, 48001, false]);
    expect(errmsg).toContain("***");
  }
});

test("a header that names another path or method than the request's does not go up", async () => {
  await using t = await rawGatewayWorld(httpAnswer("{}"));
  const headers = {
    "x-original-url": "/cgi-bin/message",
    "x-rewrite-url": "/cgi-bin/message",
    "x-envoy-original-path": "/cgi-bin/message",
    "x-http-method-override": "DELETE",
    "x-method-override": "DELETE",
    "x-http-method": "DELETE",
    "x-cluster-client-ip": "10.1.2.3",
  };
  await t.it.send(`${INFO}?access_token=${await t.it.token()}`, { headers });
  for (const name of Object.keys(headers)) expect(t.calls[0]?.toLowerCase()).not.toContain(name);
});

test.each(["#x", "#", "a=x#&b=y"])(
  "a query with a fragment is refused before anything is sent, with a user's own token too: %s",
  async (end) => {
    await using t = await rawGatewayWorld(httpAnswer("{}"));
    const ask = async (path: string, headers = "") => {
      const lines = `Host: localhost\r\nConnection: close\r\n${headers}\r\n`;
      const { body } = await rawRequest(t.it.url, `GET ${path}&${end} HTTP/1.1\r\n${lines}`);
      return (JSON.parse(body) as { errcode: number }).errcode;
    };
    expect(await ask(`${INFO}?access_token=${await t.it.token()}`)).toBe(40066);
    expect(await ask("/sns/userinfo?access_token=user", `X-API-Key: ${t.it.key}\r\n`)).toBe(40066);
    expect(t.calls).toHaveLength(0);
  },
);
