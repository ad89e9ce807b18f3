import { expect, test as declared } from "bun:test";
import type { App } from "../../../src/apps/app.ts";
import type { AuditEntry } from "../../../src/audit/audit-entry.ts";
import { type Topic, TOPICS } from "../../../src/changes.ts";
import { credentialKey } from "../../../src/credentials/credential.ts";
import { ServiceError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import type { Store } from "../../../src/store/store.ts";
import { tokenOf, weixinSlot } from "../../support/slots.ts";
import { clearOne, rejectOne, saveUnderLease } from "../../support/store-folder.ts";
import { newApiKey, newClient } from "../../support/client-records.ts";
import type { OpenStore } from "./open-store.ts";

const TOKEN = tokenOf();
const KEY = credentialKey(TOKEN);
const BACKOFF = {
  key: KEY,
  reason: "exponential",
  failure: { code: "unavailable", message: "" },
  count: 1,
  since: 1000,
  until: 2000,
} as const;
const NEW_ENVIRONMENT = {
  name: "st",
  isProduction: false,
  codes: "relay",
  createdAt: 1,
  updatedAt: 1,
} as const;

function entry(action: AuditEntry["action"]): AuditEntry {
  const actor = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: {} };
}

const epochsOf = ({ changes }: Store) =>
  Object.fromEntries(TOPICS.map((topic) => [topic, changes.epoch(topic)]));

/** A managed app of a version, with a secret. */
function appOf(version: number, secret = "s1"): App {
  const managed = { title: undefined, isDisabled: false, version };
  return { platform: "weixin", id: "wx1", secret: new Secret(secret), tokenMode: "stable", managed };
}

