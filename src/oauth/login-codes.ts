import type { Permit } from "../access/permits.ts";
import type { EnvironmentDirectory } from "../access/environments.ts";
import { denied } from "../access/principal.ts";
import { appName, type SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { refusalOf, type ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** A code of a web login, as far as it is known. */
export interface KnownCode {
  /** The environment that it was given to. */
  readonly environment: string;
  /** WeChat's code behind one of ours; undefined for WeChat's own. */
  readonly behind: Secret | undefined;
}

/** Where the codes of web logins are looked up. */
export interface LoginCodeStore {
  /** What is known of a code of that app, or of that corp, at `now` (epoch milliseconds). */
  findCode(slot: Pick<SlotName, "appId">, code: Secret, now: number): Promise<KnownCode | undefined>;
}

/**
 * Whose codes are whose: all environments share one app, so a code that one of them has collected would log its user in
 * at any other.
 */
export class LoginCodes {
  readonly #store: LoginCodeStore;
  readonly #environments: Pick<EnvironmentDirectory, "find">;
  readonly #clock: Clock;

  constructor(store: LoginCodeStore, environments: Pick<EnvironmentDirectory, "find">, clock: Clock) {
    this.#store = store;
    this.#environments = environments;
    this.#clock = clock;
  }

  /**
   * WeChat's code for one that a caller wants to exchange: the same, where no login through us brought it.
   *
   * A caller that shows no environment, as one with the app's secret, may exchange what WeChat gave to production alone.
   *
   * @throws {ServiceError} In WeChat's words `40029 invalid code`, as a denial, for a code of another environment.
   */
  async codeFor({ slot, principal }: Pick<Permit, "slot" | "principal">, code: Secret): Promise<Secret> {
    const now = this.#clock.now();
    const known = await this.#store.findCode(slot, code, now);
    if (!known) return code;
    const { behind, environment } = known;
    // A return of one environment's login may bring the code of another's: it belongs to who had it first.
    const first = behind && (await this.#store.findCode(slot, behind, now));
    const isTheirs = first === undefined || first.environment === environment;
    if (principal.kind === "client") {
      if (isTheirs && principal.identity.environment === environment) return behind ?? code;
    } else if (!behind && this.#isOpen(environment)) return code;
    throw denied(principal, invalidCode(slot), appName(slot));
  }

  #isOpen(environment: string): boolean {
    const { isProduction = false, codes } = this.#environments.find(environment) ?? {};
    return isProduction && codes === "raw";
  }
}

function invalidCode({ platform }: Pick<SlotName, "platform">): ServiceError {
  return refusalOf(platform, 40029, "invalid code", { code: "forbidden" }).with({
    logged: "a code that another environment collected",
  });
}
