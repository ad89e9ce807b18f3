import { type TObject, type TSchema, TypeGuard } from "@sinclair/typebox";
import { ServiceError } from "../errors.ts";

/**
 * A check that a body has no field beside those of `schema`, in its inner objects neither, for what administrators
 * send: a misspelt field that was passed over would be a change that was not made.
 *
 * The check throws `invalid_parameter` and names the fields that there are, not the one that came.
 */
export function onlyFieldsOf(schema: TObject): (context: { readonly body: unknown }) => void {
  return ({ body }) => check(schema, body);
}

/** What is no object or list where one should be is left to the schema to refuse. */
function check(schema: TSchema, value: unknown): void {
  if (TypeGuard.IsArray(schema)) {
    if (Array.isArray(value)) for (const each of value) check(schema.items, each);
    return;
  }
  if (!TypeGuard.IsObject(schema) || typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const known = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (!known) throw unknownField(Object.keys(schema.properties));
    check(known, inner);
  }
}

function unknownField(known: readonly string[]): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `请求体含有未知字段，可用字段：${known.join(", ")} (the body has a field that is none of these)`,
  );
}
