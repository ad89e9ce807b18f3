import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { parseMasterKey } from "../../src/store/key-file.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { Child } from "../support/child.ts";
import { RotationFolder } from "../support/rotation-folder.ts";
import { ROTATE } from "./programs/rotate.ts";

/** So many folders are worked on at the same time, each by one process at a time. */
const LANES = 4;
/** With how many delays after each step; `ROTATION_DELAYS=20`, as for every night, has more of them in the same time. */
const DELAYS = Number(process.env["ROTATION_DELAYS"] ?? 5);
const MAX_DELAYS = 20;
const TOKENS = 120;
/** After which step a process is killed: each of them with each delay. */
const STEPS = ["started 1", "encrypting 1", "encrypting 5", "written 1", "ending 1", "ended 1"];
/** From the start to the first step, in the transaction and at the end, more is done than between the others. */
const DELAY_UNIT_US: Readonly<Record<string, number>> = {
  "started 1": 750,
  "encrypting 5": 250,
  "ending 1": 500,
  // Too little is left after it for a signal to come in time.
  "ended 1": 0,
};
const SHORT_DELAY_UNIT_US = 125;
/** Before these the one that a kill has left is ended, so that whole ones are killed as well. */
const OF_WHOLE_ONES = ["started 1", "encrypting 1", "encrypting 5"];
/** Far more than it takes; a slow machine must not fail. */
const DEADLINE_MS = 60_000 * DELAYS;
const KILLED = 137;

/** How the database was left by a kill: which keys it knows and uses. */
type Ending = "not begun" | "written" | "ended";

interface Point {
  readonly step: string;
  readonly delayUs: number;
}

/** A folder in which the master key is changed again and again, and what it has to hold at all times. */
class KilledRotations {
  readonly endings: Ending[] = [];
  readonly #files = new RotationFolder(systemClock);
  #contents: unknown;
  #oldKey = "";

  static async begin(): Promise<KilledRotations> {
    const made = new KilledRotations();
    await made.#files.fill(TOKENS);
    made.#contents = await made.#read();
    made.#oldKey = made.#keyInFile();
    return made;
  }

  /** Kills a rotation there; one that a killed one has left is gone on with. */
  async killAt(point: Point): Promise<void> {
    if (OF_WHOLE_ONES.includes(point.step)) await this.#end();
    // The step does not come where a broken off rotation has left too little to do; the next one is a whole one.
    for (let attempt = 1; !(await this.#run(point, attempt)); attempt++) {
      if (attempt === 4) throw new Error(`${point.step} is never reached`);
    }
    this.endings.push(this.#ending());
    this.#noteOldKey();
  }

  /** Lets it come to its end. */
  async finish(): Promise<void> {
    await this.#end();
    await this.#compare("at the end");
    expect(this.#files.keyIds()).toEqual({ used: [this.#keyInFile()], known: [this.#keyInFile()] });
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }

  async #end(): Promise<void> {
    if (this.#files.keyIds().known.length === 2) await this.#files.rotate({ graceMs: 0 });
    this.#noteOldKey();
  }

  /** Whether the process was killed; later attempts kill sooner, because it may end before. */
  async #run({ step, delayUs }: Point, attempt: number): Promise<boolean> {
    const { path, keyPath, folder } = this.#files;
    const delay = String(Math.round(delayUs / attempt ** 2));
    await using child = new Child([process.execPath, ROTATE, path, keyPath, step, delay], { cwd: folder });
    const code = await child.exited();
    if (code !== 0 && code !== KILLED) throw new Error(`the rotation failed: ${child.stderr}`);
    await this.#compare(`${delay} µs after ${step}`);
    if (code === 0) this.#noteOldKey();
    return code === KILLED;
  }

  async #read(): Promise<unknown> {
    const contents = await this.#files.contents(await this.#files.open(), TOKENS);
    this.#files.close();
    return contents;
  }

  async #compare(where: string): Promise<void> {
    expect(await this.#read(), where).toEqual(this.#contents);
  }

  #ending(): Ending {
    const { used, known } = this.#files.keyIds();
    if (known.length === 1) return known[0] === this.#oldKey ? "not begun" : "ended";
    // One transaction: a kill leaves all of it or nothing.
    expect(used).toEqual(known.filter((keyId) => keyId !== this.#oldKey));
    return "written";
  }

  #noteOldKey(): void {
    const { known } = this.#files.keyIds();
    if (known.length === 1) this.#oldKey = known[0] ?? "";
  }

  #keyInFile(): string {
    const bytes = parseMasterKey(new Secret(readFileSync(this.#files.keyPath, "utf8")));
    if (!bytes) throw new Error("the key file holds no key");
    return new SealingKey(bytes).keyId;
  }
}

test(
  "P3: a change of the master key that is killed at any step leaves everything readable, and is completed by the next run",
  async () => {
    const points = Array.from({ length: DELAYS }, (_, n) => (n / DELAYS) * MAX_DELAYS).flatMap((delay) =>
      STEPS.map((step): Point => ({ step, delayUs: delay * (DELAY_UNIT_US[step] ?? SHORT_DELAY_UNIT_US) })),
    );
    const kills = points.length;
    const endings: Ending[] = [];
    const work = async () => {
      using rotations = await KilledRotations.begin();
      for (let point = points.shift(); point; point = points.shift()) await rotations.killAt(point);
      await rotations.finish();
      endings.push(...rotations.endings);
    };
    await Promise.all(Array.from({ length: LANES }, work));
    expect(endings).toHaveLength(kills);
    const count = (ending: Ending) => endings.filter((each) => each === ending).length;
    for (const ending of ["not begun", "written", "ended"] as const)
      expect(count(ending), ending).toBeGreaterThan(0);
  },
  DEADLINE_MS,
);
