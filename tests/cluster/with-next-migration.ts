import { plugin } from "bun";

// The program as a later version would be: with one more migration, which is in its environment.
const LAST = "];\n\n";

plugin({
  name: "next version",
  setup(build) {
    build.onLoad({ filter: /postgres\/migrations\.ts$/ }, async ({ path }) => {
      const text = await Bun.file(path).text();
      if (!text.includes(LAST)) throw new Error(`${path} has no list`);
      const next = `{ name: "9999_next", sql: process.env["NEXT_MIGRATION"] ?? "" },`;
      return { contents: text.replace(LAST, `${next}${LAST}`), loader: "ts" };
    });
  },
});

await import("../../src/main.ts");
