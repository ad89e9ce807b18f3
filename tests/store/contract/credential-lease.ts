import { expect, test as declared } from "bun:test";
import { type Credential, type CredentialRecord, NO_RECORD } from "../../../src/credentials/credential.ts";
import { Secret } from "../../../src/secret.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../../support/slots.ts";
import { clearOne, saveUnderLease } from "../../support/store-folder.ts";
import type { OpenStore } from "./open-store.ts";

const TOKEN = tokenOf();
const LIFE_MS = 10_000;

function credential(value: string, issuedAt = 1000): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 7_200_000 };
}

const valueOf = ({ credential: standing }: CredentialRecord) => standing?.value.reveal();

/** What every store must do about leases and what is written under them. `kind` names it in the tests' names. */
export function credentialLeaseContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const store = opened.store.credentials;
    const lease = (holder: string, name = TOKEN) =>
      store.lease(name, { holder, now: opened.clock.now(), lifeMs: LIFE_MS });
    const save = (value: string, generation: number) => store.save(TOKEN, credential(value), generation);
    return { ...opened, store, lease, save, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: P1: of a hundred holders at once, in two processes, exactly one gets the lease`, async () => {
    using it = await setup();
    const stores = [it.store, (await it.beside()).credentials];
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        stores[n % 2]!.lease(TOKEN, { holder: `h${n}`, now: it.clock.now(), lifeMs: LIFE_MS }),
      ),
    );
    expect(answers.filter(({ isGranted }) => isGranted)).toHaveLength(1);
    expect(new Set(answers.map(({ record }) => record.generation)).size).toBe(1);
  });

  test(`${kind}: a lease is for its holder alone until it is released or its life is over`, async () => {
    using it = await setup();
    const { record: first } = await it.lease("a");
    it.clock.advance(LIFE_MS - 1);
    expect(await it.lease("b")).toEqual({ isGranted: false, record: first });
    it.clock.advance(1);
    const taken = await it.lease("b");
    expect([taken.isGranted, taken.record.generation]).toEqual([true, first.generation + LIFE_MS]);
    expect((await it.lease("a")).isGranted).toBeFalse();
    await it.save("b", taken.record.generation);
    await it.store.release(TOKEN, "b");
    expect((await it.lease("a")).isGranted).toBeTrue();
  });

  test(`${kind}: whoever has the lease may take it again, under a new generation`, async () => {
    using it = await setup();
    const { record: first } = await it.lease("a");
    const again = await it.lease("a");
    expect([again.isGranted, again.record.generation]).toEqual([true, first.generation + 1]);
    expect(valueOf(await it.save("old", first.generation))).toBeUndefined();
    expect(valueOf(await it.save("new", again.record.generation))).toBe("new");
  });

  test(`${kind}: P5: a generation is the time of day or later, so that a database that lost the last ones gives none twice`, async () => {
    using it = await setup();
    for (const holder of ["a", "b"]) {
      it.clock.advance(60_000);
      expect((await it.lease(holder)).record.generation).toBe(it.clock.now());
      await it.save(holder, it.clock.now());
      await it.store.release(TOKEN, holder);
    }
    expect((await clearOne(it.store, TOKEN)).generation).toBe(it.clock.now() + 1);
    it.clock.advance(60_000);
    expect((await clearOne(it.store, TOKEN)).generation).toBe(it.clock.now());
  });

  test(`${kind}: a release by somebody who has no lease changes nothing`, async () => {
    using it = await setup();
    await it.lease("a");
    await it.store.release(TOKEN, "b");
    await it.store.release(tokenOf(weixinSlot("wx2")), "a");
    expect((await it.lease("b")).isGranted).toBeFalse();
  });

  test(`${kind}: leases of other credentials are nobody's affair`, async () => {
    using it = await setup();
    const names = [
      TOKEN,
      tokenOf(weixinSlot("wx1", "classic")),
      tokenOf(weixinSlot("wx2")),
      tokenOf(foreignSlot("x")),
    ];
    const ticket = { slot: weixinSlot(), kind: "jsapi_ticket" as const };
    for (const [n, name] of [...names, ticket].entries())
      expect((await it.lease(`h${n}`, name)).isGranted).toBeTrue();
  });

  test(`${kind}: a lease that was taken under a clock that was set back since does not last for ever`, async () => {
    using it = await setup();
    await it.lease("a");
    it.clock.jumpWall(-LIFE_MS);
    expect((await it.lease("b")).isGranted).toBeFalse();
    it.clock.jumpWall(-1);
    expect((await it.lease("b")).isGranted).toBeTrue();
  });

  test(`${kind}: a lease says what stood, and leaves it there`, async () => {
    using it = await setup();
    await saveUnderLease(it.store, TOKEN, credential("one"), it.clock.now());
    const { record } = await it.lease("a");
    expect(valueOf(record)).toBe("one");
    expect(valueOf(await it.store.find(TOKEN))).toBe("one");
  });

  test(`${kind}: P5: of many holders in turn only the last one's answer is stored, in whichever order they come back, and all hear of it`, async () => {
    using it = await setup();
    const generations: number[] = [];
    for (let n = 0; n < 10; n++) {
      generations.push((await it.lease(`h${n}`)).record.generation);
      it.clock.advance(LIFE_MS);
    }
    const order = [...generations.keys()].toSorted((a, b) => ((a * 7) % 10) - ((b * 7) % 10));
    for (const n of order) await it.save(`token-${n}`, generations[n]!);
    const late = await Promise.all(generations.slice(0, -1).map((each) => it.save("late", each)));
    expect(new Set(late.map(valueOf))).toEqual(new Set(["token-9"]));
    expect(valueOf(await it.store.find(TOKEN))).toBe("token-9");
  });

  test(`${kind}: a row that only a lease made is dropped by its release, and leaves no name behind`, async () => {
    using it = await setup();
    await it.lease("a");
    await it.store.release(TOKEN, "b");
    expect((await it.store.find(TOKEN)).generation).toBeGreaterThan(0);
    await it.store.release(TOKEN, "a");
    expect(await it.store.find(TOKEN)).toEqual(NO_RECORD);
    expect(await it.store.listOfApp("weixin", "wx1")).toEqual([]);
  });

  test(`${kind}: P5: also when it was cleared or taken over meanwhile; and no generation of it returns`, async () => {
    using it = await setup();
    const { record: first } = await it.lease("a");
    await clearOne(it.store, TOKEN);
    it.clock.advance(LIFE_MS);
    const { record: second } = await it.lease("b");
    await it.store.release(TOKEN, "b");
    expect(await it.store.find(TOKEN)).toEqual(NO_RECORD);
    it.clock.advance(1);
    const { record: third } = await it.lease("c");
    for (const { generation } of [first, second]) {
      expect(third.generation).toBeGreaterThan(generation);
      expect(valueOf(await it.save("late", generation))).toBeUndefined();
    }
    expect(valueOf(await it.save("new", third.generation))).toBe("new");
  });

  test(`${kind}: a row that was ever saved stays when its lease is released, cleared or not`, async () => {
    using it = await setup();
    await saveUnderLease(it.store, TOKEN, credential("one"), it.clock.now());
    await clearOne(it.store, TOKEN);
    const { record } = await it.lease("a");
    await it.store.release(TOKEN, "a");
    expect(await it.store.find(TOKEN)).toEqual(record);
    expect(record.wasSaved).toBeTrue();
  });

  test(`${kind}: that something was saved once is known for ever, and a lease alone is no save`, async () => {
    using it = await setup();
    expect((await it.lease("a")).record.wasSaved).toBeFalse();
    expect((await clearOne(it.store, TOKEN)).wasSaved).toBeFalse();
    await it.store.release(TOKEN, "a");
    const saved = await saveUnderLease(it.store, TOKEN, credential("one"), it.clock.now());
    expect(saved.wasSaved).toBeTrue();
    expect((await clearOne(it.store, TOKEN)).wasSaved).toBeTrue();
    expect((await (await it.reopen()).credentials.find(TOKEN)).wasSaved).toBeTrue();
  });

  test(`${kind}: P3: a lease outlives its process, and ends when its life does`, async () => {
    using it = await setup();
    await it.lease("a");
    const again = (await it.reopen()).credentials;
    const take = () => again.lease(TOKEN, { holder: "b", now: it.clock.now(), lifeMs: LIFE_MS });
    expect((await take()).isGranted).toBeFalse();
    it.clock.advance(LIFE_MS);
    expect((await take()).isGranted).toBeTrue();
  });
}
