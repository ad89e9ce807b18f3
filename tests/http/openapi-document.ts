import { type TSchema, Type } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";

/** JSON Schema, as far as the document uses it. */
export interface JsonSchema {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** A parameter of a path or a query. */
interface Parameter {
  readonly in: "path" | "query";
  readonly name: string;
  readonly required: boolean;
  readonly schema: JsonSchema;
}

/** One route of the document. */
export interface Operation {
  /** As `GET /v1/apps/{app}`. */
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: JsonSchema | undefined;
  /** Whether a path is one of this route's. */
  readonly matches: (path: string) => boolean;
  /** The type of a success, and what is checked of it; of text nothing is. */
  readonly contentType: string;
  readonly success: TypeCheck<TSchema>;
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>;
}
interface Described {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}

/** The operations of an OpenAPI document. */
export function operationsOf(document: string): Operation[] {
  const { paths } = JSON.parse(document) as { paths: Record<string, Record<string, Described>> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]) => {
      const [[contentType, { schema }] = ["", { schema: {} }]] = Object.entries(
        responses["200"]?.content ?? {},
      );
      const pattern = new RegExp(`^${path.replace("{path}", ".+").replaceAll(/\{\w+\}/g, "[^/]+")}/?$`);
      return {
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        parameters,
        body: Object.values(requestBody?.content ?? {})[0]?.schema,
        matches: (sent: string) => pattern.test(sent),
        contentType,
        success: TypeCompiler.Compile(closed(schema)),
      };
    }),
  );
}

/** The schema as TypeBox checks it. What a described object has beside its fields is an error: nobody has documented it. */
function closed(schema: JsonSchema): TSchema {
  if ("const" in schema) return Type.Literal(schema.const as string | number);
  if (schema.anyOf) return Type.Union(schema.anyOf.map(closed));
  if (schema.patternProperties)
    return Type.Record(Type.String(), closed(Object.values(schema.patternProperties)[0] ?? {}));
  switch (schema.type) {
    case "object": {
      const { properties = {}, required = [] } = schema;
      const fields = Object.entries(properties).map(([name, field]) => [
        name,
        required.includes(name) ? closed(field) : Type.Optional(closed(field)),
      ]);
      return Type.Object(Object.fromEntries(fields), { additionalProperties: false });
    }
    case "array":
      return Type.Array(closed(schema.items ?? {}));
    case "string":
      return Type.String();
    case "integer":
      return Type.Integer();
    case "number":
      return Type.Number();
    case "boolean":
      return Type.Boolean();
    case "null":
      return Type.Null();
    case undefined:
    default:
      return Type.Unknown();
  }
}
