import { runCommand } from "./cli/command.ts";

void runCommand(process.argv.slice(2)).then((exitCode) => process.exit(exitCode));
