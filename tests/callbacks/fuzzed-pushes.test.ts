import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import type { PushCopy } from "../../src/callbacks/push-reply.ts";
import { PushWorld, Receiver, textPush } from "./push-world.ts";

/** Together 2,500 requests, for every change; `PUSH_FUZZ_BATCHES=400` sends 10,000. `FUZZ_SEED` repeats a run. */
const BATCHES = Number(process.env["PUSH_FUZZ_BATCHES"] ?? 100);
const AT_ONCE = 25;
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_130);

interface Sent {
  readonly method: string;
  readonly query: string;
  readonly body: string;
}

/** A damage to one of the parts of a push. Each may also leave it valid, as one of the openid does. */
type Damage = (push: PushCopy) => Partial<PushCopy>;
const position = fc.nat(2000);
const noise = fc.string({ unit: "binary", maxLength: 40 });

const cut = (text: string, at: number) => text.slice(0, at % (text.length + 1));
const put = (text: string, at: number, more: string) => {
  const place = at % (text.length + 1);
  return text.slice(0, place) + more + text.slice(place + more.length);
};

const damages: fc.Arbitrary<Damage> = fc.oneof(
  fc.constant<Damage>(() => ({})),
  fc.constant<Damage>(() => ({ body: "" })),
  fc.constant<Damage>(({ query }) => ({ query: query.replace(/&?msg_signature=[^&]*/, "") })),
  fc.constant<Damage>(({ query }) => ({ query: query.replace(/&?encrypt_type=[^&]*/, "") })),
  fc.constant<Damage>(({ query }) => ({ query: `${query}&${query}` })),
  fc.constant<Damage>(({ body }) => ({ body: `<!DOCTYPE xml [<!ENTITY a "b">]>${body}` })),
  fc.constant<Damage>(({ body }) => ({
    body: body.replace(/<Encrypt>.*<\/Encrypt>/, "<MsgType>text</MsgType>"),
  })),
  position.map((at): Damage => ({ body }) => ({ body: cut(body, at) })),
  position.map((at): Damage => ({ query }) => ({ query: cut(query, at) })),
  fc.tuple(position, noise).map(([at, more]): Damage => ({ body }) => ({ body: put(body, at, more) })),
  fc.tuple(position, noise).map(([at, more]): Damage => ({ query }) => ({
    query: put(query, at, encodeURIComponent(more.replaceAll(/[\ud800-\udfff]/g, ""))),
  })),
  noise.map((body): Damage => () => ({ body })),
  fc.string({ unit: "grapheme", maxLength: 200 }).map((query): Damage => () => ({
    query: encodeURI(query.replaceAll(/[\ud800-\udfff]/g, "")).replaceAll("#", ""),
  })),
);

test(
  "whatever is sent to a callback URL, it is answered 200 or 403, and no target is sent what WeChat did not sign",
  async () => {
    await using prod = new Receiver();
    await using it = await PushWorld.create({
      targets: [{ name: "prod", url: prod.url, content: "decrypted", hmacKey: generatePushKey().token }],
    });
    const foreign = generatePushKey();
    const statuses = new Map<number, number>();
    const request = fc.record({
      damage: damages,
      method: fc.oneof(
        { weight: 8, arbitrary: fc.constant("POST") },
        fc.constantFrom("GET", "PUT", "DELETE", "HEAD"),
      ),
      isForged: fc.boolean(),
    });
    const send = async ({ method, query, body }: Sent) => {
      const hasBody = method !== "GET" && method !== "HEAD";
      const { status, headers } = await fetch(`${it.url}?${query}`, { method, ...(hasBody ? { body } : {}) });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      expect([status, headers.get("trace-id")]).toEqual([status, expect.any(String)]);
      expect([200, 403]).toContain(status);
    };
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: AT_ONCE, maxLength: AT_ONCE }), async (batch) => {
        const sent = batch.map(({ damage, method, isForged }) => {
          const now = it.world.clock.now();
          const push = isForged
            ? textPush({ now, key: foreign, content: "forged" })
            : it.text({ content: "genuine" });
          return { method, ...push, ...damage(push) };
        });
        await Promise.all(sent.map(send));
      }),
      { seed: SEED, numRuns: BATCHES, endOnFailure: true },
    );
    expect(new Set(statuses.keys())).toEqual(new Set([200, 403]));
    expect(statuses.get(200)).toBeGreaterThan(BATCHES);
    expect(prod.arrived.length).toBeGreaterThan(BATCHES);
    for (const { body } of prod.arrived) expect(body).toContain("<![CDATA[genuine]]>");
  },
  4000 * BATCHES,
);
