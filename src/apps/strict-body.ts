import type { TObject } from "@sinclair/typebox";
import { ServiceError } from "../errors.ts";

/**
 * A check that a body has no field beside those of `schema`, for what administrators send: a misspelt field that was
 * passed over would be a change that was not made.
 *
 * The check throws `invalid_parameter` and names the fields that there are, not the one that came.
 */
export function onlyFieldsOf(schema: TObject): (context: { readonly body: unknown }) => void {
  const known = new Set(Object.keys(schema.properties));
  return ({ body }) => {
    if (typeof body !== "object" || body === null || Object.keys(body).every((name) => known.has(name)))
      return;
    const names = [...known].join(", ");
    throw new ServiceError(
      "invalid_parameter",
      `请求体含有未知字段，可用字段：${names} (the body has a field that is none of these)`,
    );
  };
}
