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

/** Which of `values` stand in `text` in any form, by their names. */
export function findIn(text: string, values: ReadonlyMap<string, string>): string[] {
  const bytes = Buffer.from(text);
  return [...values]
    .filter(([value]) => [...new Set(formsOf(value))].some((form) => bytes.includes(form)))
    .map(([, name]) => name);
}
