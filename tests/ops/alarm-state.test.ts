import { expect, test } from "bun:test";
import {
  afterSeen,
  afterUnseen,
  alarmOf,
  type AlarmRecord,
  type Finding,
  type Step,
} from "../../src/ops/alarm-state.ts";
import { newFinding } from "../support/alarm-records.ts";

const AT = 1_795_320_000_000;
const HOUR_MS = 3_600_000;

/** What is told, and when, while a condition is seen or not every ten seconds. */
function follow(finding: Finding, seen: (ms: number) => boolean, lengthMs: number, from?: AlarmRecord) {
  let record = from;
  const told: string[] = [];
  for (let ms = 0; ms <= lengthMs; ms += 10_000) {
    const now = AT + ms;
    const step: Step | undefined = seen(ms)
      ? afterSeen(record, finding, now)
      : record && afterUnseen(record, now);
    if (step?.news) told.push(`${step.news} ${ms / 1000}`);
    record = step?.to ?? record;
  }
  return { told, record };
}

test("what lasts for a minute is told, and what passes before is not", () => {
  const finding = newFinding("credential_expired");
  expect(follow(finding, (ms) => ms < 300_000, 600_000).told).toEqual(["firing 60", "resolved 340"]);
  const short = follow(finding, (ms) => ms < 50_000, 600_000);
  expect([short.told, short.record?.state]).toEqual([[], "resolved"]);
});

test("what nobody gains by waiting for is told at once", () => {
  for (const id of ["app_blocked", "revoked_early", "audit_failing", "audit_broken"] as const)
    expect(follow(newFinding(id), () => true, 60_000).told).toEqual(["firing 0"]);
});

test("what lasts is told again after four hours, and its end once", () => {
  const { told } = follow(newFinding("app_blocked"), (ms) => ms < 9 * HOUR_MS, 10 * HOUR_MS);
  expect(told).toEqual(["firing 0", "reminder 14400", "reminder 28800", "resolved 32440"]);
});

test("what comes and goes every half minute is one alarm", () => {
  const { told } = follow(newFinding("app_blocked"), (ms) => ms % 60_000 < 30_000, 600_000);
  expect(told).toEqual(["firing 0"]);
});

test("a remnant keeps an alarm up, and begins none", () => {
  const remnant = newFinding("app_blocked", "wx1", { isRemnant: true });
  expect(follow(remnant, () => true, 120_000).record).toBeUndefined();
  const { record } = follow(newFinding("app_blocked"), () => true, 0);
  expect(follow(remnant, () => true, 600_000, record).told).toEqual([]);
});

test("what happens and does not last is told once, and again when it happens again", () => {
  const once = newFinding("master_key_rotated", "", { at: AT - 5000 });
  const { told, record } = follow(once, () => true, 9 * HOUR_MS);
  expect(told).toEqual(["firing 0"]);
  const later = follow(
    once,
    (ms) => ms > 300_000,
    HOUR_MS,
    follow(once, () => false, 120_000, record).record,
  );
  expect(later.told).toEqual([]);
  const again = newFinding("master_key_rotated", "", { at: AT + 5000 });
  expect(follow(again, () => true, 60_000, later.record).told).toEqual(["firing 0"]);
});

test("what happens again while the first time still stands is told again", () => {
  const at = (ms: number) => newFinding("master_key_rotated", "", { at: AT + ms });
  const { record } = follow(at(-5000), () => true, 0);
  const { told, record: later } = follow(at(35_000), (ms) => ms >= 40_000, HOUR_MS, record);
  expect(told).toEqual(["firing 40"]);
  expect(later).toMatchObject({ state: "firing", since: AT + 35_000, version: 2 });
});

test("a clock that is set back ends an alarm no later, and tells of none sooner", () => {
  const finding = newFinding("credential_expired");
  const future = follow(finding, () => true, 0).record as AlarmRecord;
  const ahead = { ...future, since: AT + HOUR_MS, seenAt: AT + HOUR_MS };
  expect(follow(finding, () => true, 90_000, ahead).told).toEqual(["firing 60"]);
  const firing = { ...ahead, state: "firing" as const, toldAt: AT + HOUR_MS };
  expect(follow(finding, () => false, 60_000, firing).told).toEqual(["resolved 0"]);
});

test("each step that changes the state raises the version, a look does not", () => {
  const { record } = follow(newFinding("credential_expired"), () => true, 60_000);
  expect(record).toMatchObject({ state: "firing", version: 2 });
  expect(afterSeen(record, newFinding("credential_expired"), AT + 90_000)?.to.version).toBe(2);
  expect(alarmOf(record as AlarmRecord)).toMatchObject({ state: "firing", severity: "critical", since: AT });
});
