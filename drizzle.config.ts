import { defineConfig } from "drizzle-kit";

/** One engine a run: `bun run migration` generates for both. */
export default process.env["ENGINE"] === "postgres"
  ? defineConfig({
      dialect: "postgresql",
      schema: "./src/store/postgres/schema.ts",
      out: "./drizzle/postgres",
    })
  : defineConfig({ dialect: "sqlite", schema: "./src/store/schema.ts", out: "./drizzle/sqlite" });
