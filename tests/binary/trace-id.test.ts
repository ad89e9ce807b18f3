import { expect, test } from "bun:test";
import { endingText } from "../support/event-stream.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { WX } from "../support/harness.ts";
import { rawGet } from "../support/raw-http.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const JSON_TYPE = { "content-type": "application/json" };

/** A trace id as the header and as the envelope have it; `body` is undefined where the answer is no envelope. */
interface Traces {
  readonly what: string;
  readonly header: string | undefined;
  readonly body: string | undefined;
}

/** One request for every documented operation, without what it needs, so that most of them are refused. */
async function operationsOf(url: string): Promise<{ method: string; path: string }[]> {
  const { paths } = (await (await fetch(`${url}/swagger/json`)).json()) as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({
      method: method.toUpperCase(),
      path: path.replaceAll(/\{\w+\}/g, "example"),
    })),
  );
}

async function traces(url: string, path: string, init: RequestInit = {}): Promise<Traces> {
  const response = await fetch(url + path, { keepalive: false, redirect: "manual", ...init });
  const text = await endingText(response);
  const header = response.headers.get("trace-id") ?? undefined;
  return { what: `${init.method ?? "GET"} ${path}`, header, body: traceIdIn(text) };
}

function traceIdIn(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { trace_id?: string }).trace_id;
  } catch {
    return undefined;
  }
}

/** The answers of a service to all kinds of requests, good and bad. */
async function allTraces(url: string): Promise<Traces[]> {
  const found: Traces[] = [];
  const post = (body: string, headers: Record<string, string> = JSON_TYPE) => ({
    method: "POST",
    headers,
    body,
  });
  const enveloped = [
    await traces(url, "/"),
    await traces(url, `/AccessToken/getXcx?appid=${WX.appId}`),
    await traces(url, "/AccessToken/getXcx"),
    await traces(url, `/AccessToken/getXcx?appid=${WX.appId}&appid=x`),
    await traces(url, "/AccessToken/getXcx?appid=wx00000000000000ff"),
    await traces(url, `/AccessToken/getXcx?appid=${WX.appId}`, {
      headers: { authorization: "Bearer ats_x" },
    }),
    await traces(url, "/AccessToken/getXcx", { method: "DELETE" }),
    await traces(url, "/nope"),
    await traces(url, "/v1/nope"),
    await traces(url, "/v1/apps"),
    await traces(url, "/JsSDK/getJsApiSign", post("{")),
    await traces(url, "/JsSDK/getJsApiSign", post("{}", { "content-type": "text/plain" })),
    await traces(url, "/JsSDK/getJsApiSign", post(JSON.stringify({ pad: "x".repeat(200_000) }))),
  ];
  const raw = await rawGet(url, "/", ["Host: somewhere.example"]);
  enveloped.push({ what: "bad Host", header: raw.headers.get("trace-id"), body: traceIdIn(raw.body) });
  for (const { what, body } of enveloped) expect([what, typeof body]).toEqual([what, "string"]);
  found.push(...enveloped);
  for (const { method, path } of await operationsOf(url)) {
    const init = method === "GET" ? { method } : { ...post("{}"), method };
    found.push(await traces(url, path, init));
  }
  return found;
}

test("every envelope has a trace id that is a UUID and stands in the header too, and no two processes give the same", async () => {
  await using world = new ProcessHarness(binary());
  const services = [await world.serve(), await world.serve()];
  const found: Traces[] = [];
  for (const { url } of services) found.push(...(await allTraces(url)));
  const unlike = found.filter(({ header, body }) => !UUID.test(header ?? "") || (body ?? header) !== header);
  // Neither an envelope nor an answer in WeChat's shape: what load balancers, scrapers and browsers read.
  const plain = /^GET \/(livez|readyz|metrics|swagger\b.*|v1\/audit\/(export|verify))$/;
  expect(unlike.filter(({ what, header }) => !(plain.test(what) && header === undefined))).toEqual([]);
  expect(found.length).toBeGreaterThan(80);
  const ids = found.flatMap(({ header }) => header ?? []);
  expect(new Set(ids).size).toBe(ids.length);
});
