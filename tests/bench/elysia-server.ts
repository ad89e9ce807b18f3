import { Elysia, t } from "elysia";

/**
 * What a warm read must do at the least, as one route of the framework that the service uses: the API key is looked up
 * by the header's text, the query is validated, a virtual token is signed, the answer has a trace id of its own and the
 * service's headers, and a counter and a histogram count it. Given are the body's size in bytes, and the key.
 */
const [size = "", key = ""] = process.argv.slice(2);
const clients = new Map([[`Bearer ${key}`, { name: "bench" }]]);

const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const buckets = [...BOUNDS, Number.POSITIVE_INFINITY].map(() => 0);
const reads = new Map<string, number>();

const PROCESS_PART = crypto.randomUUID().slice(0, 24);
let lastTrace = 0;

function answerOf(token: string): { text: string; traceId: string } {
  lastTrace += 1;
  const traceId = PROCESS_PART + lastTrace.toString(16).padStart(12, "0");
  const data = { access_token: token, expires_in: 7200 };
  return { text: JSON.stringify({ code: 0, msg: "success", data, trace_id: traceId }), traceId };
}

const MAC_LENGTH = 32;
const signingKey = crypto.getRandomValues(new Uint8Array(32));
const claims = "t".repeat(Number(size) - answerOf("").text.length - MAC_LENGTH);

function newToken(): string {
  const mac = new Bun.CryptoHasher("sha256", signingKey).update(claims).digest("base64url");
  return claims + mac.slice(0, MAC_LENGTH);
}

const app = new Elysia().get(
  "/AccessToken/getXcx",
  ({ request }) => {
    const startedAt = performance.now();
    const client = clients.get(request.headers.get("authorization") ?? "");
    if (!client) return new Response(null, { status: 401 });
    const { text, traceId } = answerOf(newToken());
    const headers = {
      "content-type": "application/json",
      "cache-control": "no-store",
      "trace-id": traceId,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "cross-origin-resource-policy": "same-origin",
    };
    const response = new Response(text, { headers });
    reads.set(client.name, (reads.get(client.name) ?? 0) + 1);
    const seconds = (performance.now() - startedAt) / 1000;
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    buckets[bucket === -1 ? BOUNDS.length : bucket]! += 1;
    return response;
  },
  { query: t.Object({ appid: t.String({ pattern: "^wx[0-9a-f]{16}$" }) }) },
);
app.listen({ hostname: "127.0.0.1", port: 0 }, ({ url }) => console.log(`url ${url.origin}`));
