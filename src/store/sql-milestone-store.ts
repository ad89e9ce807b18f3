import { gt, lt, or } from "drizzle-orm";
import type { Clock } from "../clock.ts";
import { type Milestone, type MilestoneName, MILESTONES, type MilestoneStore } from "../ops/milestones.ts";
import { checkRow, type DamageReports } from "./damaged-rows.ts";
import { claimDueWork } from "./due-work.ts";
import { milestones } from "./schema.ts";
import { BACKGROUND_ATTEMPTS, type Queries, type SqlDatabase } from "./sql.ts";

/** The milestones in a SQL database. */
export class SqlMilestoneStore implements MilestoneStore {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #damage: DamageReports;

  constructor(database: SqlDatabase, clock: Clock, damage: DamageReports) {
    this.#database = database;
    this.#clock = clock;
    this.#damage = damage;
  }

  async reach(name: MilestoneName, { at, detail }: Milestone): Promise<void> {
    const row = { at, detail: JSON.stringify(detail) };
    // What a clock that was ahead has noted would stand there until then.
    const isDue = or(lt(milestones.at, at), gt(milestones.at, this.#clock.now()));
    await this.#inBackground(async (queries) => {
      await queries
        .insert(milestones)
        .values({ name, ...row })
        .onConflictDoUpdate({ target: milestones.name, set: row, setWhere: isDue });
    });
  }

  async list(): Promise<ReadonlyMap<MilestoneName, Milestone>> {
    const rows = await this.#database.read((queries) => queries.select().from(milestones));
    return new Map(
      rows.flatMap((stored) => {
        const { row, damaged } = checkRow(milestones, stored);
        const name = MILESTONES.find((each) => each === row.name);
        const detail = detailOf(row.detail);
        this.#damage.note(`milestone ${row.name}`, detail ? damaged : [...damaged, "detail"]);
        return name && detail && damaged.length === 0 ? [[name, { at: row.at, detail }] as const] : [];
      }),
    );
  }

  claim(work: string, everyMs: number): Promise<number> {
    return this.#inBackground((queries) => claimDueWork(queries, work, this.#clock.now(), everyMs));
  }

  #inBackground<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#database.transact(work, { maxAttempts: BACKGROUND_ATTEMPTS, isIndependent: true });
  }
}

function detailOf(text: string): Milestone["detail"] | undefined {
  try {
    const detail: unknown = JSON.parse(text);
    return typeof detail === "object" && detail !== null ? (detail as Milestone["detail"]) : undefined;
  } catch {
    return undefined;
  }
}
