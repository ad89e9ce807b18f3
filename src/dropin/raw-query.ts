import { ServiceError } from "../errors.ts";

/** One `name=value` of a query, as it came, and its name decoded. */
interface Pair {
  readonly name: string;
  readonly text: string;
}

/**
 * The query of a URL that keeps every byte of what it does not change: what the gateway hands on is what the caller sent.
 */
export class RawQuery {
  readonly #pairs: readonly Pair[];

  private constructor(pairs: readonly Pair[]) {
    this.#pairs = pairs;
  }

  /**
   * Reads the query of a URL, without its question mark.
   *
   * @throws {ServiceError} `invalid_parameter` for a broken percent-encoding in a name.
   */
  static parse(text: string): RawQuery {
    if (text === "") return new RawQuery([]);
    return new RawQuery(
      text.split("&").map((pair) => {
        const end = pair.indexOf("=");
        return { name: decode(end === -1 ? pair : pair.slice(0, end)), text: pair };
      }),
    );
  }

  /** The first value of that name, decoded; undefined when there is none. Throws as `parse` for a broken value. */
  get(name: string): string | undefined {
    const pair = this.#pairs.find((each) => each.name === name);
    if (!pair) return undefined;
    const end = pair.text.indexOf("=");
    return end === -1 ? "" : decode(pair.text.slice(end + 1));
  }

  /** How often that name comes. */
  count(name: string): number {
    return this.#pairs.filter((pair) => pair.name === name).length;
  }

  /** The names, in their order, each as often as it comes; not those of empty pairs, as `?&type=` has one. */
  get names(): string[] {
    return this.#pairs.filter(({ text }) => text !== "").map(({ name }) => name);
  }

  /** The same with `value` under that name, in the place of what was there, or at the end. */
  with(name: string, value: string): RawQuery {
    const text = `${name}=${encodeURIComponent(value)}`;
    if (this.count(name) === 0) return new RawQuery([...this.#pairs, { name, text }]);
    return new RawQuery(this.#pairs.map((pair) => (pair.name === name ? { name, text } : pair)));
  }

  /** The same without that name. */
  without(name: string): RawQuery {
    return new RawQuery(this.#pairs.filter((pair) => pair.name !== name));
  }

  /** As it is sent, without a question mark. */
  toString(): string {
    return this.#pairs.map(({ text }) => text).join("&");
  }
}

function decode(text: string): string {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw new ServiceError(
      "invalid_parameter",
      "查询参数的百分号编码不正确 (bad percent-encoding in the query)",
    );
  }
}
