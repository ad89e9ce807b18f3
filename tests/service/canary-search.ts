/** Each form in which a value could stand in a text. */
function formsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  // ServiceInternals a longer text base64 starts at one of three offsets; the edges depend on the neighbours.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .slice(shift === 0 ? 0 : 4, -4),
  );
  return [
    value,
    encodeURIComponent(value),
    new URLSearchParams({ "": value }).toString().slice(1),
    encodeURI(value),
    JSON.stringify(value).slice(1, -1),
    JSON.stringify(JSON.stringify(value)).slice(3, -3),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    ...base64,
    ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
    value.split("").toReversed().join(""),
  ];
}

/** So many bytes at the beginning of a form tell where it is worth comparing the rest. */
const BEGINNING = 4;

/**
 * Which of `values` stand in `text` in any form, by their names.
 *
 * It reads the text once, however many values there are.
 */
export function findIn(text: string, values: ReadonlyMap<string, string>): string[] {
  const bytes = Buffer.from(text);
  const byBeginning = new Map<number, { form: Buffer; value: string }[]>();
  for (const value of values.keys()) {
    for (const form of new Set(formsOf(value)).values().map((each) => Buffer.from(each))) {
      // Throws for a form that is shorter.
      const beginning = form.readUInt32BE();
      const alike = byBeginning.get(beginning);
      if (alike) alike.push({ form, value });
      else byBeginning.set(beginning, [{ form, value }]);
    }
  }
  const found = new Set<string>();
  let head = 0;
  for (const [at, byte] of bytes.entries()) {
    head = ((head << 8) | byte) >>> 0;
    const start = at - BEGINNING + 1;
    for (const { form, value } of byBeginning.get(head) ?? [])
      if (start >= 0 && form.equals(bytes.subarray(start, start + form.length))) found.add(value);
  }
  return [...values].filter(([value]) => found.has(value)).map(([, name]) => name);
}
