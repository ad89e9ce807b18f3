import { w } from "./words.ts";

/** A piece of an address, and whether the other one has it in this place too. */
interface Piece {
  readonly text: string;
  readonly isOther: boolean;
}

/** More pieces than this are not compared one by one. */
const MAX_PIECES = 600;

/** Two texts beneath each other, what differs marked in both. */
export function Difference({ found, expected }: { readonly found: string; readonly expected: string }) {
  const [one, two] = compare(found, expected);
  return (
    <dl class="difference">
      <dt>{w.found}</dt>
      <dd class="bad">{marked(one)}</dd>
      <dt>{w.expected}</dt>
      <dd class="ok">{marked(two)}</dd>
    </dl>
  );
}

function marked(pieces: readonly Piece[]) {
  return <code>{pieces.map(({ text, isOther }, n) => (isOther ? <mark key={n}>{text}</mark> : text))}</code>;
}

/** What each has that the other lacks, by the longest common sequence of words and signs. */
function compare(one: string, two: string): readonly [readonly Piece[], readonly Piece[]] {
  const [a, b] = [piecesOf(one), piecesOf(two)];
  if (Math.max(a.length, b.length) > MAX_PIECES)
    return [[{ text: one, isOther: true }], [{ text: two, isOther: true }]];
  const common = a.map(() => new Uint16Array(b.length + 1));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (const [i, row] of [...common.entries()].toReversed()) {
    for (let j = b.length - 1; j >= 0; j--)
      row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const [first, second]: [Piece[], Piece[]] = [[], []];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(first, a[i++], false);
      add(second, b[j++], false);
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) add(first, a[i++], true);
    else add(second, b[j++], true);
  }
  return [first, second];
}

function add(pieces: Piece[], text = "", isOther: boolean): void {
  const last = pieces.at(-1);
  if (last?.isOther === isOther) pieces[pieces.length - 1] = { text: last.text + text, isOther };
  else pieces.push({ text, isOther });
}

function piecesOf(text: string): readonly string[] {
  return text.match(/[a-z0-9]+|[^a-z0-9]/gi) ?? [];
}