/** How every store must tell of changes. `kind` names it in the tests' names. */
export function changesContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const { clock } = opened;
    const other = await opened.beside();
    const save = (text: string, { credentials }: Store, name = TOKEN) => {
      const issuedAt = clock.now();
      const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + 7_200_000 };
      return saveUnderLease(credentials, name, credential);
    };
    /** Which topics a piece of work at `other` moves, as each of the two processes learns. */
    const movedBy = async (work: () => Promise<unknown>) => {
      await opened.learn();
      const [here, there] = [epochsOf(opened.store), epochsOf(other)];
      await work();
      const own = TOPICS.filter((topic) => epochsOf(other)[topic] !== there[topic]);
      await opened.learn();
      const seen = TOPICS.filter((topic) => epochsOf(opened.store)[topic] !== here[topic]);
      return { own, seen };
    };
    return { ...opened, other, save, movedBy, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: P2: each change raises the epoch of its topic: in its own process at once, in another within 25 ms`, async () => {
    using it = await setup();
    const { apps, clients, credentials, environments, pacing } = it.other;
    const later = { ...BACKOFF, count: 2, since: 3000, until: 5000 };
    const generation = async () => (await credentials.find(TOKEN)).generation;
    const versionOf = async () => (await clients.load()).clients[0]!.version;
    const death = { now: 1, earlyMs: 0 };
    const [one, two] = [newApiKey("a", "one"), newApiKey("a", "two")];
    const appVersion = async () => (await apps.listManaged())[0]!.managed!.version;
    const cases: [string, Topic[], () => Promise<unknown>][] = [
      ["save", ["credentials"], () => it.save("one", it.other)],
      ["reject", ["credentials"], async () => rejectOne(credentials, TOKEN, await generation())],
      ["save again", ["credentials"], () => it.save("two", it.other)],
      [
        "bury",
        ["credentials"],
        async () => credentials.markRevoked(TOKEN, new Secret("two"), await generation(), death),
      ],
      ["save a third", ["credentials"], () => it.save("three", it.other)],
      [
        "shorten",
        ["credentials"],
        async () => {
          const { credential } = await credentials.find(TOKEN);
          await credentials.shorten(TOKEN, credential!, { expiresAt: 2, renewBeforeMs: 1 });
        },
      ],
      ["clear", ["credentials"], () => clearOne(credentials, TOKEN)],
      [
        "create a client of a new environment",
        ["clients", "environments"],
        () => clients.create(newClient("a"), entry("client.created")),
      ],
      ["add a key", ["clients"], () => clients.addKey(one, entry("key.created"))],
      ["roll a key", ["clients"], () => clients.rollKey(one.prefix, 1, two, entry("key.rolled"))],
      ["revoke a key", ["clients"], () => clients.revokeKey("a", two.prefix, 1, entry("key.revoked"))],
      [
        "update a client",
        ["clients"],
        async () =>
          clients.update({ ...newClient("a"), version: (await versionOf()) + 1 }, entry("client.updated")),
      ],
      [
        "remove a client",
        ["clients"],
        async () => clients.remove("a", await versionOf(), entry("client.deleted")),
      ],
      [
        "create an environment",
        ["environments"],
        () => environments.create(NEW_ENVIRONMENT, entry("environment.created")),
      ],
      ["a backoff that begins", ["backoffs"], () => pacing.put(BACKOFF)],
      ["a backoff that begins again", ["backoffs"], () => pacing.put(later)],
      ["the end of a backoff", ["backoffs"], () => pacing.remove([later])],
      ["one before an app is unblocked", ["backoffs"], () => pacing.put(BACKOFF)],
      ["unblock an app", ["backoffs"], () => pacing.unblock([KEY], entry("app.unblocked"))],
      ["create an app", ["apps", "credentials"], () => apps.create(appOf(0), entry("app.created"))],
      [
        "disable an app",
        ["apps"],
        async () => apps.update(appOf((await appVersion()) + 1), entry("app.updated")),
      ],
      [
        "change its secret",
        ["apps", "credentials"],
        async () => apps.update(appOf((await appVersion()) + 1, "s2"), entry("app.secret_changed")),
      ],
      ["an app's backoff", ["backoffs"], () => pacing.put(BACKOFF)],
      [
        "change the secret of an app that backs off",
        ["apps", "credentials", "backoffs"],
        async () => apps.update(appOf((await appVersion()) + 1, "s3"), entry("app.secret_changed")),
      ],
      [
        "remove an app",
        ["apps", "credentials", "environments", "callbacks"],
        async () => apps.remove(appOf(await appVersion()), entry("app.deleted")),
      ],
    ];
    for (const [what, moved, work] of cases) {
      const found = await it.movedBy(work);
      expect(found, what).toEqual({ own: moved, seen: moved });
    }
  });

  test(`${kind}: P8: what nobody keeps in memory raises no epoch: counters, audit entries, uses, leases, budgets, backoffs of made-up secrets`, async () => {
    using it = await setup();
    const { other, clock } = it;
    const { audit, clients, credentials, callCounts } = other;
    await clients.create(newClient("a"), entry("client.created"));
    const key = newApiKey("a", "one");
    await clients.addKey(key, entry("key.created"));
    const saved = await it.save("one", other);
    const now = clock.now();
    const count = { minute: 0, kind: "usage", key: "a", n: 1 } as const;
    const foreign = { ...BACKOFF, key: "weixin:wx1:~digest:access_token" };
    const limits = [{ key: "k", most: 2, from: 0 }];
    const use = () => other.pacing.use({ limits, now, until: now, isPending: true });
    const used = () => use().then((answer) => (answer.blocked ? [] : answer.uses));
    const day = "2026-11-22";
    const call = { platform: "weixin", appId: "wx1", endpoint: "/x", day, hour: 0, calls: 1 } as const;
    const attempt = { at: 0, app: "wx1", kind: "access_token", trigger: "ahead", outcome: "ok" } as const;
    const ended = { ...attempt, errcode: undefined, durationMs: 1, generation: 1, host: "h" };
    const lease = { holder: "a", now, lifeMs: 10_000 };
    const cases: [string, () => Promise<unknown>][] = [
      ["an audit entry", () => audit.append(entry("key.created"))],
      ["audit counts", () => audit.addCounts([count])],
      ["counts of calls", () => callCounts.add([call])],
      ["an attempt to obtain a credential", () => other.refreshLog.add([ended])],
      ["the use of a credential", () => credentials.touch([{ name: TOKEN, usedAt: 5 }])],
      ["the use of a key", () => clients.touchKeys([{ prefix: key.prefix, usedAt: 5 }])],
      ["a lease", () => credentials.lease(TOKEN, lease)],
      ["a lease that is given back", () => credentials.release(TOKEN, "a")],
      ["a save that was overtaken", () => credentials.save(TOKEN, saved.credential!, 1)],
      ["a rejection that comes late", () => rejectOne(credentials, TOKEN, 1)],
      ["a clear of nothing", () => credentials.clear([{ name: TOKEN, isCurrent: false }])],
      ["a backoff of a secret that we don't hold", () => other.pacing.put(foreign)],
      ["its end", () => other.pacing.remove([foreign])],
      ["the end of a backoff that is none any more", () => other.pacing.remove([BACKOFF])],
      [
        "the unblocking of an app that is not blocked",
        () => other.pacing.unblock([KEY], entry("app.unblocked")),
      ],
      ["a use of a budget", async () => other.pacing.settle(await used())],
      ["one that is given back", async () => other.pacing.giveBack(await used())],
      ["the readiness probe", () => other.probe()],
    ];
    for (const [what, work] of cases) expect(await it.movedBy(work), what).toEqual({ own: [], seen: [] });
  });

  test(`${kind}: a change that is refused raises no epoch`, async () => {
    using it = await setup();
    const { clients } = it.other;
    await clients.create(newClient("a"), entry("client.created"));
    const found = await it.movedBy(async () => {
      for (const work of [
        () => clients.create(newClient("a"), entry("client.created")),
        () => clients.update({ ...newClient("a"), version: 99 }, entry("client.updated")),
        () => it.other.apps.update(appOf(99), entry("app.updated")),
      ])
        expect(work()).rejects.toBeInstanceOf(ServiceError);
    });
    expect(found).toEqual({ own: [], seen: [] });
  });

  test(`${kind}: P2: listeners are named the credentials that have changed, before the epoch is returned, and nothing else`, async () => {
    using it = await setup();
    const wx2 = tokenOf(weixinSlot("wx2"));
    for (const name of [TOKEN, wx2]) await it.save("one", it.store, name);
    const calls: (readonly [string, number][] | undefined)[] = [];
    const end = it.store.changes.subscribe("credentials", (changed) => calls.push(changed && [...changed]));
    it.store.changes.epoch("credentials");
    calls.length = 0;
    await clearOne(it.other.credentials, wx2);
    await it.learn();
    const next = it.store.changes.epoch("credentials");
    expect(calls).toEqual([[[credentialKey(wx2), next]]]);
    // What this process changes itself comes in the same way, with the epoch that the record has.
    const { epoch: saved } = await it.save("two", it.store);
    it.store.changes.epoch("apps");
    expect(calls.slice(1)).toEqual([[[KEY, saved]]]);
    expect(saved).toBe(next + 1);
    end();
    await it.save("three", it.store);
    it.store.changes.epoch("credentials");
    expect(calls).toHaveLength(2);
  });

  test(`${kind}: who has to know what others have changed just now catches up, and waits for no time to pass`, async () => {
    using it = await setup();
    const before = it.store.changes.epoch("clients");
    await it.other.clients.create(newClient("a"), entry("client.created"));
    await it.store.changes.catchUp();
    expect(it.store.changes.epoch("clients")).toBe(before + 1);
  });

  test(`${kind}: a listener is called also while nobody asks for an epoch`, async () => {
    using it = await setup();
    const called = Promise.withResolvers<void>();
    const end = it.store.changes.subscribe("clients", () => called.resolve());
    await it.other.clients.create(newClient("a"), entry("client.created"));
    await it.learn();
    await called.promise;
    end();
  });

  test(`${kind}: P3: epochs and the epochs of credentials go on after closing and opening`, async () => {
    using it = await setup();
    await it.other.clients.create(newClient("a"), entry("client.created"));
    const { epoch } = await it.save("one", it.other);
    await it.learn();
    const before = epochsOf(it.store);
    const again = await it.reopen();
    expect(epochsOf(again)).toEqual(before);
    expect((await again.credentials.find(TOKEN)).epoch).toBe(epoch);
    expect(epoch).toBe(before["credentials"]!);
  });
}
