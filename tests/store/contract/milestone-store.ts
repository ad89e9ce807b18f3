import { expect, test as declared } from "bun:test";
import type { OpenStore } from "./open-store.ts";

const AT = 1_795_320_000_000;

/** What every store of milestones must do. `kind` names it in the tests' names. */
export function milestoneStoreContract(kind: string, open: OpenStore, test = declared): void {
  test(`${kind}: the last time of each milestone is kept, whoever reached it`, async () => {
    const it = await open();
    it.clock.advance(1000);
    const { milestones } = it.store;
    expect(await milestones.list()).toEqual(new Map());
    await milestones.reach("backup", { at: AT, detail: { path: "b1" } });
    await milestones.reach("backup_failed", { at: AT - 5, detail: { error: "disk full" } });
    const beside = await it.beside();
    await beside.milestones.reach("backup", { at: AT + 1, detail: { path: "b2" } });
    // One that was slow to say so.
    await milestones.reach("backup", { at: AT - 1, detail: { path: "b0" } });
    expect(await milestones.list()).toEqual(
      new Map([
        ["backup", { at: AT + 1, detail: { path: "b2" } }],
        ["backup_failed", { at: AT - 5, detail: { error: "disk full" } }],
      ]),
    );
    beside.close();
    it.dispose();
  });

  test(`${kind}: what a clock that was ahead has noted gives way to what is true`, async () => {
    const it = await open();
    const { milestones } = it.store;
    const now = it.clock.now();
    await milestones.reach("backup", { at: now + 86_400_000, detail: {} });
    await milestones.reach("backup", { at: now, detail: {} });
    expect((await milestones.list()).get("backup")?.at).toBe(now);
    it.dispose();
  });

  test(`${kind}: what is done once in a while is done by one process of all`, async () => {
    const it = await open();
    const beside = await it.beside();
    const claims = await Promise.all([
      it.store.milestones.claim("backup", 1000),
      beside.milestones.claim("backup", 1000),
    ]);
    expect(claims.toSorted((a, b) => a - b)).toEqual([0, expect.any(Number)]);
    expect(Math.max(...claims)).toBeGreaterThan(0);
    it.clock.advance(1000);
    expect(await beside.milestones.claim("backup", 1000)).toBe(0);
    expect(await it.store.milestones.claim("another", 1000)).toBe(0);
    beside.close();
    it.dispose();
  });
}
