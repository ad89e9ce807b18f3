import { effect, signal } from "@preact/signals";

/** The languages of the console. */
export type Language = "zh" | "en";

/** One text in both languages. */
export type Pair = readonly [zh: string, en: string];

type Entry = Pair | ((...args: never[]) => Pair);
/** Texts by their names. */
export type Table = Readonly<Record<string, Entry>>;
/** The same, as they are said. */
export type Words<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => Pair ? (...args: A) => string : string;
};

const KEY = "ats.language";

function first(): Language {
  const kept = localStorage.getItem(KEY);
  if (kept === "zh" || kept === "en") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The language in use: as chosen on this device, else that of the browser. Set it to change all texts at once. */
export const language = signal<Language>(first());

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  localStorage.setItem(KEY, language.value);
});

/** The half of a pair that is due. Reading it in a component subscribes that to the language. */
function say(pair: Pair): string {
  return pair[language.value === "zh" ? 0 : 1];
}

/**
 * The texts of a screen: `words({ title: ["…", "Overview"], left: (n: number) => [`…`, `${n} left`] })`.
 *
 * Read them as `w.title` and `w.left(3)` while rendering, never at the top of a module: they follow the language. A pair
 * without one of its halves does not compile. They stand in a file `words.ts`, the only place for Chinese. Beside them
 * are those of `base`.
 */
export function words<T extends Table, B extends object = object>(table: T, base?: B): Words<T> & B {
  const spoken: object = Object.create(base ?? null);
  for (const [name, entry] of Object.entries<Entry>(table)) {
    const get =
      typeof entry === "function"
        ? () =>
            (...args: never[]) =>
              say(entry(...args))
        : () => say(entry);
    Object.defineProperty(spoken, name, { get, enumerable: true });
  }
  return spoken as Words<T> & B;
}

/** A line in both languages: what precedes both, Chinese, English in parentheses, what follows both. */
const BOTH_HALVES = /^((?:[\x20-\x7e]*: )?)(.*\p{Script=Han}.*?) \(([^\p{Script=Han}\n]*)\)([^()\n]*)$/gmu;

/** Of a message of the service, Chinese with English in parentheses, the half that is due. Any other text stays. */
export function halfOf(text: string): string {
  return text.replaceAll(BOTH_HALVES, language.value === "zh" ? "$1$2$4" : "$1$3$4");
}
