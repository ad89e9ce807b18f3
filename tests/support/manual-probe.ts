import type { TokenProbe, TokenVerdict } from "../../src/credentials/source.ts";
import type { Secret } from "../../src/secret.ts";

/** A probe that says of every token what the test has set, and notes which it was asked about. */
export class ManualProbe implements TokenProbe {
  verdict: TokenVerdict = "revoked";
  readonly asked: string[] = [];

  async check(_app: object, token: Secret): Promise<TokenVerdict> {
    this.asked.push(token.reveal());
    return this.verdict;
  }
}
