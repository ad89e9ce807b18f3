import { PushRefused } from "./push-crypto.ts";

/** How a push, and the reply to it, is written. */
export type PushFormat = "xml" | "json";

/** The fields of a push or a reply: those of its root that hold a text or a number, as text. */
export interface PushFields {
  readonly format: PushFormat;
  readonly fields: ReadonlyMap<string, string>;
}

/**
 * Reads the fields of `bytes`. Numbers stay the text that was sent: a MsgId is above 2^53. What has fields of its own
 * (ScanCodeInfo, articles) is checked and left out. Of a field that is there twice the first is taken from XML, the
 * last from JSON.
 *
 * The XML is the little that WeChat writes: a root `xml`, no document type, no entities beside XML's own five and
 * numbers, no comments, 32 levels.
 *
 * @throws {PushRefused} `malformed`.
 */
export function readPushFields(bytes: Uint8Array): PushFields {
  return readFields(bytes, keepNumbersAsText);
}

/**
 * The `Encrypt` of a body that nobody has verified yet, undefined where it has none. As `readPushFields`, at a fraction
 * of its price for a large JSON body.
 *
 * @throws {PushRefused} `malformed`.
 */
export function readEncrypted(bytes: Uint8Array): {
  readonly format: PushFormat;
  readonly encrypted?: string | undefined;
} {
  const { format, fields } = readFields(bytes);
  return { format, encrypted: fields.get("Encrypt") };
}

/**
 * The message with another text in each field that is not empty, however deep, for which `replace` gives one: in the place
 * of all that stands in it. `text` is the field's own, without those inside of it. Where it gives none, the very `bytes`.
 *
 * @throws {PushRefused} `malformed`.
 */
export function replacePushFields(
  bytes: Uint8Array,
  replace: (name: string, text: string) => string | undefined,
): Uint8Array {
  const document = textOf(bytes);
  if (document.startsWith("{")) return replaceInJson(bytes, document, replace);
  let [before, after] = [document, ""];
  // From the last to the first, and each ahead of those inside of it.
  for (const { name, text, hasChildren, start, end } of xmlElements(document).toReversed()) {
    if (end > before.length || (text.trim() === "" && !hasChildren)) continue;
    const instead = replace(name, text.trim());
    if (instead === undefined) continue;
    after = cdata(instead) + before.slice(end) + after;
    before = before.slice(0, start);
  }
  return after === "" ? bytes : Buffer.from(before + after);
}

function replaceInJson(
  bytes: Uint8Array,
  document: string,
  replace: (name: string, text: string) => string | undefined,
): Uint8Array {
  let isChanged = false;
  const reviver = (name: string, value: unknown): unknown => {
    if (value === "" || value === null) return value;
    const instead = replace(name, typeof value === "string" ? value : "");
    isChanged ||= instead !== undefined;
    return instead ?? value;
  };
  const changed = parseJson(document, reviver);
  return isChanged ? Buffer.from(JSON.stringify(changed)) : bytes;
}

/** `JSON.parse` hands a reviver the text of a number too, before it has lost digits. */
type SourceReviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
const keepNumbersAsText: SourceReviver = (_name, value, { source }) =>
  typeof value === "number" ? source : value;

function readFields(bytes: Uint8Array, reviver?: SourceReviver): PushFields {
  const text = textOf(bytes);
  return text.startsWith("{")
    ? { format: "json", fields: new Map(jsonFields(text, reviver)) }
    : { format: "xml", fields: new Map(xmlFields(text).toReversed()) };
}

