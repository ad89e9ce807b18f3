import { ServiceError, type UpstreamRefusal } from "../errors.ts";
import { Secret } from "../secret.ts";

/** An answer as it is stored: what the exchange returned, or WeChat's refusal. */
type StoredAnswer =
  | { readonly user: Readonly<Record<string, unknown>> }
  | {
      readonly refusal: {
        readonly message: string;
        readonly hint?: string;
        readonly upstream: UpstreamRefusal;
      };
    };

/** Packs what an exchange returned, secrets included, into one secret text. */
export function packUser(user: object): Secret {
  const plain = Object.entries(user).map(([name, value]) => [
    name,
    value instanceof Secret ? { secret: value.reveal() } : value,
  ]);
  return pack({ user: Object.fromEntries(plain) });
}

/** Packs a refusal of WeChat's. */
export function packRefusal({
  message,
  hint,
  upstream,
}: ServiceError & { upstream: UpstreamRefusal }): Secret {
  return pack({ refusal: { message, upstream, ...(hint === undefined ? {} : { hint }) } });
}

/** What was packed: the user is returned, the refusal thrown. */
export function unpack(answer: Secret): object {
  const stored = JSON.parse(answer.reveal()) as StoredAnswer;
  if ("refusal" in stored) {
    const { message, ...detail } = stored.refusal;
    throw new ServiceError("upstream_rejected", message, detail);
  }
  const user = Object.entries(stored.user).map(([name, value]) => [
    name,
    isSealed(value) ? new Secret(value.secret) : value,
  ]);
  return Object.fromEntries(user) as object;
}

function pack(answer: StoredAnswer): Secret {
  return new Secret(JSON.stringify(answer));
}

function isSealed(value: unknown): value is { secret: string } {
  return typeof value === "object" && value !== null && "secret" in value && typeof value.secret === "string";
}
