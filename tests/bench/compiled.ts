import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** Compiles a file of this folder into `folder`, with the flags with which the service is compiled. */
export async function compiled(file: string, folder: string): Promise<string[]> {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: { build: string };
  };
  const program = join(folder, file.replace(/\.ts$/, ""));
  const command = scripts.build
    .replace(/^bun /, `"${process.execPath}" `)
    .replace("src/main.ts", `"${join(import.meta.dir, file)}"`)
    .replace("dist/accesstoken", `"${program}"`);
  const build = Bun.spawn(["sh", "-c", command], { cwd: ROOT, stdout: "ignore", stderr: "pipe" });
  if ((await build.exited) !== 0) throw new Error(await new Response(build.stderr).text());
  return [program];
}