/** Not fatal: a message cut in the middle of a character is still WeChat's. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trim();
}

function jsonFields(text: string, reviver?: SourceReviver): [name: string, text: string][] {
  const entries = Object.entries(parseJson(text, reviver) as object);
  return entries.filter((entry): entry is [string, string] => typeof entry[1] === "string");
}

function parseJson(text: string, reviver?: SourceReviver): unknown {
  try {
    return JSON.parse(text, reviver as Parameters<typeof JSON.parse>[1]);
  } catch {
    throw new PushRefused("malformed");
  }
}

const XML_DECLARATION = /^<\?xml\s[^<>]{0,200}\?>\s*/;
/** A start tag, an end tag or a CDATA section; WeChat's attributes, if any, say nothing. */
const XML_MARK =
  /<(?:!\[CDATA\[|\/([A-Za-z_][\w.-]*)\s*>|([A-Za-z_][\w.-]*)(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(\/?)>)/y;
const CDATA_END = "]]>";
const MAX_XML_DEPTH = 32;

interface XmlElement {
  readonly name: string;
  /** How many it is inside of. */
  readonly depth: number;
  /** Where its content is in the document. */
  readonly start: number;
  end: number;
  text: string;
  hasChildren: boolean;
}

/** The elements under the root that have none of their own, each with its text. */
function xmlFields(document: string): [name: string, text: string][] {
  return xmlElements(document)
    .filter(({ depth, hasChildren }) => depth === 1 && !hasChildren)
    .map(({ name, text }) => [name, text.trim()]);
}

/** All elements, in the order of their ends. */
function xmlElements(document: string): readonly XmlElement[] {
  const found: XmlElement[] = [];
  const open: XmlElement[] = [];
  let at = XML_DECLARATION.exec(document)?.[0].length ?? 0;
  do {
    const next = document.indexOf("<", at);
    if (next < 0) throw new PushRefused("malformed");
    const inside = open.at(-1);
    if (inside !== undefined) inside.text += unescapeXml(document.slice(at, next));
    else if (next !== at) throw new PushRefused("malformed");
    XML_MARK.lastIndex = next;
    const mark = XML_MARK.exec(document);
    if (mark === null) throw new PushRefused("malformed");
    at = XML_MARK.lastIndex;
    const [, ended, started, slash] = mark;
    if (started !== undefined) {
      if (inside !== undefined) inside.hasChildren = true;
      if (inside === undefined && started !== "xml") throw new PushRefused("malformed");
      const content = { start: at, end: at, text: "", hasChildren: false };
      if (open.push({ name: started, depth: open.length, ...content }) > MAX_XML_DEPTH)
        throw new PushRefused("malformed");
    }
    if (ended !== undefined || slash === "/") {
      const element = open.pop();
      if (element === undefined || (ended ?? started) !== element.name) throw new PushRefused("malformed");
      if (ended !== undefined) element.end = next;
      found.push(element);
    } else if (started === undefined) {
      const end = document.indexOf(CDATA_END, at);
      if (inside === undefined || end < 0) throw new PushRefused("malformed");
      inside.text += document.slice(at, end);
      at = end + CDATA_END.length;
    }
  } while (open.length > 0);
  if (at !== document.length) throw new PushRefused("malformed");
  return found;
}

const XML_ENTITIES = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["amp", "&"],
  ["quot", '"'],
  ["apos", "'"],
]);

function unescapeXml(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(
    /&(?:#(\d{1,7})|#x([0-9A-Fa-f]{1,6})|(\w{1,8}))?(;?)/g,
    (_, decimal, hex, name, end) => {
      const code = Number.parseInt(decimal ?? hex, decimal === undefined ? 16 : 10);
      const character = name === undefined ? codePoint(code) : XML_ENTITIES.get(name);
      if (character === undefined || end === "") throw new PushRefused("malformed");
      return character;
    },
  );
}

function codePoint(code: number): string | undefined {
  return code >= 1 && code <= 0x10_ff_ff ? String.fromCodePoint(code) : undefined;
}

/** `text` as WeChat writes it in an element: a CDATA section, and two where the text would end it. */
export function cdata(text: string): string {
  return `<![CDATA[${text.replaceAll(CDATA_END, "]]]]><![CDATA[>")}]]>`;
}
