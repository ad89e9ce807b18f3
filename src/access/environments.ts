import { notReadBack, outdated } from "../apps/app-administration.ts";
import type { AuditAction, AuditEntry, ChangeOptions } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";

/** Which codes an environment's web logins bring: WeChat's own, or ours, which its clients alone can exchange. */
export const LOGIN_CODES = ["raw", "relay"] as const;
export type LoginCodes = (typeof LOGIN_CODES)[number];

/** The name of an environment. */
export const ENVIRONMENT_NAME = /^[A-Za-z0-9._-]{1,32}$/;

/** The names of production, unless somebody says otherwise. */
const PRODUCTION = /^(prod|production|prd|online)$/i;

/** Where programs run, by the name that their clients carry. Instants are epoch milliseconds. */
export interface Environment {
  /** Unique; `ENVIRONMENT_NAME`. */
  readonly name: string;
  /** Whether its programs talk to real users. */
  readonly isProduction: boolean;
  readonly codes: LoginCodes;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Grows with each change. */
  readonly version: number;
  /** What of it the store can't read, by the names of `/v1`: until it is set again it counts as no production. */
  readonly damaged?: readonly string[];
}

/** What is decided about an environment. */
export type EnvironmentSettings = Pick<Environment, "isProduction" | "codes">;

/** What an environment of that name is unless somebody says otherwise: production by its name, with WeChat's own codes. */
export function defaultsOf(name: string, { isProduction = PRODUCTION.test(name) } = {}): EnvironmentSettings {
  return { isProduction, codes: isProduction ? "raw" : "relay" };
}

/**
 * Where environments are kept.
 *
 * Each change writes its audit entry in the same transaction, and raises the epoch of `environments`. A client that is made
 * or changed with the name of none creates it, and so does a target of pushes, as `defaultsOf` says: see `ClientStore`.
 */
export interface EnvironmentStore {
  list(): Promise<readonly Environment[]>;
  /** Adds one at a version that none of that name had before. Throws `conflict` when there is one. */
  create(environment: Omit<Environment, "version">, entry: AuditEntry): Promise<void>;
  /** Puts `environment` in the place of its `version - 1`. Throws `precondition_failed` when another version stands. */
  update(environment: Environment, entry: AuditEntry): Promise<void>;
  /**
   * Removes one of that version. Throws `precondition_failed` when another version stands, `conflict` while clients,
   * redirect origins or targets of pushes are of it.
   */
  remove(name: string, version: number, entry: AuditEntry): Promise<void>;
}

/** Every environment in this process's memory. While the store can't be read, the last copy stays in use. */
export class EnvironmentDirectory {
  readonly #mirror: Mirror;
  #environments: ReadonlyMap<string, Environment> = new Map();

  constructor(store: Pick<EnvironmentStore, "list">, changes: Changes) {
    this.#mirror = new Mirror(changes, "environments", async () => {
      const all = (await store.list()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      this.#environments = new Map(all.map((each) => [each.name, each]));
    });
  }

  find(name: string): Environment | undefined {
    return this.#environments.get(name);
  }

  /** Every environment, in the order of their names. */
  list(): readonly Environment[] {
    return [...this.#environments.values()];
  }

  /** Whether its programs talk to real users; of a name that nobody has used, by the name. */
  isProduction(name: string): boolean {
    return (this.find(name) ?? defaultsOf(name)).isProduction;
  }

  /** Rereads everything if something has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow changes of other processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }
}

/** What the administration of environments works with. */
export interface EnvironmentAdministrationParts {
  readonly store: EnvironmentStore;
  readonly directory: EnvironmentDirectory;
  readonly clock: Clock;
}

/** Who makes a change, and whether as an administrator. */
interface EnvironmentChangeOptions extends ChangeOptions {
  readonly isAdmin?: boolean;
}

/** Creates, changes and removes environments, each change with its audit entry. */
export class EnvironmentAdministration {
  readonly #parts: EnvironmentAdministrationParts;

  constructor(parts: EnvironmentAdministrationParts) {
    this.#parts = parts;
  }

  /**
   * Creates an environment, or changes what is given of one; the same again changes nothing. Resolves with whether it is
   * new. One that is production no more gets our codes, unless `codes` is given. Who is no administrator may change the codes of one that is there, and nothing else.
   *
   * @throws {ServiceError} `forbidden`, `precondition_failed`.
   */
  async put(
    name: string,
    input: Partial<EnvironmentSettings>,
    options: EnvironmentChangeOptions,
  ): Promise<boolean> {
    const { directory, store, clock } = this.#parts;
    const before = directory.find(name);
    if (options.version !== undefined && options.version !== before?.version) throw outdated();
    const isDemoted = before?.isProduction === true && input.isProduction === false;
    const { isProduction, codes } = {
      ...(before ?? defaultsOf(name, input)),
      ...(isDemoted && { codes: defaultsOf(name, input).codes }),
      ...input,
    };
    const isSame = before?.isProduction === isProduction && before.codes === codes;
    if (isSame && !before.damaged) return false;
    if (!options.isAdmin && (before?.isProduction !== isProduction || before.damaged)) throw adminNeeded();
    const now = clock.now();
    const settings = { name, isProduction, codes, createdAt: before?.createdAt ?? now, updatedAt: now };
    const facts = { production: isProduction, codes };
    if (before) {
      const changed = { ...settings, version: before.version + 1 };
      await store.update(changed, entryOf("environment.updated", options, name, facts));
    } else {
      await store.create(settings, entryOf("environment.created", options, name, facts));
    }
    await this.#reload();
    return before === undefined;
  }

  /** Removes an environment that nothing is of. Throws `not_found`, `precondition_failed`, `conflict`. */
  async remove(name: string, options: ChangeOptions): Promise<void> {
    const { directory, store } = this.#parts;
    const found = directory.find(name);
    if (!found) throw noSuchEnvironment();
    if (options.version !== undefined && options.version !== found.version) throw outdated();
    await store.remove(name, found.version, entryOf("environment.deleted", options, name, {}));
    await this.#reload();
  }

  async #reload(): Promise<void> {
    try {
      await this.#parts.directory.refresh();
    } catch (cause) {
      throw notReadBack(cause);
    }
  }
}

/** There is no environment of that name. */
export function noSuchEnvironment(): ServiceError {
  return new ServiceError("not_found", "没有该环境 (no such environment)");
}

function adminNeeded(): ServiceError {
  return new ServiceError(
    "forbidden",
    "禁止访问：只有管理员可以新建环境或更改其是否为生产环境 (only an administrator may make an environment, or say whether it is production)",
  );
}

function entryOf(
  action: AuditAction,
  { actor }: ChangeOptions,
  name: string,
  facts: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: { of: name, ...facts } };
}
