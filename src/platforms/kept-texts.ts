import { readFailure } from "../credentials/backoff.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { ExchangedCode } from "./platform-protocol.ts";

/** A failure as it is kept with a code: what it says to callers, and nothing secret. */
export function textOfFailure(error: unknown): string {
  if (!(error instanceof ServiceError)) return "";
  const { code, message, hint, upstream } = error;
  return JSON.stringify({ code, message, hint, upstream });
}

/** The failure that is kept as `text`; of none, that the code is not known. */
export function failureOf(text: string | undefined): ServiceError {
  const failure = text === undefined ? undefined : readFailure(text);
  if (!failure)
    return new ServiceError(
      "invalid_parameter",
      "授权码无效或已过期，请重新授权 (the authorization code is not valid or has expired: authorize again)",
    );
  const { hint, upstream } = failure;
  return new ServiceError(failure.code, failure.message, {
    pacing: "handled",
    ...(hint === undefined ? {} : { hint }),
    ...(upstream === undefined ? {} : { upstream }),
  });
}

/** What a code gave, as text, without its token: by the time it is read again there may be a newer one. */
export function textOfGiven({ account, title, facts, secret, text }: ExchangedCode): Secret {
  const shown = { account, title, facts, secret: secret?.reveal(), text: text.reveal() };
  return new Secret(JSON.stringify(shown));
}

/** What a code gave, of the text that was kept. */
export function givenIn(kept: Secret): ExchangedCode {
  const { secret, text, ...given } = JSON.parse(kept.reveal()) as Omit<ExchangedCode, "secret" | "text"> & {
    readonly secret?: string;
    readonly text: string;
  };
  const known = secret === undefined ? undefined : new Secret(secret);
  return { ...given, secret: known, text: new Secret(text), token: undefined };
}
