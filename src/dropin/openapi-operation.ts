/** JSON Schema, as far as it is used here. */
export type Schema = Readonly<Record<string, unknown>>;

/** One endpoint, as the OpenAPI document has it. */
export interface Described {
  readonly tags: string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters?: object[];
  readonly requestBody?: object;
  readonly responses: Record<string, { readonly description: string; readonly content: object }>;
}

/** What is told of an endpoint. */
export interface Telling {
  readonly summary: string;
  readonly description: string;
  /** Of the query. */
  readonly query?: Readonly<Record<string, Field>>;
  /** Of a JSON body. */
  readonly body?: Readonly<Record<string, Field>>;
  readonly answer: Answer;
}

/** A parameter, or a field of a body. */
export interface Field {
  readonly schema: Schema;
  readonly isRequired: boolean;
}

/** What a success looks like. */
export interface Answer {
  readonly description: string;
  readonly type?: string;
  readonly fields?: Readonly<Record<string, Schema>>;
  readonly optional?: readonly string[];
  readonly example: object;
}

/** The tag under which the document lists them. */
export const WECHAT_TAG = "WeChat";

/** A field that must be there. */
export const needed = (schema: Schema): Field => ({ schema, isRequired: true });
/** A field that may be there. */
export const optional = (schema: Schema): Field => ({ schema, isRequired: false });
/** A text of printable ASCII, or of what `pattern` says. */
export const text = (
  description: string,
  example: string,
  pattern = "^[\\x21-\\x7e]+$",
  maxLength = 512,
): Schema => ({
  type: "string",
  minLength: 1,
  maxLength,
  pattern,
  description,
  examples: [example],
});
/** One of these words. */
export const oneOf = (description: string, ...values: [string, ...string[]]): Schema => ({
  type: "string",
  anyOf: values.map((value) => ({ type: "string", const: value })),
  description,
  examples: [values[0]],
});

/** An endpoint in the form that the document wants. */
export function described({ summary, description, query = {}, body, answer }: Telling): Described {
  const { type = "application/json", fields, example } = answer;
  const schema = fields ? objectOf(fields, (name) => !answer.optional?.includes(name)) : {};
  return {
    tags: [WECHAT_TAG],
    summary,
    description,
    parameters: Object.entries(query).map(([name, field]) => parameter("query", name, field)),
    ...(body && {
      requestBody: { required: true, content: { "application/json": { schema: bodyOf(body) } } },
    }),
    responses: { 200: { description: answer.description, content: { [type]: { schema, example } } } },
  };
}

/** As `described`, with the app and the path in the URL. */
export function called(telling: Telling): Described {
  const plain = described(telling);
  const app = needed(
    text(
      "An AppID, or `<corpid>_<agent>`. AppID或 `<corpid>_<agent>`。",
      "wx0000000000000001",
      "^[A-Za-z0-9_-]+$",
      130,
    ),
  );
  const path = needed(
    text(
      "WeChat's or WeCom's path, slashes and all. 微信或企业微信的接口路径，可含斜杠。",
      "cgi-bin/getcallbackip",
      "^[a-z_]+(/[a-z_]+)*$",
    ),
  );
  return { ...plain, parameters: [parameter("path", "app", app), parameter("path", "path", path)] };
}

function parameter(place: "path" | "query", name: string, { schema, isRequired }: Field): object {
  return { in: place, name, required: isRequired, schema, description: schema["description"] };
}

function bodyOf(fields: Readonly<Record<string, Field>>): Schema {
  const schemas = Object.fromEntries(Object.entries(fields).map(([name, { schema }]) => [name, schema]));
  return objectOf(schemas, (name) => fields[name]?.isRequired ?? false);
}

function objectOf(fields: Readonly<Record<string, Schema>>, isRequired: (name: string) => boolean): Schema {
  return { type: "object", properties: fields, required: Object.keys(fields).filter(isRequired) };
}
